"""A run's arithmetic against sums done by hand."""

from __future__ import annotations

import pytest

from gpupanel.model.roofline import Ceiling, Limit
from gpupanel.model.workload import Run
from gpupanel.stress.meter import Meter

RUN = Run("mining.ethash", "cpu", 30)


def test_half_the_time_at_full_speed_is_fifty_percent() -> None:
    meter = Meter(RUN, "hash", now_s=100.0)
    for _ in range(10):
        meter.add(work=500, device_s=0.05)
    meter.verified = 3
    finished = meter.finished(101.0, cap_percent=50, stop_reason="time")
    assert finished.work_per_s == pytest.approx(5000)
    assert finished.uncapped_work_per_s == pytest.approx(10_000)
    assert finished.efficiency_percent == pytest.approx(50)
    assert finished.verified


def test_progress_speaks_of_the_time_since_the_last_one() -> None:
    meter = Meter(RUN, "hash", now_s=0.0)
    meter.add(1000, 0.5)
    assert meter.progress(1.0).work_per_s == pytest.approx(1000)
    meter.add(100, 0.1)
    second = meter.progress(3.0)
    assert second.work_per_s == pytest.approx(50)
    assert second.uncapped_work_per_s == pytest.approx(1000)
    assert second.work == 1100


@pytest.mark.parametrize(("verified", "errors", "work"), [(0, 0, 1), (3, 1, 1), (3, 0, 0)])
def test_nothing_checked_or_one_error_or_no_work_is_not_verified(
    verified: int, errors: int, work: float
) -> None:
    meter = Meter(RUN, "hash", now_s=0.0)
    meter.add(work, 0.01)
    meter.verified, meter.errors = verified, errors
    assert not meter.finished(1.0, 100, "time").verified


def test_the_share_of_the_limit_is_of_the_uncapped_rate() -> None:
    meter = Meter(RUN, "hash", now_s=0.0)
    meter.limit = Limit(2000.0, Ceiling.RANDOM_128B)
    meter.add(500, device_s=0.5)
    finished = meter.finished(1.0, 50, "time")
    assert finished.limit_per_s == 2000.0
    assert finished.limit_share == pytest.approx(0.5)
    assert finished.limited_by == "random_128b"


def test_stability_is_the_worst_interval_over_the_best() -> None:
    meter = Meter(RUN, "hash", now_s=0.0)
    for second in range(1, 16):
        meter.add(90 if second > 10 else 100, device_s=0.5)
        meter.progress(float(second))
    assert meter.finished(15.0, 100, "time").stability_percent == pytest.approx(90)


def test_a_short_run_says_nothing_of_stability() -> None:
    meter = Meter(RUN, "hash", now_s=0.0)
    for second in range(1, 9):
        meter.add(100, device_s=0.5)
        meter.progress(float(second))
    assert meter.finished(8.0, 100, "time").stability_percent is None


def test_faults_are_all_counted_and_the_first_told() -> None:
    meter = Meter(RUN, "hash", now_s=0.0)
    for number in range(50):
        meter.check([f"fault {number}", None])
    progress = meter.progress(1.0)
    assert (progress.verified, progress.errors) == (100, 50)
    assert progress.faults == tuple(f"fault {number}" for number in range(16))
