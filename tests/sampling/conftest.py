"""The recorded cards as fixtures."""

from __future__ import annotations

from tests.recordings.cards import expected_of, recorded_card, sysfs_of

__all__ = ["expected_of", "recorded_card", "sysfs_of"]
