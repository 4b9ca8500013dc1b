"""What was read of the GPUs: the last hour in memory, the rest on disk, and what held them down."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gpupanel.ipc.server import Method
from gpupanel.model.event import EventRecord
from gpupanel.model.gpu import GpuInfo, Reading, Sample, Snapshot, Unavailable
from gpupanel.model.metrics import METRICS
from gpupanel.sampling.history import History
from gpupanel.sampling.ledger import HeldMinute, Ledger, set_by
from gpupanel.sampling.store import Store
from gpupanel.service.memory import Memory

INTERVAL_S = 1.0
"""One point a second, however fast somebody watches."""

LEDGER_INTERVAL_S = 10.0
"""Between two writes of the ledger; a crash loses so much of it."""

SLACK_S = 0.05
"""A tick that comes this much early is the tick of its second."""

GAP = Unavailable("no reading then")


class Readings:
    """Filled by the sampler's thread, asked by any."""

    def __init__(self, store: Store | None, gpus: Callable[[], Sequence[GpuInfo]]) -> None:
        """Remember nothing yet.

        Args:
            store: Remembers on disk; None forgets at the end.
            gpus: Those of this machine now.
        """
        self._store = store
        self._gpus = gpus
        self._lock = threading.Lock()
        self._history = History(keeps_day=store is None)
        self._ledger = Ledger()
        self._unix_offset_s = 0.0
        self._next_store_s = self._next_ledger_s = 0.0
        self._memory = Memory(store.path if store else None)
        self.methods: Mapping[str, Method] = {
            "history": self._history_of,
            "limits": self._limits,
            **self._memory.methods,
        }

    @property
    def problem(self) -> str:
        """Why nothing is remembered on disk; empty while all is well."""
        return self._store.problem if self._store else ""

    def restore(self) -> None:
        """What held the cards before this daemon was started is still true of the last day."""
        unix_s, monotonic_s = time.time(), time.monotonic()
        kept = self._memory.held_minutes(unix_s) if self._store else []
        with self._lock:
            self._ledger.restore(kept, unix_s, monotonic_s)

    def append(self, snapshot: Snapshot) -> None:
        """Remember one tick."""
        with self._lock:
            self._history.append(snapshot)
            self._ledger.append(snapshot, set_by(snapshot))
            self._unix_offset_s = snapshot.time_unix_s - snapshot.time_monotonic_s
        now_s = snapshot.time_monotonic_s
        if not self._store or now_s < self._next_store_s:
            return
        self._next_store_s = now_s + INTERVAL_S - SLACK_S
        held: Sequence[HeldMinute] = ()
        if now_s >= self._next_ledger_s:
            self._next_ledger_s = now_s + LEDGER_INTERVAL_S - SLACK_S
            held = self._ledger.drain()
        self._store.append(snapshot, held)

    def add_event(self, event: EventRecord) -> None:
        """Remember that something happened; any thread may call."""
        if self._store:
            self._store.add_event(event)

    def close(self) -> None:
        """Write what waits."""
        if self._store:
            self._store.close(self._ledger.drain())

    def _history_of(self, params: Mapping[str, Any]) -> Mapping[str, Any]:
        seconds = float(params["seconds"])
        if not 0 < seconds <= 3600:
            raise ValueError("seconds is more than 0, at most 3600")
        with self._lock:
            snapshots = _recent(self._history, self._gpus(), seconds, self._unix_offset_s)
        return {"snapshots": [snapshot.as_json() for snapshot in snapshots]}

    def _limits(self, params: Mapping[str, Any]) -> Mapping[str, Any]:
        """What held each GPU's clocks down in the last minute, hour and day."""
        del params
        with self._lock:
            return {
                "limits": {
                    gpu.id: {
                        span: account.as_json()
                        for span, account in self._ledger.accounts(gpu.id).items()
                    }
                    for gpu in self._gpus()
                }
            }


def _recent(
    history: History, gpus: Sequence[GpuInfo], seconds: float, unix_offset_s: float
) -> list[Snapshot]:
    """The history of all GPUs as snapshots, oldest first; a gap says that it is one."""
    samples: dict[float, list[Sample]] = {}
    for gpu in gpus:
        readings: dict[float, dict[str, Reading]] = {}
        for metric in METRICS:
            for point in history.series(gpu.id, metric.key, seconds):
                at = readings.setdefault(point.time_monotonic_s, {})
                at[metric.key] = GAP if point.mean is None else point.mean
        for time_s, by_key in readings.items():
            complete = {metric.key: by_key.get(metric.key, GAP) for metric in METRICS}
            samples.setdefault(time_s, []).append(Sample(gpu.id, complete))
    return [
        Snapshot(time_s + unix_offset_s, time_s, tuple(samples[time_s]))
        for time_s in sorted(samples)
    ]
