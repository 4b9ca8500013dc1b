"""What an agent answers of its memory: bounded, of the whole past, also of before a restart."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from gpupanel.backends.registry import Opened
from gpupanel.backends.replay import ReplayBackend
from gpupanel.ipc import protocol
from gpupanel.ipc.protocol import ErrorCode
from gpupanel.model.event import EventRecord
from gpupanel.model.gpu import CPU_ID, GpuInfo, GpuKind, Sample, Snapshot
from gpupanel.sampling.ledger import HeldMinute
from gpupanel.sampling.recall import Recall
from gpupanel.sampling.recording import RecordingWriter
from gpupanel.sampling.store import Store
from gpupanel.service.memory import MOST_EVENTS, MOST_POINTS, Memory
from tests.service.test_daemon import Caller, running

KEY = "power_draw_w"
NOW_S = 1_800_003_600.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """An hour of 100 W, one reading each 2 s, with a gap of ten minutes in the middle."""
    path = tmp_path / "history.db"
    store = Store(path)
    for time_s in range(0, 3600, 2):
        if not 1500 <= time_s < 2100:
            sample = Sample(CPU_ID, {KEY: 100.0})
            store.append(Snapshot(NOW_S - 3600 + time_s, float(time_s), (sample,)))
    for number in range(MOST_EVENTS + 5):
        store.add_event(EventRecord(NOW_S - 1000 + number, CPU_ID, "clock", str(number)))
    store.close()
    return path


def ask(path: Path | None, method: str, **params: Any) -> Any:
    return Memory(path).methods[method](params)


def span(seconds: float) -> dict[str, float]:
    return {"since_unix_s": NOW_S - seconds, "until_unix_s": NOW_S}


def test_what_is_remembered_is_listed(path: Path) -> None:
    told = ask(path, "remembered")
    assert told["gpus"] == {CPU_ID: [KEY]}
    assert told["since_unix_s"] <= NOW_S - 3600
    assert told["until_unix_s"] >= NOW_S - 2


def test_a_gap_has_no_points(path: Path) -> None:
    told = ask(path, "series", gpu=CPU_ID, metric=KEY, points=MOST_POINTS, **span(3600))
    starts_s = [point[0] - (NOW_S - 3600) for point in told["points"]]
    assert told["width_s"] == 10
    assert {tuple(point[1:]) for point in told["points"]} == {(100.0, 100.0, 100.0)}
    assert [one for one in starts_s if 1500 <= one < 2100] == []
    assert len(starts_s) == 300


@pytest.mark.parametrize("seconds", [3600, 86400, 7 * 86400, 90 * 86400])
@pytest.mark.parametrize("points", [1, 360, MOST_POINTS])
def test_answers_are_bounded(path: Path, seconds: float, points: int) -> None:
    told = ask(path, "series", gpu=CPU_ID, metric=KEY, points=points, **span(seconds))
    assert 0 < len(told["points"]) <= points + 1
    line = protocol.encode(protocol.result(1, told))
    assert len(line) < 100_000


def test_of_many_events_the_newest_come_and_that_is_told(path: Path) -> None:
    told = ask(path, "events", **span(3600))
    assert len(told["events"]) == MOST_EVENTS
    assert told["events"][-1]["text"] == str(MOST_EVENTS + 4)
    assert told["complete"] is False
    assert ask(path, "events", **span(600))["complete"] is True


def test_energy_is_of_whole_hours(path: Path) -> None:
    told = ask(path, "energy", **span(1800))
    assert told["since_unix_s"] == (NOW_S - 1800) // 3600 * 3600
    energy = told["gpus"][CPU_ID]
    assert energy["joules"] == pytest.approx(100 * energy["measured_s"])
    assert energy["measured_s"] == pytest.approx(3600 - 600 - 4)


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("series", {"gpu": "x", "metric": KEY, "points": 0, **span(10)}),
        ("series", {"gpu": "x", "metric": KEY, "points": MOST_POINTS + 1, **span(10)}),
        ("events", {"since_unix_s": 10.0, "until_unix_s": 10.0}),
        ("events", {"since_unix_s": -1.0, "until_unix_s": 10.0}),
        ("energy", {"since_unix_s": 0.0, "until_unix_s": 1e12}),
        ("energy", {"since_unix_s": float("nan"), "until_unix_s": 1.0}),
    ],
)
def test_questions_out_of_bounds_are_refused(
    path: Path, method: str, params: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match=r"is (1 to|before)"):
        ask(path, method, **params)


def test_an_agent_without_a_history_says_so(tmp_path: Path) -> None:
    with running(tmp_path, None) as caller:
        caller._writer.write(protocol.encode(protocol.request(1, "remembered", {})))
        error = caller.read()["error"]
    assert error == {"code": ErrorCode.NO_HISTORY, "message": "this agent writes no history"}


def held(caller: Caller) -> dict[str, Any]:
    caller.ask("subscribe", topic="snapshots", interval_s=1.0)
    caller.wait_for("snapshot")
    accounts: dict[str, Any] = caller.ask("limits")["limits"][CPU_ID]
    return accounts


def test_the_last_day_is_still_known_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    now_s = int(time.time() // 60 * 60)
    kept = [
        row
        for back in (2, 90, 600, 1500)
        for row in (
            HeldMinute(now_s - 60 * back, CPU_ID, "", "", 60.0),
            HeldMinute(now_s - 60 * back, CPU_ID, "power_cap", "lowered from 450 W", 45.0),
        )
    ]
    first = Store(path)
    first.append(Snapshot(time.time(), 1.0, ()), kept)
    first.close()
    with running(tmp_path, Store(path)) as caller:
        accounts = held(caller)
    assert [accounts[name]["watched_s"] for name in ("hour", "day")] == [60.0, 180.0]
    (cause,) = accounts["day"]["held"]
    assert cause == {"limit": "power_cap", "set_by": "lowered from 450 W", "share": 0.75}


def test_what_held_a_card_until_the_end_is_kept(tmp_path: Path) -> None:
    gpu = GpuInfo("GPU-1", "Card", "nvidia", GpuKind.GPU, "nvml")
    recording, path = tmp_path / "recording.jsonl", tmp_path / "history.db"
    with RecordingWriter(recording, [gpu]) as writer:
        for second in range(3):
            sample = Sample("GPU-1", {}, limited_by=("power_cap",))
            writer.append(Snapshot(1.8e9 + second, float(second), (sample,)))
    backend = ReplayBackend(recording)
    opened = Opened(backends=(backend,), unopened=(), results=(backend.probe(),))
    with running(tmp_path, Store(path), lambda: opened) as caller:
        caller.ask("subscribe", topic="snapshots", interval_s=0.2)
        for _ in range(3):
            caller.wait_for("snapshot")
    with Recall(path) as recall:
        kept = recall.held(0)
    assert {one.limit for one in kept} == {"", "power_cap"}
    assert sum(one.seconds for one in kept if one.limit) > 0.1


def test_a_run_is_noted_where_it_can_be_found(tmp_path: Path) -> None:
    store = Store(tmp_path / "history.db")
    with running(tmp_path, store) as caller:
        caller.ask("subscribe", topic="events")
        caller.ask("note", gpu=CPU_ID, text="Ethash began")
        caller.ask("subscribe", topic="snapshots", interval_s=1.0)
        caller.wait_for("snapshot")
        now_s = time.time()
        told = caller.ask("events", since_unix_s=now_s - 60, until_unix_s=now_s + 60)["events"]
    assert [(one["gpu"], one["kind"], one["text"]) for one in told] == [
        (CPU_ID, "run", "Ethash began")
    ]


@pytest.mark.parametrize(
    "params",
    [
        {"gpu": "GPU-none", "text": "x"},
        {"gpu": CPU_ID, "text": "x" * 201},
        {"gpu": CPU_ID, "text": "two\nlines"},
        {"gpu": CPU_ID},
    ],
)
def test_a_note_is_one_short_line_on_a_gpu_that_is_there(
    tmp_path: Path, params: dict[str, Any]
) -> None:
    with running(tmp_path, None) as caller:
        caller._writer.write(protocol.encode(protocol.request(1, "note", params)))
        assert caller.read()["error"]["code"] == ErrorCode.INVALID_PARAMS
