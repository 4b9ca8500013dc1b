"""Loads: what exists, how one runs, and who watches it."""
