"""What is left of a run: a record that can be kept, compared and shown."""
