from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpupanel.model.gpu import GpuInfo, GpuKind, Sample, Snapshot, Unavailable
from gpupanel.model.workload import Run
from gpupanel.ui.link import LinkState
from gpupanel.ui.runs import Runs
from gpupanel.ui.store import POINTS, Store

if TYPE_CHECKING:
    from pytestqt.qtbot import QtBot

GPU = GpuInfo("gpu0", "Card", "nvidia", GpuKind.GPU, "nvml")
KEY = "power_draw_w"


def snapshot(time_s: float, value: float = 1.0) -> Snapshot:
    return Snapshot(time_s, time_s, (Sample("gpu0", {KEY: value}),))


def fed(times_s: list[float]) -> Store:
    store = Store(Runs())
    for time_s in times_s:
        store.add_snapshot(snapshot(time_s, time_s))
    return store


def test_a_missed_tick_is_a_gap() -> None:
    assert list(fed([10, 11, 14, 15]).series("gpu0", KEY)) == [10, 11, None, None, 14, 15]


def test_jitter_is_no_gap() -> None:
    assert list(fed([10.0, 11.4, 12.0, 13.3]).series("gpu0", KEY)) == [10.0, 11.4, 12.0, 13.3]


def test_a_long_absence_leaves_only_the_gap_and_the_present() -> None:
    series = fed([0, 1, 100_000]).series("gpu0", KEY)
    assert list(series) == [None] * (POINTS - 1) + [100_000]


def test_a_value_that_is_not_reported_is_a_gap_with_a_reason() -> None:
    store = fed([1])
    readings = {KEY: Unavailable("asleep")}
    store.add_snapshot(Snapshot(2, 2, (Sample("gpu0", readings),)))
    assert list(store.series("gpu0", KEY)) == [1, None]
    assert store.reading("gpu0", KEY) == Unavailable("asleep")


@given(st.lists(st.floats(0.5, 400), min_size=1, max_size=60))
def test_series_are_bounded_and_end_with_the_latest(steps_s: list[float]) -> None:
    times_s = [sum(steps_s[: index + 1]) for index in range(len(steps_s))]
    store = fed(times_s)
    series = store.series("gpu0", KEY)
    assert len(series) <= POINTS
    last = series[-1]
    assert last is not None
    assert 0 <= times_s[-1] - last < 1.0  # more than one a second is not shown
    lengths = {
        len(kept) for kept in (store.series("gpu0", KEY), store.series("gpu0", "fan_speed_percent"))
    }
    assert len(lengths) == 1


@pytest.mark.parametrize("state", [LinkState.RESTARTING, LinkState.STARTING])
def test_without_an_agent_nothing_is_known(state: LinkState) -> None:
    store = fed([1, 2])
    store.set_link(state, "The agent crashed.")
    assert isinstance(store.reading("gpu0", KEY), Unavailable)
    assert list(store.series("gpu0", KEY)) == [1, 2]


def test_history_fills_the_past_once() -> None:
    store = Store(Runs())
    store.set_history([snapshot(1), snapshot(2)])
    store.add_snapshot(snapshot(3))
    store.set_history([snapshot(1), snapshot(2), snapshot(3)])
    assert list(store.series("gpu0", KEY)) == [1, 1, 1]
    assert store.ticks == 3


def test_a_gpu_that_left_is_forgotten() -> None:
    store = fed([1])
    store.set_gpus([], [])
    assert store.series("gpu0", KEY) == ()
    assert store.gpu("gpu0") is None


def test_one_signal_per_tick(qtbot: QtBot) -> None:
    store = Store(Runs())
    told: list[None] = []
    store.changed.connect(lambda: told.append(None))
    store.add_snapshot(snapshot(1))
    assert len(told) == 1


def test_no_run_without_a_policy(bench: Any) -> None:
    bench.feed([bench.gpu()])
    bench.store.start_run(Run("ai.gemm", bench.gpu().id, 10))
    assert bench.runners == []
    assert bench.store.decide(Run("ai.gemm", bench.gpu().id, 10)) is None


def test_a_denied_run_is_written_down_and_not_started(bench: Any) -> None:
    bench.feed([bench.gpu()])
    bench.feed_policy(stress__allowed_loads=("gaming",))
    bench.store.start_run(Run("mining.ethash", bench.gpu().id, 10))
    assert bench.runners == []
    assert "stress.allowed_loads" in bench.store.decisions[0].decision.reason
    assert bench.store.decisions[0].subject == "Ethash on NVIDIA GeForce RTX 4090 for 0:10"


def test_a_clamped_run_starts_within_policy(bench: Any) -> None:
    bench.feed([bench.gpu()])
    bench.feed_policy(mining__max_efficiency_percent=50, stress__max_run_seconds=20)
    bench.store.start_run(Run("mining.ethash", bench.gpu().id, 60))
    assert (bench.runners[0].run.cap_percent, bench.runners[0].run.seconds) == (50, 20)


def test_decisions_are_bounded(bench: Any) -> None:
    bench.feed([bench.gpu()])
    bench.feed_policy(stress__allowed_loads=())
    for _ in range(60):
        bench.store.start_run(Run("ai.gemm", bench.gpu().id, 10))
    assert len(bench.store.decisions) == 50


def test_the_guard_of_a_run_sees_its_gpu_only(bench: Any) -> None:
    gpus = [bench.gpu(0), bench.gpu(1)]
    bench.feed(gpus)
    bench.feed_policy()
    bench.drive("ai.gemm", "running", gpus[1].id)
    bench.store.add_snapshot(bench.snapshot(gpus, 99.0))
    assert [sample.gpu_id for sample in bench.runners[0].samples] == [gpus[1].id]
