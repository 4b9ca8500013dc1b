"""Whether a thread goes on: when it last took its turn, and how long that may be ago."""

from __future__ import annotations

import time
from collections.abc import Callable


class Turn:
    """One thread's mark, set by that thread and read by whoever vouches for it.

    Attributes:
        name: Of the thread, for a person.
        limit_s: Longer than any of its turns takes on a machine that is well.
    """

    def __init__(
        self, name: str, limit_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """The time before its first turn counts from now."""
        self.name = name
        self.limit_s = limit_s
        self._clock = clock
        self._taken_s = clock()

    def take(self) -> None:
        """Called by the thread, once each turn."""
        self._taken_s = self._clock()

    def late(self) -> str:
        """What is wrong, as a sentence; empty while it goes on."""
        since_s = self._clock() - self._taken_s
        if since_s <= self.limit_s:
            return ""
        return f"the thread {self.name} has not taken a turn for {since_s:.0f} s"
