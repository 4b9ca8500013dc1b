"""Meters of GPU time, one file per way of counting it."""
