"""Gaming loads."""
