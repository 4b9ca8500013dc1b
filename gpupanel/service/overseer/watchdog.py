"""The service's sign of life, and what it has to be earned with."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence

from gpupanel.service.overseer.orders import Overseer

_BEATS_PER_INTERVAL = 3
"""Two may be lost or late before the overseer thinks that we hang."""


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


class Watchdog:
    """The sign of life, given by the loop that enforces and by no other thread.

    A beat says that this loop turns and that every thread it relies on does. Without one for
    ``watchdog_s``, the overseer ends this process, has let go what it held, and starts another.
    """

    def __init__(
        self,
        overseer: Overseer,
        turns: Sequence[Turn],
        describe: Callable[[], str],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Give no sign yet.

        Args:
            overseer: Is told.
            turns: Of the threads without which nothing is enforced.
            describe: What the service does now, in one line.
            clock: Seconds; a test brings its own.
        """
        self._overseer = overseer
        self._turns = turns
        self._describe = describe
        self._clock = clock
        self._pause_s = (overseer.watchdog_s or 0.0) / _BEATS_PER_INTERVAL
        self._next_s = clock()
        self._status = ""
        self._is_complaining = False

    def beat(self) -> None:
        """Called at every turn of the loop; costs nothing until a sign is due."""
        if self._overseer.watchdog_s is None or self._clock() < self._next_s:
            return
        self._next_s = self._clock() + self._pause_s
        late = "; ".join(filter(None, (turn.late() for turn in self._turns)))
        if late:
            self._complain(late)
            return
        self._is_complaining = False
        self._overseer.alive()
        self._tell_status(self._describe())

    def _complain(self, late: str) -> None:
        self._tell_status(late)
        if not self._is_complaining:
            self._is_complaining = True
            sys.stderr.write(f"gpupaneld: {late}: the service will be started anew\n")

    def _tell_status(self, text: str) -> None:
        if text != self._status:
            self._status = text
            self._overseer.status(text)
