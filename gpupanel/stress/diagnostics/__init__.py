"""Loads that look for faults: one file per load, imported by worker processes only."""
