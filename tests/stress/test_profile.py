"""The steps of a profile and the ramp before it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpupanel.stress.profile import (
    PROFILES,
    STEADY,
    STEP_S,
    STEPS,
    STEPS_PERCENT,
    load_percent,
    ramp_percent,
)


@given(profile=st.sampled_from(PROFILES), elapsed_s=st.floats(0, 1e6))
def test_a_load_is_always_a_cap_that_the_limiter_takes(profile: str, elapsed_s: float) -> None:
    assert 1 <= load_percent(profile, elapsed_s) <= 100


def test_steps_go_from_a_fifth_to_all_and_again() -> None:
    seen = [load_percent(STEPS, index * STEP_S) for index in range(2 * len(STEPS_PERCENT))]
    assert seen == [*STEPS_PERCENT, *STEPS_PERCENT]
    assert (min(seen), max(seen)) == (20, 100)
    assert load_percent(STEADY, 3 * STEP_S) == 100


@pytest.mark.parametrize(("elapsed_s", "percent"), [(0, 10), (2.5, 55), (5, 100), (6, 100)])
def test_the_ramp_rises_evenly(elapsed_s: float, percent: int) -> None:
    assert ramp_percent(elapsed_s, 5.0) == percent
