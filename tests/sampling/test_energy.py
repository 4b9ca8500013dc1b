"""Energy against NumPy's trapezoidal rule, and what it does not guess."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpupanel.model.gpu import Reading, Sample, Snapshot, Unavailable
from gpupanel.sampling.energy import Energy, EnergyMeter

UNKNOWN = Unavailable("asleep")


def total(reads: list[tuple[float, Reading]]) -> Energy:
    meter = EnergyMeter()
    joules = measured_s = 0.0
    for time_s, power_w in reads:
        sample = Sample("GPU-1", {"power_draw_w": power_w})
        step = meter.step(Snapshot(0.0, time_s, (sample,))).get("GPU-1", Energy(0.0, 0.0))
        joules, measured_s = joules + step.joules, measured_s + step.measured_s
    return Energy(joules, measured_s)


@given(st.lists(st.tuples(st.floats(0.01, 5), st.floats(0, 2000)), min_size=1, max_size=50))
def test_it_is_the_integral(steps: list[tuple[float, float]]) -> None:
    times_s = np.cumsum([step_s for step_s, _ in steps])
    power_w = [watts for _, watts in steps]
    took = total(list(zip(times_s.tolist(), power_w, strict=True)))
    # Steps that rounding makes longer than the longest are left out by both.
    steps_s = np.diff(times_s)
    means_w = (np.array(power_w)[1:] + np.array(power_w)[:-1]) / 2
    kept = steps_s <= 5.0
    assert took.joules == pytest.approx(float((steps_s * means_w)[kept].sum()))
    assert took.measured_s == pytest.approx(float(steps_s[kept].sum()))


def test_an_hour_at_a_kilowatt_is_a_kilowatt_hour() -> None:
    took = total([(float(second), 1000.0) for second in range(3601)])
    assert took.kwh == pytest.approx(1.0)
    assert took.cost(0.32) == pytest.approx(0.32)
    assert took.measured_s == 3600


@pytest.mark.parametrize(
    "reads",
    [
        [(0.0, 100.0), (60.0, 100.0)],
        [(0.0, 100.0), (1.0, UNKNOWN), (2.0, 100.0)],
        [(5.0, 100.0), (5.0, 100.0)],
        [(5.0, 100.0), (4.0, 100.0)],
    ],
    ids=["suspended", "unknown", "no time", "time went back"],
)
def test_a_time_that_nobody_watched_adds_nothing(reads: list[tuple[float, Reading]]) -> None:
    assert total(reads) == Energy(0.0, 0.0)
