"""The outer loop of a cap: what the miner itself says of its rate moves the inner one a little.

GPU time and hash rate are not quite proportional: clocks rise in a card that rests, caches turn
cold. Where a miner tells its rate, the cap is moved until that is the share that policy wants. It
may lie, so it is believed as far as a tenth.
"""

from __future__ import annotations

_MOST = 0.1
_GAIN = 0.1
"""Of the relative error, at each answer: miners tell averages of half a minute, so go slowly."""


class Trim:
    """Belongs to one thread.

    Attributes:
        factor: By which what the processes may use is multiplied, 0.9 to 1.1.
    """

    def __init__(self) -> None:
        self.factor = 1.0
        self._uncapped_per_s = 0.0

    def told_uncapped(self, hash_per_s: float) -> None:
        """What the miner says of itself while nobody holds it."""
        self._uncapped_per_s = max(self._uncapped_per_s, hash_per_s)

    def told_capped(self, hash_per_s: float, cap_percent: int) -> None:
        """The same under a cap; without a rate to compare with it means nothing."""
        if self._uncapped_per_s <= 0:
            return
        share = 100 * hash_per_s / self._uncapped_per_s / cap_percent
        moved = self.factor * (1 + _GAIN * (1 - min(share, 2.0)))
        self.factor = min(1 + _MOST, max(1 - _MOST, moved))
