"""Many counters as one sum that never falls. Pure."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

Source = TypeVar("Source", bound=Hashable)

_FORGOTTEN_S = 60.0
"""Counters are numbered anew for each client, so one that was not seen for so long is over."""


class Tally(Generic[Source]):
    """Adds up what each source counted, also of those that are gone.

    Drivers' counters step back at times: the greatest value that was seen stands until they catch
    up. Differences are taken by source, since a sum over sources falls when one of them leaves.

    Attributes:
        total: Of all sources, in their unit.
    """

    def __init__(self) -> None:
        self.total = 0.0
        self._greatest: dict[Source, tuple[float, float]] = {}
        self._tidied_s = float("-inf")

    def begin(self, source: Source, value: float, now_s: float) -> None:
        """What ``source`` counted up to here is not ours, unless it is counted already."""
        self._greatest.setdefault(source, (value, now_s))

    def see(self, source: Source, value: float, now_s: float) -> None:
        """What ``source`` has counted in all; one that ``begin`` does not know counts from 0."""
        before, _ = self._greatest.get(source, (0.0, now_s))
        self.total += max(0.0, value - before)
        self._greatest[source] = max(before, value), now_s

    def end_round(self, now_s: float) -> None:
        """All that live were seen since the last call: who was not for long is forgotten.

        One that is started anew each second leaves a source behind each time.
        """
        if now_s - self._tidied_s < _FORGOTTEN_S:
            return
        self._tidied_s = now_s
        self._greatest = {
            source: (value, seen_s)
            for source, (value, seen_s) in self._greatest.items()
            if now_s - seen_s < _FORGOTTEN_S
        }
