"""What is read of one process: the values, and the two ways to fill them."""
