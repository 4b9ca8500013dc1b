"""The loop that reads every GPU on a fixed schedule.

It keeps time, not values: what it read goes to whoever asked for it. One GPU that fails is a row
of reasons; it stops neither the loop nor the other GPUs.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from math import floor

from gpupanel.backends.base import Backend, EventSource, ProbeResult, unavailable_sample
from gpupanel.backends.linux.proc import started_unix_s
from gpupanel.backends.registry import Opened, listed, merged, probed_again
from gpupanel.model.errors import BackendError
from gpupanel.model.event import EventRecord
from gpupanel.model.gpu import GpuId, GpuInfo, ProcessSample, Sample, Snapshot

_REPROBE_INTERVAL_S = 30.0
"""Between two looks for a driver that was not there."""

_LONGEST_WAIT_S = 1.0
"""A new interval is obeyed after this time at the latest."""


@dataclass(frozen=True, slots=True)
class Clock:
    """Time as the loop sees it; a test brings its own.

    Attributes:
        wait: Until the event is set, or so many seconds.
    """

    monotonic_s: Callable[[], float] = time.monotonic
    unix_s: Callable[[], float] = time.time
    wait: Callable[[threading.Event, float], bool] = threading.Event.wait


class Sampler:
    """Reads the backends that opened, and looks for the others every half minute.

    ``tick`` and ``run`` belong to one thread; the rest may be called from any.
    """

    def __init__(self, opened: Opened, clock: Clock = Clock()) -> None:
        self._opened = opened
        self._clock = clock
        self._reprobe_at_s = clock.monotonic_s() + _REPROBE_INTERVAL_S
        self._interval_s = 1.0

    def gpus(self) -> tuple[GpuInfo, ...]:
        """The GPUs that the next tick reads."""
        return tuple(info for _, info in listed(self._opened.backends))

    def probe_results(self) -> tuple[ProbeResult, ...]:
        """What the last look for each driver stack found."""
        return self._opened.results

    def set_interval_s(self, interval_s: float) -> None:
        """Change the pace of a running loop, counted from its last tick.

        Raises:
            ValueError: ``interval_s`` is not positive.
        """
        if not interval_s > 0:
            raise ValueError(f"the sampling interval must be positive, not {interval_s} s")
        self._interval_s = interval_s

    def tick(self) -> Snapshot:
        """Read everything now."""
        now_s = self._clock.monotonic_s()
        if self._opened.unopened and now_s >= self._reprobe_at_s:
            self._reprobe_at_s = now_s + _REPROBE_INTERVAL_S
            self._opened = probed_again(self._opened)
        return Snapshot(
            time_unix_s=self._clock.unix_s(),
            time_monotonic_s=now_s,
            samples=tuple(
                _sample(backend, info.id) for backend, info in listed(self._opened.backends)
            ),
        )

    def watch(self, on_event: Callable[[EventRecord], None]) -> None:
        """Have drivers that tell of events between ticks call ``on_event`` on threads of theirs."""
        for backend in (*self._opened.backends, *self._opened.unopened):
            if isinstance(backend, EventSource):
                backend.watch(on_event)

    def close(self) -> None:
        """Let go of every driver; belongs to the thread of ``tick``."""
        for backend in self._opened.backends:
            backend.close()

    def processes(self) -> tuple[tuple[ProcessSample, ...], tuple[str, ...]]:
        """Who uses the GPUs that are listed, and who could not be looked into.

        Belongs to the thread of ``tick``. A backend that fails has nobody to show; its GPUs'
        samples say what is wrong.
        """
        found: list[ProcessSample] = []
        hidden: set[str] = set()
        for backend in self._opened.backends:
            with suppress(BackendError):
                found += backend.processes()
            hidden.add(backend.hidden_processes_reason)
        dated = tuple(
            replace(one, started_unix_s=started_unix_s(one.started))
            for one in merged(found, self._opened.backends)
        )
        return dated, tuple(sorted(hidden - {""}))

    def run(
        self, stop: threading.Event, interval_s: float, on_snapshot: Callable[[Snapshot], None]
    ) -> None:
        """Tick at once and then every ``interval_s`` until ``stop``; closes no backend.

        Ticks lie on a grid: a late one does not delay the next, and those that were missed,
        for load or for sleep, are not made up for.

        Raises:
            ValueError: ``interval_s`` is not positive.
        """
        self.set_interval_s(interval_s)
        deadline_s = self._clock.monotonic_s()
        while not stop.is_set():
            on_snapshot(self.tick())
            deadline_s = self._wait(stop, deadline_s)

    def _wait(self, stop: threading.Event, last_s: float) -> float:
        """Wait for the next point of the grid through ``last_s`` and return it."""
        after_s = self._clock.monotonic_s()
        while not stop.is_set():
            deadline_s = next_deadline_s(last_s, self._interval_s, after_s)
            remaining_s = deadline_s - self._clock.monotonic_s()
            if remaining_s <= 0:
                return deadline_s
            self._clock.wait(stop, min(remaining_s, _LONGEST_WAIT_S))
        return last_s


def next_deadline_s(last_s: float, interval_s: float, now_s: float) -> float:
    """The first point after ``now_s`` of the grid that has a point at ``last_s``."""
    missed = max(0, floor((now_s - last_s) / interval_s))
    deadline_s = last_s + (missed + 1) * interval_s
    # The division rounds: at a point of the grid it may yield the point itself.
    return deadline_s if deadline_s > now_s else deadline_s + interval_s


def _sample(backend: Backend, gpu_id: GpuId) -> Sample:
    try:
        return backend.sample(gpu_id)
    except BackendError as error:
        return unavailable_sample(gpu_id, str(error))
