"""What is allowed: pure, except sources.py."""
