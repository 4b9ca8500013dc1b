"""The tiers against a model that keeps everything and computes from the start."""

from __future__ import annotations

import struct
import tracemalloc
from collections.abc import Sequence
from itertools import groupby
from math import floor, fsum

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpupanel.model.gpu import Reading, Sample, Snapshot, Unavailable
from gpupanel.model.metrics import METRICS
from gpupanel.sampling.history import History, Point

GPU, KEY = "GPU-1", "power_draw_w"
HOUR_S, DAY_S = 3600, 86400
UNKNOWN = Unavailable("not reported by this GPU")

Reads = Sequence[tuple[float, Reading]]


def snapshot(time_s: float, reading: Reading | None, gpu: str = GPU) -> Snapshot:
    """None: the GPU is not in the snapshot at all."""
    samples = () if reading is None else (Sample(gpu, {KEY: reading}),)
    return Snapshot(1.8e9 + time_s, time_s, samples)


def remembered(reads: Reads) -> History:
    history = History()
    for time_s, reading in reads:
        history.append(snapshot(time_s, reading))
    return history


def single(value: float) -> float:
    """As a 32-bit float holds it."""
    packed: float = struct.unpack("f", struct.pack("f", value))[0]
    return packed


def modelled(reads: Reads, width_s: float, capacity: int) -> list[Point]:
    """What a tier must hold, from all that was ever read."""
    rows: list[tuple[float, Reading, float]] = []
    origin_s = last_s = reads[0][0]
    pace_s = 0.0
    for time_s, reading in reads:
        if time_s - last_s > 3 * max(pace_s, width_s):
            rows.append((last_s + width_s, UNKNOWN, -len(rows)))
        pace_s, last_s = time_s - last_s, time_s
        rows.append((time_s, reading, 1.0 + floor((time_s - origin_s) / width_s + 0.5)))
    points = []
    for _, group in groupby(rows, key=lambda row: row[2]):
        bin_rows = list(group)
        values = [value for _, value, _ in bin_rows if not isinstance(value, Unavailable)]
        time_s = bin_rows[0][0]
        if values:
            mean = fsum(values) / len(values)
            points.append(Point(time_s, single(min(values)), mean, single(max(values))))
        else:
            points.append(Point(time_s, None, None, None))
    return points[-capacity:]


def assert_same(found: Sequence[Point], expected: Sequence[Point]) -> None:
    assert [(p.time_monotonic_s, p.low, p.high) for p in found] == [
        (p.time_monotonic_s, p.low, p.high) for p in expected
    ]
    for mine, theirs in zip(found, expected, strict=True):
        assert mine.mean == (None if theirs.mean is None else pytest.approx(theirs.mean, rel=1e-6))


steps = st.one_of(
    st.just(1.0), st.floats(0.9, 1.1), st.floats(0.05, 0.5), st.sampled_from([2.0, 5.0, 10.0, 90.0])
)
values = st.one_of(st.floats(0, 2000), st.just(UNKNOWN))
reads = st.lists(st.tuples(steps, values), min_size=1, max_size=120)


@given(reads, st.floats(0, 1e6))
@settings(max_examples=150)
def test_both_tiers_agree_with_the_model(
    drawn: list[tuple[float, Reading]], start_s: float
) -> None:
    time_s, timed = start_s, []
    for step_s, reading in drawn:
        time_s += step_s
        timed.append((time_s, reading))
    history = remembered(timed)
    if all(isinstance(reading, Unavailable) for _, reading in timed):
        assert history.series(GPU, KEY, HOUR_S) == []
        return
    since_s = timed[-1][0] - HOUR_S
    fine = [p for p in modelled(timed, 1.0, 3600) if p.time_monotonic_s >= since_s]
    assert_same(history.series(GPU, KEY, HOUR_S), fine)
    assert_same(history.series(GPU, KEY, DAY_S), modelled(timed, 10.0, 8640))


@pytest.mark.parametrize(
    ("seconds", "width_s", "capacity"), [(HOUR_S, 1.0, 3600), (DAY_S, 10.0, 8640)]
)
def test_full_rings_agree_with_the_model(seconds: int, width_s: float, capacity: int) -> None:
    ticks = capacity * int(width_s) + 5000
    timed: list[tuple[float, Reading]] = [
        (50.0 + n, UNKNOWN if n % 701 < 12 else float((n * 37) % 400)) for n in range(ticks)
    ]
    newest_s = timed[-1][0]
    expected = [
        point
        for point in modelled(timed, width_s, capacity)
        if point.time_monotonic_s >= newest_s - seconds
    ]
    found = remembered(timed).series(GPU, KEY, seconds)
    assert len(found) == capacity
    assert_same(found, expected)


