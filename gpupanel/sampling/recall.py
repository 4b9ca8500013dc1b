"""Reading the long memory, from any process, while another writes it."""

from __future__ import annotations

import sqlite3
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from contextlib import contextmanager
from math import ceil, floor, isnan
from pathlib import Path
from struct import unpack
from typing import NamedTuple

from gpupanel.model.closing import Closing
from gpupanel.model.errors import HistoryRefused
from gpupanel.model.event import EventRecord
from gpupanel.model.gpu import GpuId
from gpupanel.sampling import rollup, schema
from gpupanel.sampling.energy import Energy
from gpupanel.sampling.ledger import HeldMinute
from gpupanel.sampling.rollup import Bin, Columns


class Remembered(NamedTuple):
    """One metric of one GPU over some time; a time without readings has no point."""

    time_unix_s: float
    low: float
    mean: float
    high: float


class Recall(Closing):
    """One connection that only reads; of one thread.

    Every call raises HistoryRefused when the file turns out to be unreadable.
    """

    def __init__(self, path: Path) -> None:
        """Open ``path``.

        Raises:
            HistoryRefused: There is no such history, or it cannot be read.
        """
        self._path = path
        self._connection = schema.open_to_read(path)

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()

    def names(self) -> list[tuple[GpuId, str]]:
        """Every (GPU, metric) that was ever remembered."""
        with self._reading() as connection:
            return list(connection.execute("SELECT gpu, metric FROM series ORDER BY gpu, id"))

    def span_s(self) -> tuple[float, float] | None:
        """Time of the oldest and the newest reading; None when there is none."""
        with self._reading() as connection:
            oldest, newest = connection.execute(
                "SELECT min(a), max(b) FROM (SELECT (SELECT min(start_s) FROM coarse) a,"
                " (SELECT max(start_s) + 3600 FROM coarse) b UNION"
                " SELECT min(time_ms) / 1000.0, max(time_ms) / 1000.0 FROM tick)"
            ).fetchone()
        return None if oldest is None else (oldest, newest)

    def width_s(self, since_s: float, until_s: float, max_points: int) -> int:
        """How far apart the points of ``series`` are: a greater distance is a gap."""
        span = self.span_s()
        is_old = span is not None and since_s < span[1] - schema.FINE_KEPT_S
        least_s = schema.COARSE_S if is_old else schema.FINE_S
        return least_s * max(1, ceil((until_s - since_s) / max_points / least_s))

    def series(
        self, gpu_id: GpuId, metric: str, since_s: float, until_s: float, max_points: int
    ) -> list[Remembered]:
        """One metric of one GPU from ``since_s`` to ``until_s``, oldest first.

        At most ``max_points`` + 1 points of equal width, 10 s at least, or a minute for what is
        older than a day; see ``width_s``. Times are where a point begins, seconds since 1970.
        """
        width_s = self.width_s(since_s, until_s, max_points)
        bins = rollup.merged(self._columns(gpu_id, metric, since_s, until_s), width_s)
        return [Remembered(one.start_s, one.low, one.mean, one.high) for one in bins]

    def bins(self, gpu_id: GpuId, metric: str, since_s: float, until_s: float) -> list[Bin]:
        """Every bin that the span touches, as fine as it is kept."""
        return rollup.merged(self._columns(gpu_id, metric, since_s, until_s), schema.FINE_S)

    def _columns(self, gpu_id: GpuId, metric: str, since_s: float, until_s: float) -> Columns:
        """What is kept of the span, from all tables; may overlap after a clock was put back."""
        with self._reading() as connection:
            found = connection.execute(
                "SELECT id FROM series WHERE gpu = ? AND metric = ?", (gpu_id, metric)
            ).fetchone()
            if found is None:
                return rollup.joined(())
            (fine_from_s,) = connection.execute("SELECT min(start_s) FROM fine").fetchone()
            fine_s = until_s if fine_from_s is None else max(since_s, fine_from_s)
            try:
                return rollup.joined(
                    [
                        *_blocks(connection, "coarse", found[0], (since_s, min(until_s, fine_s))),
                        *_blocks(connection, "fine", found[0], (fine_s, until_s)),
                        _ticks(connection, found[0], (since_s, until_s)),
                    ]
                )
            except ValueError as error:
                raise HistoryRefused(f"{self._path}: {error}") from error

    def energy(self, since_s: float, until_s: float) -> dict[GpuId, Energy]:
        """What each GPU took in the whole hours that the span touches."""
        with self._reading() as connection:
            rows = connection.execute(
                "SELECT gpu, sum(joules), sum(measured_s) FROM energy"
                " WHERE start_s > ? - 3600 AND start_s < ? GROUP BY gpu ORDER BY gpu",
                (since_s, until_s),
            )
            return {gpu: Energy(joules, measured_s) for gpu, joules, measured_s in rows}

    def events(self, since_s: float, until_s: float, most: int = -1) -> list[EventRecord]:
        """What happened from ``since_s`` to before ``until_s``, oldest first.

        Of more than ``most`` the newest; -1 is all.
        """
        with self._reading() as connection:
            rows = connection.execute(
                "SELECT time_ms / 1000.0, gpu, kind, text FROM event"
                " WHERE time_ms >= ? AND time_ms < ? ORDER BY time_ms DESC, rowid DESC LIMIT ?",
                (since_s * 1000, until_s * 1000, most),
            )
            return [EventRecord(*row) for row in rows][::-1]

    def held(self, since_s: float) -> list[HeldMinute]:
        """The ledger's minutes from the one of ``since_s`` on; a day is kept."""
        with self._reading() as connection:
            rows = connection.execute(
                "SELECT start_s, gpu, cause, set_by, seconds FROM held WHERE start_s > ? - 60",
                (since_s,),
            )
            return [HeldMinute(*row) for row in rows]

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        """One state of the database: a roll-up in between would be seen twice or not at all."""
        try:
            self._connection.execute("BEGIN")
            try:
                yield self._connection
            finally:
                self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            raise HistoryRefused(f"{self._path}: the history cannot be read: {error}") from error


