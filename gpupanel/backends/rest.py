"""Pauses in which an idle GPU is left alone, because every look starts its way to sleep over.

    used -> idle for a minute -> left alone -> asleep -> woken by somebody else -> used
                                          `-> still awake at the end -> read until used again

A GPU that stayed awake all the same is held by somebody else, or cannot sleep: it is not left
alone again before it was used once more, so that its chart does not fill with gaps.
"""

from __future__ import annotations

LEFT_ALONE = "idle, and left alone so that it can fall asleep"

_IDLE_S = 60.0


class Rest:
    """One GPU's pauses. All times are on one clock that does not jump."""

    def __init__(self) -> None:
        self._idle_since_s: float | None = None
        self._until_s: float | None = None

    def is_on(self, now_s: float) -> bool:
        """Whether the GPU is to be left alone."""
        return self._until_s is not None and now_s < self._until_s

    def end(self) -> None:
        """The GPU is used, or fell asleep."""
        self._idle_since_s = self._until_s = None

    def idle(self, now_s: float) -> None:
        """Nobody uses it."""
        if self._idle_since_s is None:
            self._idle_since_s = now_s

    def is_due(self, now_s: float) -> bool:
        """Whether it was idle for long enough to be left alone."""
        idle_since_s = self._idle_since_s
        return (
            self._until_s is None and idle_since_s is not None and now_s - idle_since_s >= _IDLE_S
        )

    def begin(self, now_s: float, longest_s: float) -> None:
        """Leave it alone, for so long at most if it does not fall asleep."""
        self._until_s = now_s + longest_s
