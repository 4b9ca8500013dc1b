"""The guard stops what is hot or blind, and nothing else."""

from __future__ import annotations

import pytest

from gpupanel.model.gpu import GpuKind, Reading, Sample, Unavailable
from gpupanel.stress.guard import SENSOR_LOST_S, Guard

NOTHING = Unavailable("not there")


def sample(temperature_c: Reading, power_w: Reading = NOTHING) -> Sample:
    return Sample("g", {"temperature_gpu_c": temperature_c, "power_draw_w": power_w})


def test_heat_stops_the_run_at_the_limit_and_not_below() -> None:
    guard = Guard(GpuKind.GPU, limit_c=80)
    guard.observe(sample(79.9), 0)
    assert guard.reason_to_stop(0) is None
    guard.observe(sample(80.0), 1)
    assert guard.reason_to_stop(1) == "temperature"


def test_a_sensor_that_goes_away_stops_the_run_after_its_grace() -> None:
    guard = Guard(GpuKind.GPU)
    guard.observe(sample(50), 0)
    guard.observe(sample(NOTHING), SENSOR_LOST_S)
    assert guard.reason_to_stop(SENSOR_LOST_S) is None
    assert guard.reason_to_stop(SENSOR_LOST_S + 0.1) == "sensor_lost"


def test_samples_that_stop_coming_are_a_lost_sensor_too() -> None:
    guard = Guard(GpuKind.CPU)
    guard.observe(sample(50), 10)
    assert guard.reason_to_stop(10 + SENSOR_LOST_S + 1) == "sensor_lost"


def test_a_card_that_never_had_a_sensor_is_bounded_by_time_alone() -> None:
    guard = Guard(GpuKind.CPU)
    for now_s in range(100):
        guard.observe(sample(NOTHING), now_s)
        assert guard.reason_to_stop(now_s) is None
    assert guard.energy_j is None


def test_energy_is_the_integral_of_power_and_gaps_add_nothing() -> None:
    guard = Guard(GpuKind.GPU)
    readings: list[tuple[float, Reading]] = [
        (0, 100.0), (2, 200.0), (3, NOTHING), (9, 50.0), (10, 50.0),
    ]  # fmt: skip
    for now_s, power_w in readings:
        guard.observe(sample(40, power_w), now_s)
    assert guard.energy_j == pytest.approx(300 + 50)
