"""When to let go of an idle GPU, so that it can fall asleep: an open NVML handle keeps it awake.

    used -> idle for a minute -> let go -> asleep -> woken by somebody else -> used
                                       `-> still awake after half a minute -> used

A GPU that stayed awake all the same is held by somebody else, or cannot sleep: it is not let go
of again before it was used once more, so that its chart does not fill with gaps.
"""

from __future__ import annotations

_IDLE_S = 60.0
_FALL_ASLEEP_S = 30.0


class Rest:
    """The rest of one GPU that can sleep. All times are on one clock that does not jump.

    Attributes:
        is_let_go: Nothing may be asked of it; only its power state is looked at.
    """

    def __init__(self) -> None:
        self.is_let_go = False
        self._idle_since_s: float | None = None
        self._let_go_at_s = 0.0
        self._slept = False
        self._in_vain = False

    def used(self) -> None:
        """It has work, or a process has it open."""
        self._idle_since_s = None
        self._in_vain = False

    def idle(self, now_s: float) -> None:
        """Nobody uses it."""
        if self._idle_since_s is None:
            self._idle_since_s = now_s

    def is_due(self, now_s: float) -> bool:
        """Whether it was idle for long enough to let go of it."""
        idle_since_s = self._idle_since_s
        return not self._in_vain and idle_since_s is not None and now_s - idle_since_s >= _IDLE_S

    def let_go(self, now_s: float) -> None:
        """From now on it may fall asleep."""
        self.is_let_go, self._slept = True, False
        self._let_go_at_s = now_s
        self._idle_since_s = None

    def asleep(self) -> None:
        """Its power state says so."""
        self._slept = True

    def awake(self, now_s: float) -> None:
        """Its power state says so; ends the rest when somebody woke it, or it never slept."""
        if self.is_let_go and (self._slept or now_s - self._let_go_at_s >= _FALL_ASLEEP_S):
            self.is_let_go = False
            self._in_vain = not self._slept
