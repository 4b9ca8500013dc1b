"""Rolling up in small steps: ticks of a finished block become bins while new ticks come in.

The thread that writes a tick is the one that reads GPUs, and eight GPUs make a block of half a
million numbers. So a block is loaded, a few series at a time are put into bins, and all of them
are written in the one transaction that deletes their ticks: nothing is counted twice or not at
all, and whoever is killed in between has lost no more than the work.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from itertools import repeat
from math import nan
from struct import pack, unpack_from
from typing import NamedTuple

from gpupanel.sampling import rollup, schema
from gpupanel.sampling.rollup import Bin, Edge

SERIES_A_STEP = 2
"""Of a block of 600 ticks: half a millisecond."""

SPAN_S = schema.FINE_S * rollup.BINS_PER_BLOCK
"""Of a block of fine bins: what lies in ``tick`` is at least the block that is being filled."""

_NAN = pack("<f", nan)

_Row = tuple[int, int, bytes]
"""A block's start, a series, and its bins."""


class _Block(NamedTuple):
    """The ticks of one block.

    Attributes:
        last: The greatest rowid among them: a clock that was put back may add more meanwhile.
        readings: As in the table, all of the same length.
    """

    start_s: int
    last: int
    edges: list[Edge]
    readings: list[bytes]


def steps(connection: sqlite3.Connection, until_s: int) -> Iterator[bool]:
    """Roll up every block before ``until_s``, then forget what is too old.

    Yields:
        True after each step, of a millisecond at most; no transaction is open then.

    Raises:
        sqlite3.Error: The disk refused; what was not committed is still there as ticks.
        ValueError: What was there is damaged.
    """
    while block := _loaded(connection, until_s):
        yield True
        rows: dict[str, list[_Row]] = {"fine": [], "coarse": []}
        for first in range(0, len(block.readings[0]) // 4, SERIES_A_STEP):
            _bin(connection, block, first, rows)
            yield True
        _move(connection, block, rows)
        yield True
    yield from _forget(connection, until_s)


def _loaded(connection: sqlite3.Connection, until_s: int) -> _Block | None:
    """The oldest block that is over."""
    (oldest_ms,) = connection.execute(
        "SELECT min(time_ms) FROM tick WHERE time_ms < ?", (until_s * 1000,)
    ).fetchone()
    if oldest_ms is None:
        return None
    start_s = oldest_ms // (SPAN_S * 1000) * SPAN_S
    rows = connection.execute(
        "SELECT rowid, time_ms / 1000.0, readings FROM tick"
        " WHERE time_ms >= ? AND time_ms < ? ORDER BY time_ms",
        (start_s * 1000, (start_s + SPAN_S) * 1000),
    ).fetchall()
    numbers, times_s, readings = (list(column) for column in zip(*rows, strict=True))
    # A series that is new has no place in older ticks.
    width = max(map(len, readings))
    readings = [raw + _NAN * ((width - len(raw)) // 4) for raw in readings]
    return _Block(start_s, max(numbers), rollup.edges(times_s, schema.FINE_S), readings)


def _bin(
    connection: sqlite3.Connection, block: _Block, first: int, rows: dict[str, list[_Row]]
) -> None:
    """Put the series from ``first`` on into bins, as rows to write."""
    count = min(SERIES_A_STEP, len(block.readings[0]) // 4 - first)
    values = map(unpack_from, repeat(f"<{count}f"), block.readings, repeat(4 * first))
    columns = zip(*values, strict=True)
    for series, bins in enumerate(rollup.binned(block.edges, columns), first):
        if bins:
            rows["fine"].append(_folded(connection, "fine", series, bins))
            minutes = rollup.combined(bins, schema.COARSE_S)
            rows["coarse"].append(_folded(connection, "coarse", series, minutes))


def _folded(connection: sqlite3.Connection, table: str, series: int, bins: list[Bin]) -> _Row:
    """``bins`` of one block and what is there of it: an hour is filled in six blocks.

    Raises:
        ValueError: What is there is damaged.
    """
    width_s = schema.FINE_S if table == "fine" else schema.COARSE_S
    span_s = width_s * rollup.BINS_PER_BLOCK
    start_s = bins[0].start_s // span_s * span_s
    select = f"SELECT bins FROM {table} WHERE start_s = ? AND series = ?"  # noqa: S608 - our names
    there = connection.execute(select, (start_s, series)).fetchone()
    if there is not None:
        kept = rollup.unpacked(there[0], start_s, width_s)
        bins = rollup.combined([*map(Bin._make, zip(*kept, strict=True)), *bins], width_s)
    return start_s, series, rollup.packed(bins, start_s, width_s)


def _move(connection: sqlite3.Connection, block: _Block, rows: dict[str, list[_Row]]) -> None:
    """From ticks to bins, in one transaction."""
    with schema.transaction(connection):
        for table, of_table in rows.items():
            insert = f"INSERT OR REPLACE INTO {table} VALUES (?, ?, ?)"  # noqa: S608 - our names
            connection.executemany(insert, of_table)
        connection.execute(
            "DELETE FROM tick WHERE rowid <= ? AND time_ms >= ? AND time_ms < ?",
            (block.last, block.start_s * 1000, (block.start_s + SPAN_S) * 1000),
        )


def _forget(connection: sqlite3.Connection, now_s: int) -> Iterator[bool]:
    """A block at a time: after a month away there are thousands."""
    oldest_s = now_s - schema.COARSE_KEPT_S
    for table, kept_from_s in (("fine", now_s - schema.FINE_KEPT_S), ("coarse", oldest_s)):
        select = f"SELECT min(start_s) FROM {table}"  # noqa: S608 - our names
        delete = f"DELETE FROM {table} WHERE start_s = ?"  # noqa: S608 - our names
        while (start_s := connection.execute(select).fetchone()[0]) is not None:
            if start_s >= kept_from_s:
                break
            connection.execute(delete, (start_s,))
            yield True
    connection.execute("DELETE FROM held WHERE start_s < ?", (now_s - schema.FINE_KEPT_S,))
    connection.execute("DELETE FROM energy WHERE start_s < ?", (oldest_s,))
    connection.execute("DELETE FROM event WHERE time_ms < ?", (oldest_s * 1000,))
