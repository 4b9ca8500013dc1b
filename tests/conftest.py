"""Fixtures that every room uses."""

from __future__ import annotations
