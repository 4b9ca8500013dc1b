"""The long memory: against a model, against kill -9, against disks that refuse."""

from __future__ import annotations

import os
import random
import sqlite3
import struct
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from math import fsum
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpupanel.model.errors import HistoryRefused
from gpupanel.model.event import EventRecord
from gpupanel.model.gpu import Reading, Sample, Snapshot, Unavailable
from gpupanel.sampling import schema
from gpupanel.sampling.ledger import HeldMinute
from gpupanel.sampling.recall import Recall, Remembered
from gpupanel.sampling.rollup import Bin
from gpupanel.sampling.store import Store

ROOT = Path(__file__).parents[2]
GPU, KEY = "GPU-1", "power_draw_w"
START_S = 1_800_000_000
DAY_S = 86400
UNKNOWN = Unavailable("asleep")

Reads = Sequence[tuple[float, Reading]]


def snapshot(time_s: float, reading: Reading, gpu: str = GPU) -> Snapshot:
    sample = Sample(gpu, {KEY: reading, "power_limit_w": 250.0})
    return Snapshot(START_S + time_s, time_s, (sample,))


def remember(path: Path, reads: Reads) -> None:
    store = Store(path)
    for time_s, reading in reads:
        store.append(snapshot(time_s, reading))
    assert store.problem == ""
    store.close()
    assert store.problem == ""


def recalled(path: Path, since_s: float = 0, until_s: float = 90 * DAY_S) -> list[Bin]:
    with Recall(path) as recall:
        return recall.bins(GPU, KEY, START_S + since_s, START_S + until_s)


def single(value: float) -> float:
    packed: float = struct.unpack("f", struct.pack("f", value))[0]
    return packed


def modelled(reads: Reads, width_s: int) -> list[Bin]:
    by_bin: dict[int, list[float]] = defaultdict(list)
    for time_s, reading in reads:
        if not isinstance(reading, Unavailable):
            start_s = round((START_S + time_s) * 1000) // 1000 // width_s * width_s
            by_bin[start_s].append(single(reading))
    return [
        Bin(start_s, len(values), min(values), fsum(values) / len(values), max(values))
        for start_s, values in sorted(by_bin.items())
    ]


def assert_same(found: list[Bin], expected: list[Bin]) -> None:
    assert [one._replace(mean=0) for one in found] == [one._replace(mean=0) for one in expected]
    for mine, theirs in zip(found, expected, strict=True):
        assert mine.mean == pytest.approx(theirs.mean, rel=1e-6)


steps_s = st.one_of(st.just(1.0), st.floats(0.05, 12), st.sampled_from([61.0, 600.0, 1500.0]))
readings = st.floats(0, 2000) | st.just(UNKNOWN)


@given(st.lists(st.tuples(steps_s, readings), min_size=1, max_size=50), st.booleans())
@settings(max_examples=60, deadline=None)
def test_it_agrees_with_a_model_that_keeps_everything(
    drawn: list[tuple[float, Reading]], reopen: bool
) -> None:
    reads: list[tuple[float, Reading]] = []
    time_s = 0.0
    for step_s, reading in drawn:
        time_s += step_s
        reads.append((time_s, reading))
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "history.db")
        half = len(reads) // 2 if reopen else 0
        remember(path, reads[:half] or reads[:1])
        remember(path, reads[half:] if half else reads[1:] or [(time_s + 1, UNKNOWN)])
        assert_same(recalled(path), modelled(reads, 10))


def test_what_is_older_than_a_day_comes_in_minutes(tmp_path: Path) -> None:
    reads = [(20.0 * n, float(n * 37 % 400)) for n in range(27 * 180)]
    remember(tmp_path / "h.db", reads)
    found = recalled(tmp_path / "h.db")
    edge_s = START_S + 27 * 3600 - 600 - schema.FINE_KEPT_S
    assert_same([b for b in found if b.start_s < edge_s], [
        b for b in modelled(reads, 60) if b.start_s < edge_s
    ])  # fmt: skip
    assert_same([b for b in found if b.start_s >= edge_s], [
        b for b in modelled(reads, 10) if b.start_s >= edge_s
    ])  # fmt: skip
    assert {b.readings for b in found if b.start_s < edge_s} == {3}


def test_after_ninety_days_it_is_forgotten(tmp_path: Path) -> None:
    hours = 92 * 24
    remember(tmp_path / "h.db", [(3600.0 * n, 5.0) for n in range(hours)])
    found = recalled(tmp_path / "h.db", until_s=99 * DAY_S)
    oldest_days = (START_S + (hours - 1) * 3600 - found[0].start_s) / DAY_S
    assert 89.9 <= oldest_days <= 90.1


