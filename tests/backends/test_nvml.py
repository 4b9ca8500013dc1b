"""The NVML backend through the real pynvml, on a double of the C library (fake_nvml.py)."""

from __future__ import annotations

from typing import Any

import pytest

from gpupanel.backends import nvml
from gpupanel.backends.base import ProbeState
from gpupanel.backends.nvml import NvmlBackend
from gpupanel.model.errors import BackendError, DriverMismatch, PermissionDenied
from gpupanel.model.gpu import GpuKind, Sample, Unavailable
from gpupanel.model.metrics import METRIC_BY_KEY
from tests.backends import fake_nvml
from tests.backends.fake_nvml import GIB, FakeGpu, FakeNvml

FIRST = "GPU-8f1c2a4e-0d5b-4f1e-9d9a-000000000001"
SECOND = "GPU-8f1c2a4e-0d5b-4f1e-9d9a-000000000002"


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> FakeNvml:
    return fake_nvml.install(monkeypatch, FakeNvml(FakeGpu(), fake_nvml.second_gpu()))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def backend(library: FakeNvml, clock: Clock) -> NvmlBackend:
    backend = NvmlBackend(clock)
    assert backend.probe().state is ProbeState.OK
    return backend


def reasons(sample: Sample) -> set[str]:
    """Why nothing of it is known; fails when anything is."""
    assert set(sample.readings) == set(METRIC_BY_KEY)
    return {
        reading.reason if isinstance(reading, Unavailable) else f"known: {reading}"
        for reading in sample.readings.values()
    }


def test_gpus_are_described_in_our_units(backend: NvmlBackend) -> None:
    first, second = backend.gpus()
    assert (first.id, second.id) == (FIRST, SECOND)
    assert first.name == "NVIDIA GeForce RTX 4090"
    assert (first.vendor, first.kind, first.backend) == ("NVIDIA", GpuKind.GPU, "nvml")
    assert first.driver_version == "575.64.03"
    assert second.pci_bus_id == "00000000:c1:00.0"
    assert first.memory_total_bytes == 24 * GIB
    assert first.limits == {
        "power_limit_w": 450.0,
        "temperature_gpu_c": 88.0,
        "clock_graphics_mhz": 3105.0,
        "clock_memory_mhz": 10501.0,
    }


def test_a_sample_holds_every_metric_in_its_unit(backend: NvmlBackend) -> None:
    assert backend.sample(FIRST).readings == {
        "utilization_gpu_percent": 97,
        "utilization_memory_percent": 61,
        "power_draw_w": 312.45,
        "power_limit_w": 400.0,
        "temperature_gpu_c": 71,
        "memory_used_bytes": 5 * GIB,
        "memory_total_bytes": 24 * GIB,
        "clock_graphics_mhz": 2520,
        "clock_memory_mhz": 10501,
        "fan_speed_percent": 43,
    }


def test_gpus_do_not_share_readings(backend: NvmlBackend) -> None:
    second = backend.sample(SECOND).readings
    assert second["power_draw_w"] == 61.007
    assert second["fan_speed_percent"] == Unavailable("not reported by this GPU")
    assert backend.sample(FIRST).readings["fan_speed_percent"] == 43


def test_the_call_that_sleeps_is_never_made(backend: NvmlBackend, library: FakeNvml) -> None:
    library.calls.clear()
    backend.sample(FIRST)
    assert set(library.calls) == {
        "nvmlDeviceGetUtilizationRates",
        "nvmlDeviceGetPowerUsage",
        "nvmlDeviceGetEnforcedPowerLimit",
        "nvmlDeviceGetTemperature",
        "nvmlDeviceGetMemoryInfo_v2",
        "nvmlDeviceGetClockInfo",
        "nvmlDeviceGetFanSpeed_v2",
    }
    assert library.calls.total() == 8


def test_what_a_gpu_does_not_support_is_asked_once(backend: NvmlBackend, library: FakeNvml) -> None:
    library.gpus[0].faults["nvmlDeviceGetPowerUsage"] = fake_nvml.NOT_SUPPORTED
    library.calls.clear()
    for _ in range(5):
        readings = backend.sample(FIRST).readings
        assert readings["power_draw_w"] == Unavailable("not reported by this GPU")
        assert readings["power_limit_w"] == 400.0
    assert library.calls["nvmlDeviceGetPowerUsage"] == 1
    backend.sample(SECOND)
    assert library.calls["nvmlDeviceGetPowerUsage"] == 2, "the other GPU is asked all the same"


