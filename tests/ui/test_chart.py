from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpupanel.ui.theme import Tone, colour
from gpupanel.ui.widgets.chart import RateChart, nice_step, nice_top

if TYPE_CHECKING:
    from pytestqt.qtbot import QtBot


@given(st.floats(1e-6, 1e18))
def test_steps_are_round_and_no_more_than_two_and_a_half_times_too_large(least: float) -> None:
    step = nice_step(least)
    assert least <= step <= 2.5 * least * (1 + 1e-9)
    leading = step / 10 ** math.floor(math.log10(step) + 1e-9)
    assert min(abs(leading - one) for one in (1, 2, 2.5, 5, 10)) < 1e-6


@given(st.floats(0, 1e15))
def test_top_is_above_and_not_far(highest: float) -> None:
    top = nice_top(highest)
    assert highest < top <= max(highest * 1.35, 1.0)


@pytest.mark.parametrize(("highest", "top"), [(450.0, 500.0), (2600.0, 3000.0), (0.0, 1.0)])
def test_tops_that_people_expect(highest: float, top: float) -> None:
    assert nice_top(highest) == top


def test_the_reference_line_is_where_its_value_is(qtbot: QtBot) -> None:
    chart = RateChart("rate")
    qtbot.addWidget(chart)
    chart.resize(480, 236)  # a plot of 200 px
    chart.set_series([(float(s), 50.0) for s in range(60)], 60, str, (100.0, "uncapped"))
    image = chart.grab().toImage()
    warn = colour(chart.palette(), Tone.WARN)
    rows = {y for y in range(236) for x in range(100, 300) if image.pixelColor(x, y) == warn}
    expected = 212 - 100 / nice_top(100) * 200
    assert rows
    assert all(abs(y - expected) <= 1 for y in rows)
    assert chart.accessibleDescription() == "latest 50.0, least 50.0, most 50.0"
