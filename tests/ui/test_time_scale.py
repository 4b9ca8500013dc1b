"""Times on the axis: round, apart, and where they belong."""

from __future__ import annotations

import time
from datetime import datetime
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpupanel.ui.widgets.past.time_scale import LEFT_PX, RIGHT_PX, TimeScale

SPANS_S = (3600.0, 86400.0, 7 * 86400.0, 90 * 86400.0)


@given(st.sampled_from(SPANS_S), st.floats(1e9, 2e9), st.integers(300, 2000))
def test_ticks_are_round_apart_and_within(span_s: float, since_s: float, width: int) -> None:
    scale = TimeScale(since_s, since_s + span_s, width)
    ticks = list(scale.ticks())
    places = [scale.x(time_s) for time_s, _ in ticks]
    assert all(LEFT_PX <= place <= width - RIGHT_PX + 1e-6 for place in places)
    assert all(after - before >= 60 for before, after in pairwise(places))
    for time_s, label in ticks:
        moment = datetime.fromtimestamp(time_s)
        assert moment.second == 0
        assert label
        if span_s > 86400 * 3:
            assert (moment.hour % 12, moment.minute) == (0, 0)


@pytest.mark.parametrize("span_s", SPANS_S)
def test_there_are_enough_ticks_to_read(span_s: float) -> None:
    assert 4 <= len(list(TimeScale(1.7e9, 1.7e9 + span_s, 944).ticks())) <= 14


def test_days_are_steps_of_the_calendar_through_changed_clocks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    try:
        before_s = datetime(2026, 10, 22).timestamp()
        ticks = list(TimeScale(before_s, before_s + 7 * 86400, 944).ticks())
        assert {datetime.fromtimestamp(one).hour for one, _ in ticks} == {0}
        assert len(ticks) == 7
    finally:
        monkeypatch.undo()
        time.tzset()


@given(st.floats(0, 1))
def test_a_place_leads_back_to_its_time(share: float) -> None:
    scale = TimeScale(1000.0, 2000.0, 500)
    assert scale.time_s(scale.x(1000 + share * 1000)) == pytest.approx(1000 + share * 1000)
    assert scale.time_s(-50) == 1000.0
    assert scale.time_s(9999) == 2000.0