_Span = tuple[float, float]


def _blocks(
    connection: sqlite3.Connection, table: str, series: int, span: _Span
) -> Iterator[Columns]:
    since_s, until_s = span
    width_s = schema.FINE_S if table == "fine" else schema.COARSE_S
    block_s = width_s * rollup.BINS_PER_BLOCK
    if since_s >= until_s:
        return
    # Asked for in one SELECT, SQLite would walk the whole table.
    first_s, last_s = (
        connection.execute(f"SELECT {edge}(start_s) FROM {table}").fetchone()[0]  # noqa: S608 - ours
        for edge in ("min", "max")
    )
    if first_s is None:
        return
    begin_s = max(first_s, int(since_s // block_s) * block_s)
    select = f"SELECT bins FROM {table} WHERE start_s = ? AND series = ?"  # noqa: S608 - our names
    for start_s in range(begin_s, min(last_s + 1, ceil(until_s)), block_s):
        row = connection.execute(select, (start_s, series)).fetchone()
        if row is not None:
            bins = rollup.unpacked(row[0], start_s, width_s)
            first = bisect_right(bins.starts_s, since_s - width_s)
            yield bins.between(first, bisect_left(bins.starts_s, until_s))


def _ticks(connection: sqlite3.Connection, series: int, span: _Span) -> Columns:
    """What is not rolled up yet; SQLite cuts the one float out of each row."""
    since_s = floor(span[0] / schema.FINE_S) * schema.FINE_S
    until_s = ceil(span[1] / schema.FINE_S) * schema.FINE_S
    rows = connection.execute(
        "SELECT time_ms / 1000, substr(readings, ?, 4) FROM tick"
        " WHERE time_ms >= ? AND time_ms < ? AND length(readings) >= ?",
        (4 * series + 1, since_s * 1000, until_s * 1000, 4 * series + 4),
    )
    known = [
        (time_s, value) for time_s, raw in rows for value in unpack("<f", raw) if not isnan(value)
    ]
    times_s, values = zip(*known, strict=True) if known else ((), ())
    return Columns(times_s, (1,) * len(values), values, values, values)