def test_a_chart_has_as_many_points_as_it_asked_for(tmp_path: Path) -> None:
    reads = [(float(n), 400.0 if n == 1234 else 10.0) for n in range(4000)]
    remember(tmp_path / "h.db", reads)
    with Recall(tmp_path / "h.db") as recall:
        points = recall.series(GPU, KEY, START_S, START_S + 4000, 100)
        assert recall.series(GPU, "voltage_mv", START_S, START_S + 4000, 100) == []
        assert recall.names() == [(GPU, KEY)], "limits are shown, not remembered"
    assert len(points) == 100
    (spike,) = [point for point in points if point.high == 400]
    assert spike == Remembered(START_S + 1200, 10.0, 10 + 390 / 40, 400.0)


def test_gaps_are_absent(tmp_path: Path) -> None:
    reads = [(float(n), 5.0 if n < 100 or n > 2000 else UNKNOWN) for n in range(2100)]
    remember(tmp_path / "h.db", reads)
    times = {one.start_s - START_S for one in recalled(tmp_path / "h.db")}
    assert times == {*range(0, 100, 10), *range(2000, 2100, 10)}


def test_a_reader_sees_what_is_written_while_it_is_written(tmp_path: Path) -> None:
    store = Store(tmp_path / "h.db")
    store.append(snapshot(0.0, 1.0))
    store.append(snapshot(1.0, 2.0))
    with Recall(tmp_path / "h.db") as recall:
        span = START_S, START_S + 60
        assert recall.bins(GPU, KEY, *span) == [Bin(START_S, 2, 1.0, 1.5, 2.0)]
        store.append(snapshot(2.0, 6.0))
        assert recall.bins(GPU, KEY, *span)[0].readings == 2, "it waits for its second"
        store.append(snapshot(3.0, 6.0))
        assert recall.bins(GPU, KEY, *span)[0].readings == 4
        assert recall.span_s() == (START_S, START_S + 3)
    store.close()


def test_a_clock_that_was_put_back_adds_to_what_is_there(tmp_path: Path) -> None:
    store = Store(tmp_path / "h.db")
    for n, wall_s in enumerate([*range(1300), *range(300, 1300)]):
        store.append(Snapshot(START_S + wall_s, float(n), (Sample(GPU, {KEY: float(n)}),)))
    store.close()
    found = recalled(tmp_path / "h.db")
    assert sum(one.readings for one in found) == 2300
    assert found[40] == Bin(START_S + 400, 20, 400.0, 904.5, 1409.0)


def test_energy_and_events_are_kept_by_their_hour_and_time(tmp_path: Path) -> None:
    store = Store(tmp_path / "h.db")
    for second in range(7201):
        store.append(snapshot(float(second), 1000.0 if second <= 3600 else 500.0))
    event = EventRecord(START_S + 12.5, GPU, "xid", "Xid 79: the GPU fell off the bus")
    other = EventRecord(START_S + 13, None, "driver", "loaded again")
    store.add_event(event)
    with Recall(tmp_path / "h.db") as recall:
        assert recall.events(START_S, START_S + 60) == [event], "at once, without a tick"
        store.add_event(other)
        assert recall.events(START_S, START_S + 60) == [event, other]
        assert recall.events(START_S + 13, START_S + 60) == [other]
        assert EventRecord.from_json(event.as_json()) == event
        store.close()
        both = recall.energy(START_S, START_S + 7200)[GPU]
        second_hour = recall.energy(START_S + 3600, START_S + 7200)[GPU]
    assert both.kwh == pytest.approx(1.5, rel=1e-3)
    assert both.measured_s == pytest.approx(7200, abs=1)
    assert second_hour.kwh == pytest.approx(0.5, rel=1e-3)


def test_one_process_writes_and_the_next_takes_over(tmp_path: Path) -> None:
    first, second = Store(tmp_path / "h.db"), Store(tmp_path / "h.db")
    for time_s in (0.0, 1.0):
        first.append(snapshot(time_s, 1.0))
        second.append(snapshot(time_s, 1.0))
    assert first.problem == ""
    assert second.problem == f"{tmp_path / 'h.db'}: another gpupanel writes the history"
    first.close()
    for time_s in range(2, 14):
        second.append(snapshot(float(time_s), 1.0))
    assert second.problem == ""
    second.close()


