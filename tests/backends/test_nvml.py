"""The NVML backend through the real pynvml, on a double of the C library (nvml_double.c)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gpupanel.backends import nvml
from gpupanel.backends.base import ProbeState
from gpupanel.backends.nvml import NvmlBackend
from gpupanel.model.errors import BackendError, DriverMismatch, PermissionDenied
from gpupanel.model.gpu import GpuKind, GpuState, Sample, Unavailable
from gpupanel.model.metrics import METRIC_BY_KEY
from tests.backends import nvml_double
from tests.backends.nvml_double import ANY_CALL, GIB, NvmlDouble

FIRST = "GPU-8f1c2a4e-0d5b-4f1e-9d9a-000000000001"
SECOND = "GPU-8f1c2a4e-0d5b-4f1e-9d9a-000000000002"


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> NvmlDouble:
    return nvml_double.install(monkeypatch)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def backend(library: NvmlDouble, clock: Clock, tmp_path: Path) -> NvmlBackend:
    backend = NvmlBackend(clock, tmp_path / "no sysfs")
    assert backend.probe().state is ProbeState.OK
    return backend


def reasons(sample: Sample) -> set[str]:
    """Why nothing of it is known; fails when anything is."""
    assert sample.state is GpuState.LOST
    assert sample.state_since_unix_s is not None
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
    assert second.pci_bus_id == "00000000:21:00.0"
    assert first.memory_total_bytes == 24 * GIB
    assert first.limits == {
        "power_limit_w": 450.0,
        "temperature_gpu_c": 88.0,
        "clock_graphics_mhz": 3105.0,
        "clock_memory_mhz": 10501.0,
        "clock_sm_mhz": 3105.0,
        "clock_video_mhz": 2415.0,
        "temperature_memory_c": 105.0,
        "memory_bar1_used_bytes": 32.0 * GIB,
        "pcie_link_generation": 4.0,
        "pcie_link_width": 16.0,
    }
    assert first.details == {
        "VBIOS": "95.02.3C.00.91",
        "CUDA compute capability": "8.9",
        "ECC": "on",
        "MIG": "off",
        "Greatest PCIe link": "4.0 × 16",
        "BAR1": "32 GiB",
        "Power limit range": "150 to 450 W",
        "Target temperature": "84 °C",
        "Slowdown temperature": "88 °C",
        "Shutdown temperature": "96 °C",
        "Fans": "2, automatic",
    }


def test_a_sample_holds_every_metric_in_its_unit(backend: NvmlBackend, clock: Clock) -> None:
    backend.sample(FIRST)
    clock.now_s += 1
    sample = backend.sample(FIRST)
    assert sample.state is GpuState.ACTIVE
    assert {k: v for k, v in sample.readings.items() if not isinstance(v, Unavailable)} == {
        "utilization_gpu_percent": 97,
        "utilization_memory_percent": 61,
        "utilization_encoder_percent": 12,
        "utilization_decoder_percent": 7,
        "utilization_jpeg_percent": 3,
        "utilization_optical_flow_percent": 2,
        "power_draw_w": 312.45,
        "power_draw_average_w": 305.0,
        "power_draw_instant_w": 318.0,
        "power_limit_w": 400.0,
        "power_limit_requested_w": 420.0,
        "power_limit_default_w": 450.0,
        "energy_j": 123456.789,
        "temperature_gpu_c": 71,
        "temperature_memory_c": 64,
        "memory_used_bytes": 5 * GIB,
        "memory_total_bytes": 24 * GIB,
        "memory_bar1_used_bytes": 300 << 20,
        "clock_graphics_mhz": 2520,
        "clock_memory_mhz": 10501,
        "clock_sm_mhz": 2520,
        "clock_video_mhz": 1980,
        "performance_state": 2,
        "fan_speed_percent": 43,
        "fan_speed_rpm": 1310,
        "pcie_link_generation": 4,
        "pcie_link_width": 16,
        "pcie_rx_bytes_per_s": 0,
        "pcie_tx_bytes_per_s": 0,
        "nvlink_rx_bytes_per_s": 0,
        "nvlink_tx_bytes_per_s": 0,
        "pcie_replay_count": 5,
        "ecc_corrected_count": 11,
        "ecc_uncorrected_count": 1,
        "remapped_rows_count": 4,
        "retired_pages_count": 3,
    }
    assert sample.limited_by == ("power_cap",)
    assert sample.limited_s == {
        "power_cap": 7.0,
        "thermal": 2.0,
        "sync_boost": 1.0,
        "hardware_slowdown": 0.25,
        "power_brake": 0.125,
    }


def test_gpus_do_not_share_readings(backend: NvmlBackend) -> None:
    second = backend.sample(SECOND).readings
    assert second["power_draw_w"] == 61.007
    assert second["fan_speed_percent"] == Unavailable("not reported by this GPU")
    assert backend.sample(FIRST).readings["fan_speed_percent"] == 43


def test_the_call_that_sleeps_is_never_made(backend: NvmlBackend, library: NvmlDouble) -> None:
    for _ in range(3):
        backend.sample(FIRST)
    assert library.calls("nvmlDeviceGetPcieThroughput") == 0
    library.forget_calls()
    backend.sample(FIRST)
    assert library.calls("nvmlDeviceGetFieldValues") == 1, "all fields in one call"
    assert library.calls("nvmlDeviceGetTotalEccErrors") == 0, "counters have a slower pace"
    assert library.all_calls == 24


def test_what_a_gpu_does_not_support_is_asked_once(
    backend: NvmlBackend, library: NvmlDouble
) -> None:
    library.fail(0, "nvmlDeviceGetPowerUsage", nvml_double.NOT_SUPPORTED)
    library.forget_calls()
    for _ in range(5):
        readings = backend.sample(FIRST).readings
        assert readings["power_draw_w"] == Unavailable("not reported by this GPU")
        assert readings["power_limit_w"] == 400.0
    assert library.calls("nvmlDeviceGetPowerUsage") == 1
    backend.sample(SECOND)
    assert library.calls("nvmlDeviceGetPowerUsage") > 1, "the other GPU is asked all the same"


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
    library: NvmlDouble, symbol: str, older: str, key: str, value: float
) -> None:
    library.missing(symbol)
    backend = NvmlBackend()
    assert backend.probe().state is ProbeState.OK
    assert backend.gpus()[0].memory_total_bytes == 24 * GIB
    library.forget_calls()
    for _ in range(3):
        assert backend.sample(FIRST).readings[key] == value
    assert library.calls(older) == 3


def test_a_symbol_without_another_form_is_not_reported(library: NvmlDouble) -> None:
    library.missing("nvmlDeviceGetEnforcedPowerLimit")
    backend = NvmlBackend()
    backend.probe()
    readings = backend.sample(FIRST).readings
    assert readings["power_limit_w"] == Unavailable("not reported by this GPU")
    assert readings["power_draw_w"] == 312.45


def test_a_reading_that_needs_rights_says_so_and_is_asked_again(
    backend: NvmlBackend, library: NvmlDouble
) -> None:
    library.fail(0, "nvmlDeviceGetClockInfo", nvml_double.NO_PERMISSION)
    clock = backend.sample(FIRST).readings["clock_graphics_mhz"]
    assert isinstance(clock, Unavailable)
    assert "administrator" in clock.reason
    library.fail(0, "nvmlDeviceGetClockInfo", 0)
    assert backend.sample(FIRST).readings["clock_graphics_mhz"] == 2520


def test_an_unknown_error_names_the_function_and_the_code(
    backend: NvmlBackend, library: NvmlDouble
) -> None:
    library.fail(0, "nvmlDeviceGetUtilizationRates", nvml_double.UNKNOWN)
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
    backend: NvmlBackend, library: NvmlDouble, power_mw: int, reason: str
) -> None:
    library.set(0, power_mw=power_mw)
    assert backend.sample(FIRST).readings["power_draw_w"] == Unavailable(reason)


def test_a_board_below_zero_is_not_four_billion_degrees(
    backend: NvmlBackend, library: NvmlDouble
) -> None:
    library.set(0, temperature=-5)
    reading = backend.sample(FIRST).readings["temperature_gpu_c"]
    assert reading == -5


@pytest.mark.parametrize(
    ("code", "word"), [(nvml_double.GPU_IS_LOST, "bus"), (nvml_double.RESET_REQUIRED, "reset")]
)
def test_a_lost_gpu_is_reasons_and_comes_back(
    backend: NvmlBackend, library: NvmlDouble, clock: Clock, code: int, word: str
) -> None:
    library.set(0, gone=code)
    (reason,) = reasons(backend.sample(FIRST))
    assert word in reason
    assert backend.sample(SECOND).readings["power_draw_w"] == 61.007

    clock.now_s += 1  # the next tick starts NVML over, in vain
    assert reasons(backend.sample(FIRST)) == {reason}
    assert backend.sample(SECOND).readings["power_draw_w"] == 61.007, "its handle was void"

    library.set(0, gone=0)
    clock.now_s += 1
    assert backend.sample(FIRST).readings["power_draw_w"] == 312.45
    assert [gpu.id for gpu in backend.gpus()] == [FIRST, SECOND]
    assert library.users == 1, "NVML counts its users; we are one"


def test_nvml_is_not_started_over_with_every_tick(
    backend: NvmlBackend, library: NvmlDouble, clock: Clock
) -> None:
    library.set(0, gone=nvml_double.GPU_IS_LOST)
    library.forget_calls()
    for _ in range(25):
        backend.sample(FIRST)
        backend.sample(SECOND)
        clock.now_s += 1
    assert library.calls("nvmlInitWithFlags") == 3


def test_an_update_of_the_driver_is_told_until_the_reboot(
    backend: NvmlBackend, library: NvmlDouble, clock: Clock
) -> None:
    library.set(0, gone=nvml_double.GPU_IS_LOST)
    backend.sample(FIRST)
    library.fail(ANY_CALL, "nvmlInitWithFlags", nvml_double.LIB_RM_VERSION_MISMATCH)
    for _ in range(3):
        clock.now_s += 1
        for gpu_id in (FIRST, SECOND):
            (reason,) = reasons(backend.sample(gpu_id))
            assert "updated; reboot" in reason
    library.fail(ANY_CALL, "nvmlInitWithFlags", 0)
    library.set(0, gone=0)
    clock.now_s += 10
    assert backend.sample(FIRST).readings["power_draw_w"] == 312.45
    assert backend.sample(SECOND).readings["power_draw_w"] == 61.007


@pytest.mark.parametrize(
    ("code", "error", "words"),
    [
        (nvml_double.LIB_RM_VERSION_MISMATCH, DriverMismatch, "driver was updated; reboot"),
        (nvml_double.NO_PERMISSION, PermissionDenied, "administrator"),
        (nvml_double.UNKNOWN, BackendError, "nvmlInit: NVML error 999"),
    ],
)
def test_a_driver_that_does_not_work_is_an_error(
    library: NvmlDouble, code: int, error: type[BackendError], words: str
) -> None:
    library.fail(ANY_CALL, "nvmlInitWithFlags", code)
    with pytest.raises(error, match=words):
        NvmlBackend().probe()


def test_no_library_is_absence_and_not_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    import pynvml

    def no_library(name: str) -> Any:
        raise OSError(f"{name}: cannot open shared object file")

    nvml_double.install(monkeypatch)
    monkeypatch.setattr(pynvml, "nvmlLib", None)
    monkeypatch.setattr(pynvml, "CDLL", no_library)
    backend = NvmlBackend()
    result = backend.probe()
    assert result.state is ProbeState.ABSENT
    assert result.reason.startswith("no NVIDIA driver on this machine (")
    assert backend.gpus() == ()
    backend.close()


def test_an_absent_driver_is_looked_for_without_loading_it(
    library: NvmlDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = False
    monkeypatch.setattr(nvml, "_driver_is_loaded", lambda: loaded)
    library.fail(ANY_CALL, "nvmlInitWithFlags", nvml_double.DRIVER_NOT_LOADED)
    backend = NvmlBackend()
    for _ in range(3):
        assert backend.probe().state is ProbeState.ABSENT
    assert library.calls("nvmlInitWithFlags") == 1

    loaded = True
    library.fail(ANY_CALL, "nvmlInitWithFlags", 0)
    assert backend.probe().state is ProbeState.OK
    assert len(backend.gpus()) == 2


def test_a_driver_without_a_gpu_is_absent_and_let_go(library: NvmlDouble) -> None:
    library.lib.double_count(0)
    result = NvmlBackend().probe()
    assert (result.state, result.reason) == (ProbeState.ABSENT, "the NVIDIA driver sees no GPU")
    assert library.users == 0


def test_a_gpu_lost_from_the_start_is_named_beside_the_others(library: NvmlDouble) -> None:
    library.set(0, gone=nvml_double.GPU_IS_LOST)
    backend = NvmlBackend()
    result = backend.probe()
    assert result.state is ProbeState.OK
    assert result.reason.startswith("GPU 0: the GPU fell off the bus")
    assert [gpu.id for gpu in backend.gpus()] == [SECOND]


def test_only_lost_gpus_are_a_failure(library: NvmlDouble) -> None:
    for gpu in (0, 1):
        library.set(gpu, gone=nvml_double.RESET_REQUIRED)
    result = NvmlBackend().probe()
    assert result.state is ProbeState.FAILED
    assert "GPU 1: the GPU needs a reset" in result.reason
    assert library.users == 0


def test_a_gpu_that_states_nothing_still_is_a_gpu(library: NvmlDouble) -> None:
    for symbol in (
        "nvmlDeviceGetMemoryInfo_v2",
        "nvmlDeviceGetMemoryInfo",
        "nvmlDeviceGetPowerManagementLimitConstraints",
        "nvmlDeviceGetTemperatureThreshold",
        "nvmlDeviceGetMaxClockInfo",
        "nvmlDeviceGetBAR1MemoryInfo",
        "nvmlDeviceGetMaxPcieLinkGeneration",
        "nvmlDeviceGetMaxPcieLinkWidth",
    ):
        library.fail(0, symbol, nvml_double.NOT_SUPPORTED)
    backend = NvmlBackend()
    backend.probe()
    first = backend.gpus()[0]
    assert (first.memory_total_bytes, first.limits) == (None, {})
    memory = backend.sample(FIRST).readings["memory_used_bytes"]
    assert memory == Unavailable("not reported by this GPU")


def test_close_lets_the_driver_go(backend: NvmlBackend, library: NvmlDouble) -> None:
    backend.close()
    assert (library.users, backend.gpus()) == (0, ())
    assert backend.probe().state is ProbeState.OK
    assert library.users == 1
