"""The guard stops what is hot or blind, and nothing else."""

from __future__ import annotations

import pytest

from gpupanel.model.gpu import GpuKind, Reading, Sample, Unavailable
from gpupanel.stress.guard import HOLD_S, SENSOR_LOST_S, Guard

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


def test_a_card_that_states_its_slowdown_is_stopped_below_it() -> None:
    guard = Guard(GpuKind.GPU, {"temperature_gpu_c": 87.0})
    guard.observe(sample(83.9), 0)
    assert guard.reason_to_stop(0) is None
    guard.observe(sample(84.0), 1)
    assert guard.reason_to_stop(1) == "temperature"


@pytest.mark.parametrize("key", ["temperature_hotspot_c", "temperature_memory_c"])
def test_the_hottest_part_counts(key: str) -> None:
    guard = Guard(GpuKind.GPU)
    guard.observe(Sample("g", {"temperature_gpu_c": 60.0, key: 105.0}), 0)
    assert guard.reason_to_stop(0) == "temperature"


def test_heat_that_passes_still_stops_the_run() -> None:
    guard = Guard(GpuKind.GPU)
    guard.observe(sample(95.0), 0)
    guard.observe(sample(60.0), 1)
    assert guard.reason_to_stop(1) == "temperature"


def test_policy_lowers_the_limit_and_never_raises_it() -> None:
    assert Guard(GpuKind.GPU, limit_c=70).limits_c["temperature_gpu_c"] == 70
    assert Guard(GpuKind.GPU, limit_c=120).limits_c["temperature_gpu_c"] == 90


def test_power_far_over_its_limit_counts_when_it_stays() -> None:
    guard = Guard(GpuKind.GPU)
    over = Sample("g", {"power_draw_w": 360.0, "power_limit_w": 300.0})
    within = Sample("g", {"power_draw_w": 340.0, "power_limit_w": 300.0})
    for now_s, one in enumerate((over, within, over)):
        guard.observe(one, now_s)
    assert guard.reason_to_stop(HOLD_S + 1.9) is None
    guard.observe(over, HOLD_S + 2)
    assert guard.reason_to_stop(HOLD_S + 2) == "power"


@pytest.mark.parametrize(
    ("fan", "temperature_c", "reason"),
    [
        ({"fan_speed_percent": 0.0}, 76.0, "fan"),
        ({"fan_speed_rpm": 0.0}, 76.0, "fan"),
        ({"fan_speed_percent": 0.0, "fan_speed_rpm": 900.0}, 76.0, None),
        ({"fan_speed_percent": 0.0}, 60.0, None),
        ({}, 76.0, None),
    ],
)
def test_a_fan_that_stands_on_a_hot_card_stops_the_run(
    fan: dict[str, Reading], temperature_c: float, reason: str | None
) -> None:
    guard = Guard(GpuKind.GPU)
    for now_s in (0.0, HOLD_S):
        guard.observe(Sample("g", {"temperature_gpu_c": temperature_c, **fan}), now_s)
    assert guard.reason_to_stop(HOLD_S) == reason


def test_energy_is_the_integral_of_power_and_gaps_add_nothing() -> None:
    guard = Guard(GpuKind.GPU)
    readings: list[tuple[float, Reading]] = [
        (0, 100.0), (2, 200.0), (3, NOTHING), (9, 50.0), (10, 50.0),
    ]  # fmt: skip
    for now_s, power_w in readings:
        guard.observe(sample(40, power_w), now_s)
    assert guard.energy_j == pytest.approx(300 + 50)