def test_a_newer_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "h.db"
    remember(path, [(0.0, 1.0)])
    with sqlite3.connect(path) as connection:
        connection.execute(f"PRAGMA user_version = {schema.SCHEMA_VERSION + 1}")
    connection.close()
    before = path.read_bytes()
    store = Store(path)
    for time_s in range(30):
        store.append(snapshot(float(time_s), 1.0))
    store.close()
    assert "newer gpupanel" in store.problem
    assert path.read_bytes() == before
    with pytest.raises(HistoryRefused, match="newer gpupanel"):
        Recall(path)


def test_another_programs_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "h.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    connection.close()
    store = Store(path)
    store.add_event(EventRecord(0, None, "driver", "text"))
    assert "another program" in store.problem
    store.close()
    with sqlite3.connect(path) as connection:
        names = connection.execute("SELECT name FROM sqlite_schema").fetchall()
    connection.close()
    assert names == [("theirs",)]


@pytest.mark.parametrize("damage", ["text", "truncated", "middle"])
def test_a_damaged_database_is_kept_under_another_name(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "h.db"
    remember(path, [(float(n), 1.0) for n in range(2000)])
    raw = path.read_bytes()
    broken = {
        "text": b"this was never a database" * 400,
        "truncated": raw[: len(raw) // 2],
        "middle": raw[:4096] + b"\xa5" * (len(raw) - 4096),
    }[damage]
    path.write_bytes(broken)
    store = Store(path)
    for n in range(2000, 2010):
        store.append(snapshot(float(n), 7.0))
    store.close()
    assert store.problem == ""
    (aside,) = [p for p in tmp_path.glob("h.db.damaged-*") if not p.name.endswith(("-wal", "-shm"))]
    assert aside.read_bytes() == broken
    with Recall(path) as recall:
        (event,) = recall.events(0, START_S + DAY_S)
        assert sum(b.readings for b in recall.bins(GPU, KEY, START_S, START_S + DAY_S)) == 10
    assert event.kind == "history"
    assert aside.name in event.text


def test_a_place_that_cannot_be_written_is_a_reason(tmp_path: Path) -> None:
    blocker = tmp_path / "file"
    blocker.write_text("in the way")
    store = Store(blocker / "sub" / "h.db")
    for n in range(5000):
        store.append(snapshot(float(n), 1.0))
    assert "file" in store.problem
    blocker.unlink()
    for n in range(5000, 5012):
        store.append(snapshot(float(n), 1.0))
    assert store.problem == ""
    store.close()
    found = recalled(blocker / "sub" / "h.db")
    assert 600 <= sum(one.readings for one in found) <= 612, "what waited is not lost"


FULL_DISK = """
import resource, sys
sys.path.insert(0, sys.argv[2])
from pathlib import Path
from tests.sampling.test_store import snapshot
from gpupanel.sampling.store import Store
store = Store(Path(sys.argv[1]))
resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, resource.RLIM_INFINITY))
for n in range(1500):
    store.append(snapshot(float(n), 1.0, gpu=f"GPU-{n % 50}"))
print(store.problem, flush=True)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
for n in range(1500, 1530):
    store.append(snapshot(float(n), 1.0))
print(store.problem, flush=True)
store.close()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="limits of a file's size are POSIX")
def test_a_full_disk_is_a_reason_and_what_fits_later_is_written(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path / "h.db"), str(ROOT)],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    full, later = done.stdout.split("\n")[:2]
    assert "the history cannot be written" in full
    assert later == ""
    assert integrity(tmp_path / "h.db") == "ok"
    assert sum(one.readings for one in recalled(tmp_path / "h.db", 1500)) == 30


WRITER = """
import os, sys
sys.path.insert(0, sys.argv[2])
from pathlib import Path
from tests.sampling.test_store import snapshot
from gpupanel.sampling.store import Store
store = Store(Path(sys.argv[1]))
n = int(sys.argv[3])
while True:
    store.append(snapshot(n / 4, float(n % 400)))
    if store.problem:
        sys.exit(store.problem)
    os.write(1, b"%d\\n" % n)
    n += 1
"""
"""A clock that runs as fast as the disk allows: a tick each quarter of a second of it."""


def integrity(path: Path) -> str:
    connection = sqlite3.connect(path)
    try:
        found: str = connection.execute("PRAGMA integrity_check").fetchone()[0]
    finally:
        connection.close()
    return found


def killed_while_writing(path: Path, first: int, after_s: float) -> int:
    """The number of the last tick that was handed over before SIGKILL."""
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), str(ROOT), str(first)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, pipesize=1 << 20,
    )  # fmt: skip
    assert writer.stdout is not None
    ready = os.read(writer.stdout.fileno(), 1 << 16)
    time.sleep(after_s)  # the moment of the kill is what varies
    writer.kill()
    rest, errors = writer.communicate(timeout=10)
    assert (errors, writer.returncode) == (b"", -9)
    return int((ready + rest).split(b"\n")[-2])


def assert_survives(path: Path, kills: int) -> None:
    rng = random.Random(7)
    first = 0
    for _ in range(kills):
        last = killed_while_writing(path, first, rng.uniform(0, 0.1))
        assert integrity(path) == "ok"
        found = recalled(path, first / 4, last / 4 + 10)
        newest_s = START_S + first / 4
        if found:  # else it was killed before its first commit
            assert found[0].start_s == newest_s
            newest_s = found[-1].start_s + (found[-1].readings - 1) / 4
        assert START_S + last / 4 - newest_s <= 2.0
        assert all(one.readings == 40 for one in found[:-1]), "nothing twice, nothing left out"
        # Begin with a bin of its own, so that what was lost before is not mixed in.
        first = (last // 40 + 2) * 40


@pytest.mark.skipif(sys.platform == "win32", reason="kill -9 is POSIX")
def test_kill_minus_nine_loses_two_seconds_at_most(tmp_path: Path) -> None:
    assert_survives(tmp_path / "h.db", 10)


@pytest.mark.long
@pytest.mark.skipif(sys.platform == "win32", reason="kill -9 is POSIX")
def test_kill_minus_nine_fifty_times(tmp_path: Path) -> None:
    assert_survives(tmp_path / "h.db", 50)


def minute(place: int, cause: str, seconds: float) -> HeldMinute:
    return HeldMinute(START_S + 60 * place, GPU, cause, "", seconds)


def test_the_ledgers_minutes_add_up_and_a_day_of_them_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "h.db"
    store = Store(path)
    store.append(snapshot(0.0, 1.0), [minute(0, "", 40.0), minute(0, "thermal", 7.0)])
    store.append(snapshot(2.0, 1.0), [minute(0, "", 20.0)])
    store.close([minute(1, "", 5.0)])
    with Recall(path) as recall:
        assert sorted(recall.held(START_S)) == [
            minute(0, "", 60.0), minute(0, "thermal", 7.0), minute(1, "", 5.0),
        ]  # fmt: skip
        assert recall.held(START_S + 60) == [minute(1, "", 5.0)]
    late = Store(path)
    for time_s in (26 * 3600.0, 26 * 3600 + 2.0):
        late.append(snapshot(time_s, 1.0))
    late.close()
    with Recall(path) as recall:
        assert recall.held(0) == []


def test_a_database_of_the_first_version_learns_the_ledger(tmp_path: Path) -> None:
    path = tmp_path / "h.db"
    remember(path, [(0.0, 1.0)])
    with sqlite3.connect(path) as connection:
        connection.executescript("DROP TABLE held; PRAGMA user_version = 1;")
    connection.close()
    with Recall(path) as recall, pytest.raises(HistoryRefused, match="no such table"):
        recall.held(0)
    store = Store(path)
    store.append(snapshot(10.0, 2.0), [minute(0, "", 1.0)])
    store.close()
    assert store.problem == ""
    with Recall(path) as recall:
        assert recall.held(0) == [minute(0, "", 1.0)]
    assert sum(one.readings for one in recalled(path)) == 2


def test_of_many_events_the_newest_are_told(tmp_path: Path) -> None:
    path = tmp_path / "h.db"
    store = Store(path)
    for number in range(5):
        store.add_event(EventRecord(START_S + number, GPU, "clock", str(number)))
    store.close()
    with Recall(path) as recall:
        assert [one.text for one in recall.events(0, 2 * START_S, 2)] == ["3", "4"]


def test_points_are_as_wide_as_what_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "h.db"
    remember(path, [(float(n), 1.0) for n in (0, 1, 40 * 3600, 40 * 3600 + 2)])
    with Recall(path) as recall:
        end_s = START_S + 40 * 3600
        assert recall.width_s(end_s - 3600, end_s, 1000) == 10
        assert recall.width_s(end_s - 86400, end_s, 1000) == 90
        assert recall.width_s(START_S, START_S + 3600, 1000) == 60
        assert [one.time_unix_s for one in recall.series(GPU, KEY, START_S, START_S + 60, 9)] == [
            START_S
        ]
