"""Exports, read back with the csv and json modules."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpupanel.model.event import EventRecord
from gpupanel.model.gpu import Sample, Snapshot, Unavailable
from gpupanel.sampling.export import Selection, utc_text, write_csv, write_json
from gpupanel.sampling.recall import Recall
from gpupanel.sampling.rollup import Bin
from gpupanel.sampling.store import Store

START_S = 1_800_000_000
KEYS = ("power_draw_w", "performance_state")
ALL = Selection(START_S, START_S + 7200, ("GPU-1", 'GPU "2", odd'), KEYS)


@pytest.fixture
def recall(tmp_path: Path) -> Iterator[Recall]:
    """Two GPUs for 4000 s; the second has no performance state, and is asleep at first."""
    store = Store(tmp_path / "h.db")
    for second in range(4000):
        asleep = Unavailable("asleep")
        samples = (
            Sample("GPU-1", {"power_draw_w": second % 7 + 0.1, "performance_state": 2.0}),
            Sample(ALL.gpus[1], {"power_draw_w": asleep if second < 3700 else 50.0}),
        )
        store.append(Snapshot(START_S + second, float(second), samples))
    store.add_event(EventRecord(START_S + 5.25, "GPU-1", "xid", "Xid 13"))
    store.close()
    with Recall(tmp_path / "h.db") as opened:
        yield opened


def test_csv_has_units_utc_and_empty_cells_for_gaps(recall: Recall) -> None:
    file = io.StringIO()
    write_csv(recall, ALL, file)
    head, *rows = csv.reader(io.StringIO(file.getvalue()))
    assert head == [
        "time_utc", "gpu",
        "power_draw_w [W] low", "power_draw_w [W] mean", "power_draw_w [W] high",
        "performance_state low", "performance_state mean", "performance_state high",
    ]  # fmt: skip
    assert rows[0][:3] == ["2027-01-15T08:00:00Z", "GPU-1", "0.1"]
    assert float(rows[0][3]) == pytest.approx(sum(n % 7 + 0.1 for n in range(10)) / 10)
    assert rows[0][4:] == ["6.1", "2.0", "2.0", "2.0"]
    of_second = [row for row in rows if row[1] == ALL.gpus[1]]
    assert len(of_second) == 30
    assert of_second[0] == ["2027-01-15T09:01:40Z", ALL.gpus[1], *["50.0"] * 3, "", "", ""]
    times = [datetime.fromisoformat(row[0]).timestamp() for row in rows]
    assert times == sorted(times)
    assert len(rows) == 400 + 30


def test_json_says_the_same_and_has_the_events(recall: Recall) -> None:
    file = io.StringIO()
    write_json(recall, ALL, file)
    document = json.loads(file.getvalue())
    assert document["units"] == {"power_draw_w": "W", "performance_state": ""}
    assert document["events"] == [
        {"time_utc": "2027-01-15T08:00:05.250Z", "gpu": "GPU-1", "kind": "xid", "text": "Xid 13"}
    ]
    assert len(document["readings"]) == 430
    assert document["readings"][-1] == {
        "time_utc": "2027-01-15T09:06:30Z",
        "gpu": ALL.gpus[1],
        "metrics": {"power_draw_w": {"low": 50.0, "mean": 50.0, "high": 50.0}},
    }
    table = io.StringIO()
    write_csv(recall, ALL, table)
    lows = [
        float(row["power_draw_w [W] low"]) for row in csv.DictReader(io.StringIO(table.getvalue()))
    ]
    assert lows == [entry["metrics"]["power_draw_w"]["low"] for entry in document["readings"]]


def test_a_range_without_readings_is_an_empty_document(recall: Recall) -> None:
    nothing = ALL._replace(since_s=START_S - 500, until_s=START_S)
    table, document = io.StringIO(), io.StringIO()
    write_csv(recall, nothing, table)
    write_json(recall, nothing, document)
    assert len(table.getvalue().splitlines()) == 1
    assert json.loads(document.getvalue())["readings"] == []


@given(st.integers(0, 400), st.integers(1, 400))
def test_only_what_the_range_touches(since: int, length: int) -> None:
    class Ruler:
        """A bin each ten seconds, as Recall gives them."""

        def bins(self, gpu: str, metric: str, since_s: float, until_s: float) -> list[Bin]:
            del gpu, metric
            first = int(since_s // 10) * 10
            return [Bin(t, 1, 1.0, 1.0, 1.0) for t in range(first, int(-(-until_s // 1)), 10)]

        def events(self, since_s: float, until_s: float) -> list[EventRecord]:
            del since_s, until_s
            return []

    begin, end = since * 60, (since + length) * 60
    file = io.StringIO()
    write_csv(Ruler(), Selection(begin, end, ("GPU-1",), KEYS[:1]), file)
    times = [line[:20] for line in file.getvalue().splitlines()[1:]]
    assert times == [utc_text(t) for t in range(begin, end, 10)]
