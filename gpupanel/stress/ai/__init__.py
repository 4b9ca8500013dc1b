"""AI loads."""
