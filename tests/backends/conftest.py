"""The recorded cards as fixtures, and an AMD card with its backend."""

from __future__ import annotations

from tests.backends.amd_rig import amd_rig
from tests.recordings.cards import expected_of, recorded_card, sysfs_of

__all__ = ["amd_rig", "expected_of", "recorded_card", "sysfs_of"]
