"""One cell under one limiter: measure what it used, hold it, let it go on.

The limiter counts in what the processes do when nobody holds them, so that a cap of 50 percent is
half of that on this machine, now, beside whatever else runs. That is learned before the first hold,
and from each burst between two holds after it. A GPU goes on for a while with what was handed to it
before its process was held; how long is learned too, and turns get longer with it.
"""

from __future__ import annotations

import math
from collections import deque

from gpupanel.enforcement.cell import Cell
from gpupanel.enforcement.meter import Meter
from gpupanel.model.gpu import Reading, Unavailable
from gpupanel.policy.limiter import MAX_HOLD_S, Limiter

LEARN_S = 3.0
"""So long at least nobody is held, to see what the processes do then."""

POLL_S = 0.02
"""Between two looks at a cell that runs or whose work still drains."""

_GLANCE_S = 0.25
"""The same while it is only watched."""

_TURN_S = 1.0
"""One burst and one rest, where work drains fast."""

_DRAINS_PER_TURN = 4.0
_SHOWN_S, _LONGEST_SHOWN_S = 10.0, 120.0
_DRAINS_SHOWN = 100.0
"""The cap is kept over so many drain times."""

_LEAST_SHARE = 0.005
"""Who used less of the device than this is not held: there is nothing to learn from it yet. One
core of a processor of 128 is more."""

_MOST_SHARE = 4.0
"""Of what the devices can give: a driver that counts engines one by one may tell of more than one
device's time, and no counter can tell of that much."""

_MEMORY_S = 20.0
"""Of bursts: how fast what was learned follows what the processes do now."""

_DRAIN_WEIGHT = 0.1

_STILL_S = 1e-4
"""Use in one look below which work has drained."""

_MOST_AT_ONCE_S = 30.0
"""Of use in one look: a counter that jumps must not hold anybody for hours."""

_BREATH_S = 0.01
"""Let through after the longest hold, for connections that must be answered."""


class Pace:
    """How much was used over the last while."""

    def __init__(self, keep_s: float) -> None:
        self._keep_s = keep_s
        self._points: deque[tuple[float, float]] = deque()

    def append(self, now_s: float, used_s: float) -> None:
        """Add one reading; those that are older than is kept are dropped."""
        points = self._points
        if len(points) > 1 and now_s - points[-2][0] < _GLANCE_S:
            points.pop()
        points.append((now_s, used_s))
        while len(points) > 2 and now_s - points[1][0] >= self._keep_s:
            points.popleft()

    def share(self, window_s: float) -> float | None:
        """Used per second over the last ``window_s``; None while less than that was watched."""
        if not self._points:
            return None
        now_s, used_s = self._points[-1]
        for then_s, before_s in reversed(self._points):
            if now_s - then_s >= window_s:
                return (used_s - before_s) / (now_s - then_s)
        return None


