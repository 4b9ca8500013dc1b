"""When an idle GPU is left alone, and for how long."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpupanel.backends.rest import Rest

STEPS = st.lists(
    st.tuples(st.sampled_from(["used", "idle", "asleep"]), st.floats(0, 100)), max_size=60
)


@given(STEPS)
def test_it_is_never_due_when_used_lately_and_never_endless(
    steps: list[tuple[str, float]],
) -> None:
    rest, now_s, used_s = Rest(), 0.0, 0.0
    for step, seconds in steps:
        now_s += seconds
        if step in {"used", "asleep"}:
            rest.end()
            used_s = now_s
            assert not rest.is_on(now_s)
        elif not rest.is_on(now_s):
            rest.idle(now_s)
            if rest.is_due(now_s):
                assert now_s - used_s >= 60
                rest.begin(now_s, 30)
                assert rest.is_on(now_s)
    assert not rest.is_on(now_s + 30)


@pytest.mark.parametrize(("seconds", "is_on"), [(29.9, True), (30, False)])
def test_a_gpu_that_stays_awake_is_read_again(seconds: float, is_on: bool) -> None:
    rest = Rest()
    rest.idle(0)
    rest.begin(60, 30)
    assert rest.is_on(60 + seconds) is is_on


def test_a_gpu_that_stayed_awake_is_not_left_alone_again_unused() -> None:
    rest = Rest()
    rest.idle(0)
    assert [rest.is_due(59), rest.is_due(60)] == [False, True]
    rest.begin(60, 30)
    rest.idle(91)
    assert not rest.is_due(10_000)
    rest.end()
    rest.idle(10_001)
    assert rest.is_due(10_061)
