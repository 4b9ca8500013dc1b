"""What a person is told of programs that are held, and how they object."""