class Cap:
    """Holds one cell to its limit. Belongs to one thread.

    Attributes:
        share: GPU seconds a second that the processes use when nobody holds them; None while it
            is being learned.
        drain_s: How long the device goes on after a hold.
        is_frozen: The cell is held now.
        trim: What may be used is multiplied with it; see ``Trim``.
    """

    def __init__(self, cell: Cell, meter: Meter, cap_percent: int, now_s: float) -> None:
        """Watch the cell from now on; hold nobody yet.

        Raises:
            HoldFailed: What it used cannot be read.
        """
        self._cell = cell
        self._meter = meter
        self._limiter = Limiter(cap_percent, _TURN_S)
        self._began_s = self._looked_s = now_s
        self._used_s = meter.used_s(cell, now_s)
        self._pace = Pace(_LONGEST_SHOWN_S)
        self._pace.append(now_s, self._used_s)
        self._frozen_at_s, self._drained_s = -math.inf, 0.0
        self.share: float | None = None
        self.drain_s = 0.0
        self.is_frozen = False
        self.trim = 1.0

    @property
    def window_s(self) -> float:
        """The time over which the cap is kept."""
        return min(_LONGEST_SHOWN_S, max(_SHOWN_S, _DRAINS_SHOWN * self.drain_s))

    def efficiency_percent(self) -> Reading:
        """What the cell got over ``window_s``, of what it uses when nobody holds it."""
        if self.share is None:
            return Unavailable("what it does uncapped is still being measured")
        used = self._pace.share(self.window_s)
        if used is None:
            return Unavailable(f"not held for {self.window_s:.0f} s yet")
        return 100 * used / self.share

    def know(self, share: float) -> None:
        """Take what was learned by an earlier cap of the same processes."""
        self.share = self._bounded(share)

    def set_cap(self, cap_percent: int, now_s: float) -> None:
        """Keep another cap from now on."""
        if cap_percent != self._limiter.cap_percent:
            self._limiter.set_cap(cap_percent, now_s)
            self._set_turn()

    def watch(self, now_s: float) -> float:
        """Learn, and hold nobody; returns the seconds until the next look.

        Raises:
            HoldFailed: What was used could not be read, or the cell cannot be let go.
        """
        self._look(now_s)
        self.let_go()
        return _GLANCE_S

    def step(self, now_s: float) -> float:
        """Hold or let go, as the limiter says; returns the seconds until the next step.

        Raises:
            HoldFailed: What was used could not be read, or the cell cannot be held or let go.
        """
        was_learning = self.share is None
        spent_s = self._look(now_s)
        if self.share is None:
            return _GLANCE_S
        if was_learning:
            return POLL_S  # what was learned is noted before anybody is held
        self._limiter.charge(spent_s / self.share / self.trim, now_s)
        rest_s = self._limiter.wait_s(now_s)
        if rest_s <= 0:
            self.let_go()
            return POLL_S
        if self.is_frozen and now_s - self._frozen_at_s >= MAX_HOLD_S and self._may_breathe():
            self.let_go()
            return _BREATH_S
        self._freeze(now_s)
        left_s = self._frozen_at_s + MAX_HOLD_S - now_s
        longest_s = POLL_S if spent_s > _STILL_S else max(left_s, POLL_S)
        return max(_BREATH_S, min(rest_s, longest_s))

    def hold(self, now_s: float) -> float:
        """Hold without end; returns the seconds until the next look.

        Raises:
            HoldFailed: It goes on running.
        """
        self._look(now_s)
        self._freeze(now_s)
        return _GLANCE_S

    def let_go(self) -> None:
        """Let everybody run.

        Raises:
            HoldFailed: Somebody may still be held.
        """
        if self.is_frozen:
            self._cell.thaw()
            self.is_frozen = False
            self._remember_drain()

    def _may_breathe(self) -> bool:
        """Not where the work that it hands over in a breath is more than a hold has earned."""
        earned_s = MAX_HOLD_S * self._limiter.cap_percent / 100
        return self._drained_s + self.drain_s < earned_s

    def _look(self, now_s: float) -> float:
        """What was used since the last look; what it teaches is remembered."""
        used_s = self._meter.used_s(self._cell, now_s)
        spent_s, past_s = min(used_s - self._used_s, _MOST_AT_ONCE_S), now_s - self._looked_s
        self._used_s, self._looked_s = used_s, now_s
        self._pace.append(now_s, used_s)
        if self.is_frozen:
            self._learn_drain(spent_s, past_s)
        elif self.share is None:
            self._learn(now_s)
        elif past_s > 0:
            weight = 1 - math.exp(-past_s / _MEMORY_S)
            self.share = self._bounded(self.share + weight * (spent_s / past_s - self.share))
        return spent_s

    def _learn(self, now_s: float) -> None:
        share = self._pace.share(LEARN_S)
        if share is not None and share >= _LEAST_SHARE and now_s - self._began_s >= LEARN_S:
            self.know(share)

    def _bounded(self, share: float) -> float:
        return min(_MOST_SHARE * self._meter.capacity, max(_LEAST_SHARE, share))

    def _learn_drain(self, spent_s: float, past_s: float) -> None:
        """Work that ended since the last look took as long as it would have uncapped."""
        if spent_s > _STILL_S and self.share is not None:
            before_s = self._looked_s - past_s - self._frozen_at_s
            self._drained_s = max(0.0, before_s) + min(past_s, spent_s / self.share)

    def _remember_drain(self) -> None:
        """Rises at once, falls slowly: a turn that is too short does not hold at all."""
        is_longer = self._drained_s > self.drain_s
        weight = 1.0 if is_longer else _DRAIN_WEIGHT
        self.drain_s += weight * (self._drained_s - self.drain_s)
        self._set_turn()

    def _set_turn(self) -> None:
        """As long as draining asks for, and as short as the longest hold does."""
        rest = 1 - self._limiter.cap_percent / 100
        longest_s = MAX_HOLD_S / rest if rest else _TURN_S
        self._limiter.set_window(min(max(_TURN_S, _DRAINS_PER_TURN * self.drain_s), longest_s))

    def _freeze(self, now_s: float) -> None:
        """Each time anew: after a pause of ours, the dead man has let them go."""
        self._cell.freeze()
        if not self.is_frozen:
            self.is_frozen = True
            self._frozen_at_s, self._drained_s = now_s, 0.0
