"""Rolling up in steps: whatever happens between two of them, nothing is lost or counted twice."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from struct import pack

import pytest

from gpupanel.sampling import rolling, schema
from gpupanel.sampling.recall import Recall
from gpupanel.sampling.rollup import Bin
from gpupanel.sampling.store import Store
from tests.sampling.test_store import KEY, START_S, remember, snapshot

SERIES = 7
SPAN_S = rolling.SPAN_S


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    with closing(schema.open_to_write(tmp_path / "h.db")) as opened:
        opened.executemany(
            "INSERT INTO series VALUES (?, ?, ?)", [(n, f"GPU-{n}", KEY) for n in range(SERIES)]
        )
        yield opened


def tick(connection: sqlite3.Connection, second: int, count: int = SERIES) -> None:
    row = pack(f"<{count}f", *(float(100 * n + second % 10) for n in range(count)))
    connection.execute("INSERT INTO tick VALUES (?, ?)", ((START_S + second) * 1000, row))


def remembered(path: Path, gpu: int) -> list[Bin]:
    with Recall(path) as recall:
        return recall.bins(f"GPU-{gpu}", KEY, START_S, START_S + 10 * SPAN_S)


def left(connection: sqlite3.Connection) -> int:
    count: int = connection.execute("SELECT count(*) FROM tick").fetchone()[0]
    return count


def test_a_reader_sees_the_same_after_every_step(
    connection: sqlite3.Connection, tmp_path: Path
) -> None:
    for second in range(2 * SPAN_S + 30):
        tick(connection, second, 3 if second < 100 else SERIES)  # the others came later
    before = [remembered(tmp_path / "h.db", gpu) for gpu in range(SERIES)]
    assert sum(one.readings for one in before[0]) == 2 * SPAN_S + 30
    assert sum(one.readings for one in before[6]) == 2 * SPAN_S - 70
    steps = 0
    for _ in rolling.steps(connection, START_S + 2 * SPAN_S):
        steps += 1
        assert not connection.in_transaction
        assert [remembered(tmp_path / "h.db", gpu) for gpu in range(SERIES)] == before
    assert steps == 2 * (1 + 4 + 1), "load, two series at a time, move"
    assert left(connection) == 30


@pytest.mark.parametrize("steps", range(1, 7))
def test_who_is_stopped_after_any_step_goes_on_from_the_ticks(
    connection: sqlite3.Connection, tmp_path: Path, steps: int
) -> None:
    for second in range(SPAN_S + 1):
        tick(connection, second)
    before = remembered(tmp_path / "h.db", 6)
    broken_off = rolling.steps(connection, START_S + SPAN_S)
    for _ in range(steps):
        next(broken_off)
    list(rolling.steps(connection, START_S + SPAN_S))
    assert remembered(tmp_path / "h.db", 6) == before
    assert left(connection) == 1


def test_a_tick_that_comes_late_is_added_and_not_deleted(
    connection: sqlite3.Connection, tmp_path: Path
) -> None:
    for second in range(SPAN_S + 1):
        tick(connection, second)
    rolled = rolling.steps(connection, START_S + SPAN_S)
    next(rolled)
    tick(connection, 5)  # the clock was put back while the block was being rolled up
    list(rolled)
    assert left(connection) == 1, "a second look found it"
    assert remembered(tmp_path / "h.db", 0)[0].readings == 11


def test_after_a_month_away_it_forgets_a_block_at_a_time(tmp_path: Path) -> None:
    hour_s, month_s = 3600, 30 * 86400
    remember(tmp_path / "h.db", [(float(n), 1.0) for n in range(0, 30 * hour_s, 60)])
    store = Store(tmp_path / "h.db")
    for n in range(3):
        store.append(snapshot(month_s + SPAN_S * n, 2.0))
    store.close()
    with closing(sqlite3.connect(tmp_path / "h.db")) as connection:
        oldest_s = connection.execute("SELECT min(start_s) FROM fine").fetchone()[0]
        (minutes,) = connection.execute("SELECT count(*) FROM coarse").fetchone()
    assert oldest_s == START_S + month_s
    assert minutes >= 30, "of two series, an hour each"


def test_the_log_is_written_back_and_starts_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schema, "_LOG_BYTES", 100_000)
    path = tmp_path / "h.db"
    store = Store(path)
    for n in range(3000):
        store.append(snapshot(n, 1.0, gpu=f"GPU-{n % 20}"))
        store._checkpoint.join()
    assert store.problem == ""
    assert (tmp_path / "h.db-wal").stat().st_size < 200_000, "it was 3 MB else"
    assert path.stat().st_size > 50_000
    store.close()
    assert sum(one.readings for one in recalled_of(path)) == 150


def recalled_of(path: Path) -> list[Bin]:
    with Recall(path) as recall:
        return recall.bins("GPU-7", KEY, START_S, START_S + 10 * SPAN_S)
