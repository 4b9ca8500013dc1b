"""The long memory: readings, energy and events in a database that outlives crashes.

Ticks are gathered and written about once a second or two, in one short transaction; what is
finished is rolled up in between, in steps that hold no tick for long (``rolling.py``). A disk that
is full or not ours stops the memory, never the sampling.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import inf, nan
from pathlib import Path
from struct import pack

from gpupanel.model.errors import HistoryRefused
from gpupanel.model.event import EventRecord
from gpupanel.model.gpu import GpuId, Snapshot, Unavailable
from gpupanel.model.metrics import METRIC_BY_KEY
from gpupanel.sampling import rolling, schema
from gpupanel.sampling.energy import ENERGY_SPAN_S, Energy, EnergyMeter
from gpupanel.sampling.ledger import HeldMinute
from gpupanel.sampling.rollup import FLOAT32_MAX

COMMIT_AFTER_S = 0.9
"""Age of the oldest tick that waits: at 1 Hz every second tick commits, and 2 s can be lost."""

RETRY_AFTER_S = 10.0
"""After the disk refused."""

WAITING_TICKS = 600
WAITING_EVENTS = 1000
WAITING_HELD = 5000
"""What is kept for a disk that may come back; then the oldest go."""

ROLL_S = 0.001
"""Of a tick, for rolling up: no further step begins after this time."""

_SeriesId = tuple[GpuId, str]


@dataclass(frozen=True, slots=True)
class _Tick:
    time_unix_s: float
    time_monotonic_s: float
    numbers: Mapping[_SeriesId, float]
    energy: Mapping[GpuId, Energy]


class Store:
    """Writes one database; any thread may call, one at a time is served.

    Nothing here raises for what the disk does: see ``problem``.
    """

    def __init__(self, path: Path) -> None:
        """Touch nothing yet; the first write opens ``path`` and makes its directory."""
        self._path = path
        self._mutex = threading.Lock()
        self._meter = EnergyMeter()
        self._ticks: deque[_Tick] = deque(maxlen=WAITING_TICKS)
        self._events: deque[EventRecord] = deque(maxlen=WAITING_EVENTS)
        self._held: deque[HeldMinute] = deque(maxlen=WAITING_HELD)
        self._lock: sqlite3.Connection | None = None
        self._connection: sqlite3.Connection | None = None
        self._series: dict[_SeriesId, int] = {}
        self._written_s = 0.0
        self._steps: Iterator[bool] = iter(())
        self._rolled_to_s = 0
        self._checkpoint = schema.Checkpoint(path)
        self._retry_at_s = -inf
        self._newest_s = -inf
        self._problem = ""

    @property
    def path(self) -> Path:
        """The database, for those who read it."""
        return self._path

    @property
    def problem(self) -> str:
        """Why nothing is remembered now, for a person; empty when all is well."""
        return self._problem

    def append(self, snapshot: Snapshot, held: Sequence[HeldMinute] = ()) -> None:
        """Remember the readings of METRICS that are to be remembered; commits at most each 2 s.

        Args:
            snapshot: One a second.
            held: What the ledger added since it was last asked.
        """
        numbers = {
            (sample.gpu_id, key): reading
            for sample in snapshot.samples
            for key, reading in sample.readings.items()
            if not isinstance(reading, Unavailable)
            and -FLOAT32_MAX <= reading <= FLOAT32_MAX
            and METRIC_BY_KEY[key].is_remembered
        }
        with self._mutex:
            self._newest_s = snapshot.time_monotonic_s
            energy = self._meter.step(snapshot)
            self._held.extend(held)
            self._ticks.append(
                _Tick(snapshot.time_unix_s, snapshot.time_monotonic_s, numbers, energy)
            )
            if self._newest_s - self._ticks[0].time_monotonic_s >= COMMIT_AFTER_S:
                self._attempt(self._write)
            if self._connection is not None:
                self._attempt(partial(self._roll, limit_s=ROLL_S))

    def add_event(self, record: EventRecord) -> None:
        """Remember ``record`` at once: the next tick may never come."""
        with self._mutex:
            self._events.append(record)
            self._attempt(self._write)

    def close(self, held: Sequence[HeldMinute] = ()) -> None:
        """Write what waits and the rest of the ledger, and let another process write."""
        with self._mutex:
            self._retry_at_s = -inf
            self._held.extend(held)
            if self._ticks or self._events or self._held:
                self._attempt(self._write)
            if self._connection is not None:
                self._attempt(partial(self._roll, limit_s=inf))
            self._let_go()
            if self._lock is not None:
                self._lock.close()
                self._lock = None

    def _attempt(self, work: Callable[[sqlite3.Connection], None]) -> None:
        if self._newest_s < self._retry_at_s:
            return
        try:
            work(self._opened())
        except (HistoryRefused, OSError) as error:
            self._give_up(str(error))
        except sqlite3.Error as error:
            self._give_up(f"{self._path}: the history cannot be written: {error}")
            if schema.is_damage(error):
                self._start_anew(str(error))
        except ValueError as error:
            self._give_up(f"{self._path}: {error}")
            self._start_anew(str(error))
        else:
            self._problem = ""

    def _give_up(self, problem: str) -> None:
        """Until the next try; a new connection then knows what really is on the disk."""
        self._problem = problem
        self._retry_at_s = self._newest_s + RETRY_AFTER_S
        self._let_go()

    def _let_go(self) -> None:
        self._steps, self._rolled_to_s = iter(()), 0
        self._checkpoint.join()
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _start_anew(self, damage: str) -> None:
        """Keep the damaged file under another name, and say so where the readings end."""
        try:
            aside = schema.set_aside(self._path)
        except OSError as refused:
            self._problem = f"{self._path} is damaged and cannot be renamed: {refused}"
            return
        self._retry_at_s = -inf
        waiting = self._ticks or self._events
        time_unix_s = waiting[-1].time_unix_s if waiting else float(self._held[-1].start_s)
        text = f"the history was damaged ({damage}); it was kept as {aside.name}, a new one begins"
        self._events.append(EventRecord(time_unix_s, None, "history", text))
        self._problem = text

    def _opened(self) -> sqlite3.Connection:
        if self._lock is None:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = schema.lock(self._path)
        if self._connection is None:
            self._connection = schema.open_to_write(self._path)
            rows = self._connection.execute("SELECT gpu, metric, id FROM series")
            self._series = {(gpu, metric): number for gpu, metric, number in rows}
        return self._connection

    def _write(self, connection: sqlite3.Connection) -> None:
        """All that waits, in one transaction; without a commit, all of it waits on."""
        with schema.transaction(connection):
            self._insert(connection)
        if self._ticks:
            self._written_s = self._ticks[-1].time_unix_s
        self._ticks.clear()
        self._events.clear()
        self._held.clear()
        self._checkpoint.consider()

    def _roll(self, connection: sqlite3.Connection, limit_s: float) -> None:
        """Go on with rolling up what is older than the block that is being filled."""
        boundary_s = int(self._written_s // rolling.SPAN_S) * rolling.SPAN_S
        began_s = time.perf_counter()
        while time.perf_counter() - began_s < limit_s:
            if next(self._steps, False):
                continue
            if boundary_s == self._rolled_to_s:
                return
            self._steps, self._rolled_to_s = rolling.steps(connection, boundary_s), boundary_s

    def _insert(self, connection: sqlite3.Connection) -> None:
        connection.executemany(
            "INSERT INTO tick VALUES (?, ?)",
            [
                (round(tick.time_unix_s * 1000), self._row(connection, tick.numbers))
                for tick in self._ticks
            ],
        )
        connection.executemany(
            "INSERT INTO energy VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET"
            " joules = joules + excluded.joules, measured_s = measured_s + excluded.measured_s",
            [
                (int(tick.time_unix_s // ENERGY_SPAN_S) * ENERGY_SPAN_S, gpu, *energy)
                for tick in self._ticks
                for gpu, energy in tick.energy.items()
            ],
        )
        connection.executemany(
            "INSERT INTO held VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET"
            " seconds = seconds + excluded.seconds",
            self._held,
        )
        connection.executemany(
            "INSERT INTO event VALUES (?, ?, ?, ?)",
            [
                (round(one.time_unix_s * 1000), one.gpu_id, one.kind, one.text)
                for one in self._events
            ],
        )

    def _row(self, connection: sqlite3.Connection, numbers: Mapping[_SeriesId, float]) -> bytes:
        for name in numbers.keys() - self._series.keys():
            self._series[name] = len(self._series)
            connection.execute("INSERT INTO series VALUES (?, ?, ?)", (self._series[name], *name))
        row = [nan] * len(self._series)
        for name, value in numbers.items():
            row[self._series[name]] = value
        return pack(f"<{len(row)}f", *row)
