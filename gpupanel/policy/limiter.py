"""The cap as arithmetic: a token bucket on GPU time. Pure; the clock is passed in.

Credit is GPU time that may be used. It grows by ``cap`` seconds a second and shrinks by what ran.
Work goes on until the credit has fallen to ``-swing/2`` and rests until it is back at
``+swing/2``, so the device runs in bursts of several launches instead of stuttering; with
``swing = window * cap * (1 - cap)`` one burst and one rest last one window. The bucket starts in
the middle: at any instant what was used differs from ``cap`` by half a swing and one launch at
most, and that difference does not grow, since debt is never forgiven.
"""

from __future__ import annotations

import math

MAX_HOLD_S = 5.0
"""Longest single hold; the caller asks again after it, and stays able to stop."""

_ROUNDING_S = 1e-6
"""Credit this close to a mark has reached it; no clock waits shorter."""


class Limiter:
    """Tells one offender when to rest. Not thread-safe.

    Attributes:
        cap_percent: Of GPU time, 1 to 100; 100 never rests.
    """

    def __init__(self, cap_percent: int, window_s: float = 1.0) -> None:
        """Start without credit or debt; time counts from the first call on.

        Args:
            cap_percent: 1 to 100.
            window_s: Length of one burst and its rest, while launches are shorter than that.

        Raises:
            ValueError: An argument is out of range.
        """
        self._credit_s = 0.0
        self._last_s: float | None = None
        self._is_resting = False
        self.cap_percent = cap_percent
        self.set_window(window_s)

    def set_cap(self, cap_percent: int, now_s: float) -> None:
        """Use another cap from now on; debt stays, but time at 100 leaves none.

        Raises:
            ValueError: ``cap_percent`` is out of range.
        """
        self._credit_s += self._earned_s(now_s)
        if self.cap_percent == 100:
            self._credit_s = 0.0
        self._use(cap_percent)
        self._credit_s = min(self._credit_s, self._most_s)

    def set_window(self, window_s: float) -> None:
        """Rest and burst in turns of another length from now on; credit and debt stay.

        Raises:
            ValueError: ``window_s`` is no length of time.
        """
        if not 0 < window_s < math.inf:
            raise ValueError(f"window_s is {window_s}, a length of time was expected")
        self._window_s = window_s
        self._use(self.cap_percent)

    def charge(self, gpu_seconds: float, now_s: float) -> None:
        """Account for work that has just ended.

        Args:
            gpu_seconds: Device time that it took.
            now_s: Monotonic clock; one that goes back earns nothing.

        Raises:
            ValueError: ``gpu_seconds`` is negative or not finite.
        """
        if not 0 <= gpu_seconds < math.inf:
            raise ValueError(f"{gpu_seconds} seconds of GPU time cannot have been used")
        # Earned and spent together before the limit: a launch pays for itself as it runs.
        earned_s = self._earned_s(now_s)
        self._credit_s = min(self._credit_s + earned_s - gpu_seconds, self._most_s)

    def wait_s(self, now_s: float) -> float:
        """Seconds to rest before the next launch, 0 to MAX_HOLD_S; ask again after resting."""
        self._credit_s = min(self._credit_s + self._earned_s(now_s), self._most_s)
        if self.cap_percent == 100:
            return 0.0
        mark_s = max(0.0, self._swing_s / 2 - _ROUNDING_S)
        if self._credit_s >= mark_s:
            self._is_resting = False
        elif self._credit_s <= -mark_s:
            self._is_resting = True
        if not self._is_resting:
            return 0.0
        return min((self._swing_s / 2 - self._credit_s) / self._cap, MAX_HOLD_S)

    def _use(self, cap_percent: int) -> None:
        if not 1 <= cap_percent <= 100:
            raise ValueError(f"cap_percent is {cap_percent}, 1 to 100 was expected")
        self.cap_percent = cap_percent
        self._cap = cap_percent / 100
        self._swing_s = self._window_s * self._cap * (1 - self._cap)
        # Above the upper mark by so much that a rest that lasted longer than asked is not lost.
        self._most_s = self._window_s * self._cap

    def _earned_s(self, now_s: float) -> float:
        """Credit earned since the last call."""
        elapsed_s = 0.0 if self._last_s is None else max(0.0, now_s - self._last_s)
        self._last_s = now_s
        return elapsed_s * self._cap
