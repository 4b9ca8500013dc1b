"""What the table of processes is made of."""