@pytest.mark.parametrize(
    ("symbol", "older", "key", "value"),
    [
        (
            "nvmlDeviceGetMemoryInfo_v2",
            "nvmlDeviceGetMemoryInfo",
            "memory_used_bytes",
            5 * GIB + GIB // 2,
        ),
        ("nvmlDeviceGetFanSpeed_v2", "nvmlDeviceGetFanSpeed", "fan_speed_percent", 43),
        ("nvmlDeviceGetTemperature", "nvmlDeviceGetTemperatureV", "temperature_gpu_c", 71),
    ],
)
def test_a_library_without_a_symbol_is_asked_in_another_form(
    library: FakeNvml, symbol: str, older: str, key: str, value: float
) -> None:
    library.missing.add(symbol)
    backend = NvmlBackend()
    assert backend.probe().state is ProbeState.OK
    assert backend.gpus()[0].memory_total_bytes == 24 * GIB
    library.calls.clear()
    for _ in range(3):
        assert backend.sample(FIRST).readings[key] == value
    assert library.calls[older] == 3


def test_a_symbol_without_another_form_is_not_reported(library: FakeNvml) -> None:
    library.missing.add("nvmlDeviceGetEnforcedPowerLimit")
    backend = NvmlBackend()
    backend.probe()
    readings = backend.sample(FIRST).readings
    assert readings["power_limit_w"] == Unavailable("not reported by this GPU")
    assert readings["power_draw_w"] == 312.45


def test_a_reading_that_needs_rights_says_so_and_is_asked_again(
    backend: NvmlBackend, library: FakeNvml
) -> None:
    faults = library.gpus[0].faults
    faults["nvmlDeviceGetClockInfo"] = fake_nvml.NO_PERMISSION
    clock = backend.sample(FIRST).readings["clock_graphics_mhz"]
    assert isinstance(clock, Unavailable)
    assert "administrator" in clock.reason
    faults.clear()
    assert backend.sample(FIRST).readings["clock_graphics_mhz"] == 2520


def test_an_unknown_error_names_the_function_and_the_code(
    backend: NvmlBackend, library: FakeNvml
) -> None:
    library.gpus[0].faults["nvmlDeviceGetUtilizationRates"] = fake_nvml.UNKNOWN
    readings = backend.sample(FIRST).readings
    for key in ("utilization_gpu_percent", "utilization_memory_percent"):
        unknown = readings[key]
        assert isinstance(unknown, Unavailable)
        assert "nvmlDeviceGetUtilizationRates" in unknown.reason
        assert "999" in unknown.reason
    assert readings["temperature_gpu_c"] == 71


@pytest.mark.parametrize(
    ("power_mw", "reason"),
    [
        (593_000_000, "implausible: 593000 W"),
        (593_000_0, "implausible: 5930 W"),
        (2**32 - 1, "implausible: 4.29497e+06 W"),
        (901_000, "implausible: 901 W on a board of at most 450 W"),
    ],
)
def test_garbage_is_not_shown(
    backend: NvmlBackend, library: FakeNvml, power_mw: int, reason: str
) -> None:
    library.gpus[0].power_mw = power_mw
    assert backend.sample(FIRST).readings["power_draw_w"] == Unavailable(reason)


def test_a_board_below_zero_is_not_four_billion_degrees(
    backend: NvmlBackend, library: FakeNvml
) -> None:
    library.gpus[0].temperature_c = -5
    reading = backend.sample(FIRST).readings["temperature_gpu_c"]
    assert reading == Unavailable("implausible: 4.29497e+09 °C")


@pytest.mark.parametrize(
    ("code", "word"), [(fake_nvml.GPU_IS_LOST, "bus"), (fake_nvml.RESET_REQUIRED, "reset")]
)
def test_a_lost_gpu_is_reasons_and_comes_back(
    backend: NvmlBackend, library: FakeNvml, clock: Clock, code: int, word: str
) -> None:
    library.gpus[0].gone = code
    (reason,) = reasons(backend.sample(FIRST))
    assert word in reason
    assert backend.sample(SECOND).readings["power_draw_w"] == 61.007

    clock.now_s += 1  # the next tick starts NVML over, in vain
    assert reasons(backend.sample(FIRST)) == {reason}
    assert backend.sample(SECOND).readings["power_draw_w"] == 61.007, "its handle was void"

    library.gpus[0].gone = fake_nvml.SUCCESS
    clock.now_s += 1
    assert backend.sample(FIRST).readings["power_draw_w"] == 312.45
    assert [gpu.id for gpu in backend.gpus()] == [FIRST, SECOND]
    assert library.started == 1, "NVML counts its users; we are one"


def test_nvml_is_not_started_over_with_every_tick(
    backend: NvmlBackend, library: FakeNvml, clock: Clock
) -> None:
    library.gpus[0].gone = fake_nvml.GPU_IS_LOST
    library.calls.clear()
    for _ in range(25):
        backend.sample(FIRST)
        backend.sample(SECOND)
        clock.now_s += 1
    assert library.calls["nvmlInitWithFlags"] == 3