def test_jitter_moves_no_tick_into_its_neighbours_bin() -> None:
    jitter_s = [0.0, 0.004, -0.003, 0.001, -0.004]
    timed = [(7.9999 + n + jitter_s[n % 5], float(n)) for n in range(200)]
    points = remembered(timed).series(GPU, KEY, HOUR_S)
    assert [point.mean for point in points] == [float(n) for n in range(200)]


def test_a_slower_pace_is_not_a_gap() -> None:
    points = remembered([(10.0 * n, 5.0) for n in range(50)]).series(GPU, KEY, HOUR_S)
    gaps = [n for n, point in enumerate(points) if point.mean is None]
    assert gaps == [1], "the first long step may be a gap; the pace is known after it"
    assert len(points) == 51


def test_a_time_without_snapshots_is_a_gap_and_not_zero() -> None:
    timed = [(float(n), 5.0) for n in (*range(10), *range(300, 310))]
    points = remembered(timed).series(GPU, KEY, HOUR_S)
    assert [point for point in points if point.mean is None] == [Point(10.0, None, None, None)]
    assert len(points) == 21


def test_a_gpu_that_was_not_read_is_a_gap() -> None:
    history = History()
    for n, reading in enumerate([1.0, None, UNKNOWN, 4.0]):
        history.append(snapshot(float(n), reading))
    means = [point.mean for point in history.series(GPU, KEY, HOUR_S)]
    assert means == [1.0, None, None, 4.0]


def test_a_gpu_that_comes_later_has_gaps_before() -> None:
    history = History()
    for n in range(5):
        history.append(snapshot(float(n), 1.0))
    history.append(snapshot(5.0, 7.0, gpu="GPU-2"))
    assert [p.mean for p in history.series("GPU-2", KEY, HOUR_S)] == [None] * 5 + [7.0]
    assert [p.mean for p in history.series(GPU, KEY, HOUR_S)] == [1.0] * 5 + [None]


def test_a_spike_survives_in_the_coarse_tier() -> None:
    timed = [(float(n), 400.0 if n == 50 else 10.0) for n in range(100)]
    (spike,) = [p for p in remembered(timed).series(GPU, KEY, DAY_S) if p.high == 400.0]
    assert (spike.low, spike.mean) == (10.0, 49.0)


@pytest.mark.parametrize(("seconds", "count"), [(0, 1), (1, 2), (60, 61), (3600, 3600)])
def test_only_what_was_asked_for_comes_back(seconds: float, count: int) -> None:
    points = remembered([(float(n), 1.0) for n in range(4000)]).series(GPU, KEY, seconds)
    assert len(points) == count
    assert points[-1].time_monotonic_s == 3999.0


def test_what_was_never_reported_is_empty() -> None:
    history = remembered([(1.0, UNKNOWN), (2.0, UNKNOWN)])
    assert history.series(GPU, KEY, HOUR_S) == []
    assert history.series("GPU-9", KEY, HOUR_S) == []
    assert History().series(GPU, KEY, DAY_S) == []


@pytest.mark.parametrize("time_s", [5.0, 4.0])
def test_time_does_not_go_back(time_s: float) -> None:
    history = remembered([(5.0, 1.0)])
    with pytest.raises(ValueError, match="in the order of their time"):
        history.append(snapshot(time_s, 2.0))
    assert len(history.series(GPU, KEY, HOUR_S)) == 1


def test_eight_gpus_that_report_everything_stay_under_thirty_megabytes() -> None:
    """Three floats of 4 bytes, 3600 + 8640 bins, for each remembered metric of each GPU."""
    remembered_count = sum(metric.is_remembered for metric in METRICS)
    bound = 8 * remembered_count * (3600 + 8640) * 3 * 4 * 1.01
    assert bound < 30e6, "a new metric is to be remembered: is it worth its memory?"

    def all_metrics(time_s: float) -> Snapshot:
        readings = {metric.key: time_s % 97 for metric in METRICS}
        return Snapshot(time_s, time_s, tuple(Sample(f"GPU-{n}", readings) for n in range(8)))

    tracemalloc.start()
    try:
        history = History()
        history.append(all_metrics(0.0))
        at_first, _ = tracemalloc.get_traced_memory()
        for second in range(1, 500):
            history.append(all_metrics(float(second)))
        later, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert at_first < bound
    assert later - at_first < 0.5e6, "memory is fixed"
