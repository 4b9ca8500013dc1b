"""What we talk about: values only, standard library only, no I/O."""
