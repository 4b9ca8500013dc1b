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
from pathlib import Path

from gpupanel.backends.base import Backend, EventSource, ProbeResult, unavailable_sample
from gpupanel.backends.linux.pci import cards_there
from gpupanel.backends.linux.proc import started_unix_s
from gpupanel.backends.registry import Opened, listed, looked_again, merged
from gpupanel.backends.sleep import Sleepers, SleepGate
from gpupanel.model.errors import BackendError
from gpupanel.model.event import EventRecord
from gpupanel.model.gpu import GpuId, GpuInfo, ProcessSample, Sample, Snapshot
from gpupanel.model.sleep import SleepRecord

_LOOK_INTERVAL_S = 30.0
"""Between two looks for drivers that were not there, and for cards that came or went."""

_GLANCE_INTERVAL_S = 3.0
"""Between two glances at the system's lists of cards: what changed there is looked at at once."""

_LOOKS_AFTER_CHANGE = 3
"""A driver is listed before it is ready."""

_LONGEST_WAIT_S = 1.0
"""A new interval is obeyed after this time at the latest."""


_WORDS = {"appeared": "is there now", "removed": "is not there any more"}


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
    """Reads the backends that opened; notices GPUs and drivers that come, go and come back.

    ``tick`` and ``run`` belong to one thread; the rest may be called from any.
    """

    def __init__(self, opened: Opened, clock: Clock = Clock(), root: Path = Path("/")) -> None:
        """Read nothing yet.

        Args:
            opened: From ``open_backends``.
            clock: Of this machine, or of a test.
            root: Where ``sys`` lies.
        """
        self._opened = opened
        self._clock = clock
        self._root = root
        self._cards = cards_there(root)
        self._looks_due = 0
        self._glance_at_s = clock.monotonic_s() + _GLANCE_INTERVAL_S
        self._look_at_s = clock.monotonic_s() + _LOOK_INTERVAL_S
        self._on_event: Callable[[EventRecord], None] | None = None
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
        """Read everything now; at times, look for what came and went before."""
        now_s = self._clock.monotonic_s()
        if now_s >= self._glance_at_s:
            self._glance(now_s)
        snapshot = Snapshot(
            time_unix_s=self._clock.unix_s(),
            time_monotonic_s=now_s,
            samples=tuple(
                _sample(backend, info.id) for backend, info in listed(self._opened.backends)
            ),
        )
        self._calls_ended()
        return snapshot

    def sleep_records(self) -> dict[str, SleepRecord]:
        """How each GPU that may sleep does, by id; by address where its id is not known yet."""
        return {gpu_id: gate.record() for gpu_id, gate in self._gates().items()}

    def watch(self, on_event: Callable[[EventRecord], None]) -> None:
        """Call ``on_event`` for GPUs that come and go, and for what drivers tell between ticks.

        The latter on threads of theirs.
        """
        self._on_event = on_event
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
        self._calls_ended()
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

    def _glance(self, now_s: float) -> None:
        self._glance_at_s = now_s + _GLANCE_INTERVAL_S
        cards = cards_there(self._root)
        if cards != self._cards:
            self._cards, self._looks_due = cards, _LOOKS_AFTER_CHANGE
        if self._looks_due or now_s >= self._look_at_s:
            self._looks_due = max(0, self._looks_due - 1)
            self._look_at_s = now_s + _LOOK_INTERVAL_S
            self._look()

    def _look(self) -> None:
        """Find what came and went, and tell of it."""
        for gate in self._gates().values():
            gate.is_asleep()  # as our calls begin
        before = {gpu.id: gpu for gpu in self.gpus()}
        self._opened = looked_again(self._opened)
        after = {gpu.id: gpu for gpu in self.gpus()}
        for gpus, others, word in ((after, before, "appeared"), (before, after, "removed")):
            for gpu_id in gpus.keys() - others.keys():
                text = f"{gpus[gpu_id].name} ({gpu_id}) {_WORDS[word]}"
                if self._on_event is not None:
                    self._on_event(EventRecord(self._clock.unix_s(), gpu_id, word, text))

    def _gates(self) -> dict[str, SleepGate]:
        gates: dict[str, SleepGate] = {}
        for backend in (*self._opened.unopened, *self._opened.backends):
            if isinstance(backend, Sleepers):
                gates.update(backend.gates())
        return gates

    def _calls_ended(self) -> None:
        """Have every gate see whether its GPU was woken by what we did just now."""
        for gate in self._gates().values():
            gate.calls_ended()

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
