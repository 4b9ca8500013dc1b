"""The outer loop: a miner's own word moves the cap, and not far."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpupanel.enforcement.trim import Trim
from tests.enforcement.test_cap import made, run_s
from tests.enforcement.test_enforcer import Stage
from tests.enforcement.worlds import World


def test_a_rate_that_falls_faster_than_gpu_time_is_made_up_for() -> None:
    """Half of the time gives 46 percent of the hashes; the cap ends where that is 50."""
    trim = Trim()
    trim.told_uncapped(1000.0)
    for _ in range(200):
        trim.told_capped(1000.0 * 0.5 * trim.factor * 0.92, 50)
    assert 1000.0 * 0.5 * trim.factor * 0.92 == pytest.approx(500, rel=0.005)


@given(st.lists(st.floats(0, 1e12)), st.integers(1, 99))
def test_a_lie_gains_a_tenth_at_most(told: list[float], percent: int) -> None:
    trim = Trim()
    trim.told_uncapped(1e6)
    for rate in told:
        trim.told_capped(rate, percent)
        assert 0.9 <= trim.factor <= 1.1


def test_without_an_uncapped_rate_there_is_nothing_to_compare_with() -> None:
    trim = Trim()
    trim.told_capped(1.0, 50)
    assert trim.factor == 1.0


def test_the_cap_gives_what_the_trim_allows() -> None:
    world = World()
    cap, _ = made(world, 50)
    cap.trim = 1.1
    run_s(cap, world, 30)
    assert 100 * run_s(cap, world, 60) == pytest.approx(55, abs=1)


def test_what_was_told_in_the_period_of_grace_is_the_uncapped_rate() -> None:
    stage = Stage()
    stage.judge(stage.target(10, percent=50, grace=10))
    stage.run_s(5)
    stage.enforcer.told_rate((10, 7), 1000.0)
    stage.run_s(20)
    for _ in range(100):
        stage.enforcer.told_rate((10, 7), 300.0)
        stage.run_s(1)
    (hold,) = stage.enforcer.holds()
    assert hold.efficiency_percent == pytest.approx(55, abs=4)
