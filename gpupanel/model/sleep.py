"""How a GPU sleeps, as far as it was watched, and whether anybody here disturbed it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class SleepRecord:
    """One GPU's sleep.

    Attributes:
        can_sleep: Whether the system powers it down when nobody uses it.
        asleep_since_unix_s: None while it is awake.
        wakes: How often it woke up while it was watched.
        wakes_by_us: Those that fell into our own calls of a driver; more than 0 is our fault.
        asleep_share: Of the time since its driver was loaded, 0 to 1; None where the system does
            not count.
    """

    can_sleep: bool
    asleep_since_unix_s: float | None
    wakes: int
    wakes_by_us: int
    asleep_share: float | None

    def as_json(self) -> dict[str, Any]:
        """One GPU in the answer to ``sleep`` of the protocol."""
        return {
            "can_sleep": self.can_sleep,
            "asleep_since_unix_s": self.asleep_since_unix_s,
            "wakes": self.wakes,
            "wakes_by_us": self.wakes_by_us,
            "asleep_share": self.asleep_share,
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> SleepRecord:
        """Inverse of ``as_json``.

        Raises:
            KeyError: A field is missing.
        """
        return cls(
            document["can_sleep"],
            document["asleep_since_unix_s"],
            document["wakes"],
            document["wakes_by_us"],
            document["asleep_share"],
        )
