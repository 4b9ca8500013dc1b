"""The loop that reads GPUs, and what it remembers."""
