"""What is done to programs that mine, and what the user says about it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from gpupanel.model.gpu import GpuId, Unavailable
from gpupanel.ui.past import Agent

if TYPE_CHECKING:
    from gpupanel.model.hold import Hold

ProcessKey = tuple[int, int]
"""Pid and start."""


class Holds:
    """Follows what the agent tells; no QObject, which the first frame would pay for.

    Attributes:
        all: None until the agent told.
        said: Programs of which the user said here that they do not mine, by process: why the
            agent refused; empty where it did not, or was not heard yet.
    """

    def __init__(
        self,
        agent: Agent | None,
        points: int,
        changed: Callable[[], None],
        taken: Callable[[ProcessKey], None],
    ) -> None:
        """Know nothing yet.

        Args:
            agent: Whom to tell of the user's word.
            points: How many efficiencies are remembered of each hold, one a tick.
            changed: Called when there is another hold, or something else is done; what a hold
                comes to changes all the time and is not told.
            taken: Called when the agent took the user's word.
        """
        self._agent = agent
        self._points = points
        self._changed = changed
        self._taken = taken
        self._series: dict[str, deque[float | None]] = {}
        self.all: tuple[Hold, ...] | None = None
        self.said: dict[ProcessKey, str] = {}

    def take(self, holds: Sequence[Hold]) -> None:
        """All that are shown to this user now."""
        before, self.all = self.all, tuple(holds)
        if before is None or list(map(_terms, before)) != list(map(_terms, holds)):
            self._changed()

    def forget(self) -> None:
        """The agent is gone; what it held, it let go."""
        self.all = None
        self._series.clear()
        self.said = {key: why for key, why in self.said.items() if not why}

    def tick(self) -> None:
        """Remember what each hold comes to."""
        if not self.all:
            self._series.clear()
            return
        before, self._series = self._series, {}
        for hold in self.all:
            reading = hold.efficiency_percent
            series = before.get(hold.id) or deque(maxlen=self._points)
            series.append(None if isinstance(reading, Unavailable) else reading)
            self._series[hold.id] = series

    def series(self, hold: Hold) -> Sequence[float | None]:
        """The efficiencies of one hold in percent, oldest first."""
        return self._series.get(hold.id, ())

    def of(self, key: ProcessKey) -> Hold | None:
        """The hold that is about this process."""
        return next((one for one in self.all or () if (one.pid, one.started) == key), None)

    def on(self, gpu_id: GpuId) -> list[Hold]:
        """Those of programs that use this GPU."""
        return [one for one in self.all or () if gpu_id in one.gpus]

    def object_to(self, key: ProcessKey) -> None:
        """The user says that this program does not mine; ``said`` tells what came of it."""
        if self._agent is None:
            return
        self.said[key] = ""

        def refuse(reason: str) -> None:
            self.said[key] = reason
            self._changed()

        params = {"pid": key[0], "started": key[1]}
        self._agent.ask("object", params, lambda _: self._taken(key), refuse)
        self._changed()


def _terms(hold: Hold) -> Hold:
    """What is done, without what it comes to."""
    return replace(hold, efficiency_percent=0.0, window_s=0.0)