def test_an_update_of_the_driver_is_told_until_the_reboot(
    backend: NvmlBackend, library: FakeNvml, clock: Clock
) -> None:
    library.gpus[0].gone = fake_nvml.GPU_IS_LOST
    backend.sample(FIRST)
    library.init_result = fake_nvml.LIB_RM_VERSION_MISMATCH
    for _ in range(3):
        clock.now_s += 1
        for gpu_id in (FIRST, SECOND):
            (reason,) = reasons(backend.sample(gpu_id))
            assert "updated; reboot" in reason
    library.init_result = library.gpus[0].gone = fake_nvml.SUCCESS
    clock.now_s += 10
    assert backend.sample(FIRST).readings["power_draw_w"] == 312.45
    assert backend.sample(SECOND).readings["power_draw_w"] == 61.007


@pytest.mark.parametrize(
    ("code", "error", "words"),
    [
        (fake_nvml.LIB_RM_VERSION_MISMATCH, DriverMismatch, "driver was updated; reboot"),
        (fake_nvml.NO_PERMISSION, PermissionDenied, "administrator"),
        (fake_nvml.UNKNOWN, BackendError, "nvmlInit: NVML error 999"),
    ],
)
def test_a_driver_that_does_not_work_is_an_error(
    library: FakeNvml, code: int, error: type[BackendError], words: str
) -> None:
    library.init_result = code
    with pytest.raises(error, match=words):
        NvmlBackend().probe()


def test_no_library_is_absence_and_not_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    import pynvml

    def no_library(name: str) -> Any:
        raise OSError(f"{name}: cannot open shared object file")

    fake_nvml.install(monkeypatch, FakeNvml())
    monkeypatch.setattr(pynvml, "nvmlLib", None)
    monkeypatch.setattr(pynvml, "CDLL", no_library)
    backend = NvmlBackend()
    result = backend.probe()
    assert result.state is ProbeState.ABSENT
    assert result.reason.startswith("no NVIDIA driver on this machine (")
    assert backend.gpus() == ()
    backend.close()


def test_an_absent_driver_is_looked_for_without_loading_it(
    library: FakeNvml, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = False
    monkeypatch.setattr(nvml, "_driver_is_loaded", lambda: loaded)
    library.init_result = fake_nvml.DRIVER_NOT_LOADED
    backend = NvmlBackend()
    for _ in range(3):
        assert backend.probe().state is ProbeState.ABSENT
    assert library.calls["nvmlInitWithFlags"] == 1

    loaded, library.init_result = True, fake_nvml.SUCCESS
    assert backend.probe().state is ProbeState.OK
    assert len(backend.gpus()) == 2


def test_a_driver_without_a_gpu_is_absent_and_let_go(library: FakeNvml) -> None:
    library.gpus.clear()
    result = NvmlBackend().probe()
    assert (result.state, result.reason) == (ProbeState.ABSENT, "the NVIDIA driver sees no GPU")
    assert library.started == 0


def test_a_gpu_lost_from_the_start_is_named_beside_the_others(library: FakeNvml) -> None:
    library.gpus[0].gone = fake_nvml.GPU_IS_LOST
    backend = NvmlBackend()
    result = backend.probe()
    assert result.state is ProbeState.OK
    assert result.reason.startswith("GPU 0: the GPU fell off the bus")
    assert [gpu.id for gpu in backend.gpus()] == [SECOND]


def test_only_lost_gpus_are_a_failure(library: FakeNvml) -> None:
    for gpu in library.gpus:
        gpu.gone = fake_nvml.RESET_REQUIRED
    result = NvmlBackend().probe()
    assert result.state is ProbeState.FAILED
    assert "GPU 1: the GPU needs a reset" in result.reason
    assert library.started == 0


def test_a_gpu_that_states_nothing_still_is_a_gpu(library: FakeNvml) -> None:
    for symbol in (
        "nvmlDeviceGetMemoryInfo_v2",
        "nvmlDeviceGetMemoryInfo",
        "nvmlDeviceGetPowerManagementLimitConstraints",
        "nvmlDeviceGetTemperatureThreshold",
        "nvmlDeviceGetMaxClockInfo",
    ):
        library.gpus[0].faults[symbol] = fake_nvml.NOT_SUPPORTED
    backend = NvmlBackend()
    backend.probe()
    first = backend.gpus()[0]
    assert (first.memory_total_bytes, first.limits) == (None, {})
    memory = backend.sample(FIRST).readings["memory_used_bytes"]
    assert memory == Unavailable("not reported by this GPU")


def test_close_lets_the_driver_go(backend: NvmlBackend, library: FakeNvml) -> None:
    backend.close()
    assert (library.started, backend.gpus()) == (0, ())
    assert backend.probe().state is ProbeState.OK
    assert library.started == 1
