"""Notes on the desktop: when, and by what."""
