"""GPUs on Windows, on doubles of its libraries: what is read, and what is missing."""

from __future__ import annotations

import pytest

from gpupanel.backends.base import ProbeState
from gpupanel.backends.wddm import WddmBackend
from gpupanel.backends.windows.pdh import Counter
from gpupanel.model.gpu import Unavailable
from gpupanel.model.metrics import METRIC_BY_KEY, METRICS
from tests.backends.fake_windows import (
    INTEL,
    NVIDIA,
    Clock,
    FakeWindows,
    backend_on,
    second_look,
    why,
)


def test_elsewhere_it_says_that_it_is_not_there() -> None:
    result = WddmBackend().probe()
    assert result.state is ProbeState.ABSENT
    assert result.reason == "this way to GPUs is Windows' own"
    assert (WddmBackend().gpus(), WddmBackend().processes()) == ((), ())


def test_the_cards_are_named_placed_and_measured(backend: WddmBackend) -> None:
    intel, nvidia = backend.gpus()
    assert (intel.id, intel.vendor, intel.name) == (INTEL, "Intel", "Intel(R) Iris(R) Xe Graphics")
    assert (nvidia.id, nvidia.vendor) == (NVIDIA, "NVIDIA")
    assert nvidia.pci_bus_id == "00000000:01:00.0"
    assert nvidia.driver_version == "31.0.101.2125"
    assert nvidia.memory_total_bytes == 8 << 30
    assert nvidia.limits == {"temperature_gpu_c": 95.0}
    assert intel.limits == {}


def test_readings(backend: WddmBackend, windows: FakeWindows, clock: Clock) -> None:
    first = backend.sample(NVIDIA).readings
    assert first["utilization_gpu_percent"] == Unavailable("measuring")
    second_look(windows, clock)
    readings = backend.sample(NVIDIA).readings
    assert set(readings) == set(METRIC_BY_KEY)
    numbers = {key: value for key, value in readings.items() if not isinstance(value, Unavailable)}
    assert numbers == pytest.approx(
        {
            "utilization_gpu_percent": 75,
            "utilization_encoder_percent": 10,
            "temperature_gpu_c": 61.5,
            "fan_speed_rpm": 1480,
            "memory_used_bytes": 8_804_600_000,
            "memory_shared_used_bytes": 162_000_000,
            "memory_total_bytes": 8 << 30,
        }
    )
    assert "not in watts" in why(readings["power_draw_w"])
    intel = backend.sample(INTEL).readings
    assert intel["utilization_decoder_percent"] == pytest.approx(40)
    assert why(intel["temperature_gpu_c"]) == "this GPU's driver does not tell Windows"
    assert why(intel["fan_speed_rpm"]) == "this GPU's driver does not tell Windows"


def test_all_that_is_reported_the_table_promises(
    backend: WddmBackend, windows: FakeWindows, clock: Clock
) -> None:
    second_look(windows, clock)
    promised = {metric.key for metric in METRICS if "wddm" in metric.sources}
    reported = set()
    for gpu in backend.gpus():
        reported |= set(backend.sample(gpu.id).as_json()["metrics"])
    assert reported == promised


def test_one_look_serves_all_gpus_of_a_tick(
    backend: WddmBackend, windows: FakeWindows, clock: Clock
) -> None:
    for _ in range(3):
        clock.now_s += 1
        before = windows.calls["PdhCollectQueryData"]
        for gpu in backend.gpus():
            backend.sample(gpu.id)
        backend.processes()
        assert windows.calls["PdhCollectQueryData"] == before + 1
    assert windows.calls["PdhOpenQueryW"] == 1


def test_an_old_driver_without_sensors_still_shows_load(windows: FakeWindows, clock: Clock) -> None:
    windows.cards[1].status = {62: 0xC000000D, 63: 0xC000000D}
    backend = backend_on(windows, clock)
    backend.probe()
    second_look(windows, clock)
    readings = backend.sample(NVIDIA).readings
    assert readings["utilization_gpu_percent"] == pytest.approx(75)
    assert "WDDM 2.4" in why(readings["temperature_gpu_c"])


def test_garbage_of_a_sensor_is_said(backend: WddmBackend, windows: FakeWindows) -> None:
    windows.cards[0].temperature_tenths_c = 65535
    windows.cards[0].fan_rpm = 4_000_000_000
    readings = backend.sample(INTEL).readings
    assert why(readings["temperature_gpu_c"]) == "implausible: 6553.5 °C"
    assert why(readings["fan_speed_rpm"]).startswith("implausible")


def test_a_fan_that_stands_still_is_zero_where_there_is_a_fan(
    backend: WddmBackend, windows: FakeWindows, clock: Clock
) -> None:
    windows.cards[1].fan_rpm = 0
    second_look(windows, clock)
    assert backend.sample(NVIDIA).readings["fan_speed_rpm"] == 0


def test_without_counters_there_are_names_and_a_reason(windows: FakeWindows, clock: Clock) -> None:
    for counter in Counter:
        windows.add_status[counter.value] = 0xC0000BB8
    backend = backend_on(windows, clock)
    result = backend.probe()
    assert result.state is ProbeState.OK
    assert "no GPU counters" in result.reason
    readings = backend.sample(INTEL).readings
    assert "no GPU counters" in why(readings["utilization_gpu_percent"])
    assert "no GPU counters" in why(readings["memory_used_bytes"])
    assert readings["memory_total_bytes"] == 128 << 20
    assert windows.open_queries == 0


def test_one_counter_that_is_missing_takes_no_other_along(
    windows: FakeWindows, clock: Clock
) -> None:
    windows.add_status[Counter.ADAPTER_SHARED.value] = 0xC0000BB9
    windows.array_status[Counter.ADAPTER_DEDICATED] = 0x800007D5
    backend = backend_on(windows, clock)
    backend.probe()
    second_look(windows, clock)
    readings = backend.sample(NVIDIA).readings
    assert readings["utilization_gpu_percent"] == pytest.approx(75)
    assert "does not have this GPU counter" in why(readings["memory_shared_used_bytes"])
    assert "no GPU counters now" in why(readings["memory_used_bytes"])


def test_a_query_that_breaks_is_opened_anew(
    backend: WddmBackend, windows: FakeWindows, clock: Clock
) -> None:
    windows.collect_status = 0xC0000BBC
    clock.now_s += 1
    assert "let go" in why(backend.sample(INTEL).readings["utilization_gpu_percent"])
    assert windows.open_queries == 0
    windows.collect_status = 0
    second_look(windows, clock)
    backend.sample(INTEL)
    assert windows.open_queries == 1
    backend.close()
    assert (windows.open_queries, backend.gpus(), backend.processes()) == (0, (), ())


def test_no_data_is_an_answer(backend: WddmBackend, windows: FakeWindows, clock: Clock) -> None:
    windows.collect_status = 0x800007D5
    clock.now_s += 1
    windows.array_status = dict.fromkeys(Counter, 0x800007D5)
    assert "no GPU counters now" in why(backend.sample(INTEL).readings["utilization_gpu_percent"])
    assert windows.open_queries == 1
