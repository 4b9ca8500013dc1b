"""The tables of amdgpu, and arbitrary bytes in any of its files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gpupanel.backends.amdgpu import AmdgpuBackend
from gpupanel.backends.linux.amdgpu_tables import active_mhz, overdrive_most_mhz, parse_dpm
from gpupanel.model.gpu import Unavailable
from gpupanel.model.limits import LIMIT_BY_NAME
from gpupanel.model.metrics import METRIC_BY_KEY
from tests.backends.amd_rig import Rig, sample_of


@pytest.mark.parametrize(
    ("content", "names", "clock"),
    [
        (b"0: 300Mhz \n1: 0Mhz *\n2: 1900Mhz \n", "012", None),
        (b"S: 19Mhz *\n0: 615Mhz\n", "S0", 19),
        (b"1: 500MHz\n2: 800MHz *\n", "12", 800),
        (b"0: 96Mhz *\n1: 456Mhz *\n", "01", None),
        (b"0: 687Mhz *\n1: 687Mhz *\n", "01", 687),
        (b"\n", "", None),
        (b"0: 96Mhz *\n\0\0\0", "0", 96),
    ],
)
def test_levels(content: bytes, names: str, clock: int | None) -> None:
    levels = parse_dpm(content)
    assert "".join(level.name for level in levels) == names
    assert active_mhz(levels) == clock


@pytest.mark.parametrize(
    ("content", "core", "memory"),
    [
        (b"OD_SCLK:\n0: 500Mhz\n1: 2660Mhz\nOD_MCLK:\n0: 97Mhz\n1: 1300MHz\nOD_RANGE:\n"
         b"SCLK:     500Mhz       5000Mhz\n", 2660, 1300),
        (b"OD_SCLK_OFFSET:\n0Mhz\n\0\0\0\0OD_MCLK:\n0: 97Mhz\n1: 1259MHz\n\0\0OD_RANGE:\n",
         None, 1259),
        (b"OD_SCLK:\n0:        852Mhz        800mV\n7:       1590Mhz       1200mV\n", 1590, None),
        (b"r", None, None),
    ],
)  # fmt: skip
def test_overdrive_tables(content: bytes, core: int | None, memory: int | None) -> None:
    assert overdrive_most_mhz(content, "SCLK") == core
    assert overdrive_most_mhz(content, "MCLK") == memory


_LINES = st.lists(
    st.sampled_from([b"OD_SCLK:", b"OD_MCLK:", b"OD_RANGE:", b"0: 5Mhz *", b"S: 1mhz", b"\0\0"])
    | st.binary(max_size=30)
).map(b"\n".join)


@given(_LINES)
def test_arbitrary_tables_give_a_clock_or_none(content: bytes) -> None:
    for clock in (
        active_mhz(parse_dpm(content)),
        overdrive_most_mhz(content, "SCLK"),
        overdrive_most_mhz(content, "MCLK"),
    ):
        assert clock is None or 0 <= clock < 10**9


_FUZZED = (
    "gpu_busy_percent", "mem_busy_percent", "mem_info_vram_used", "mem_info_vram_total", "uevent",
    "pp_dpm_sclk", "pp_dpm_mclk", "pp_od_clk_voltage", "gpu_metrics", "current_link_speed",
    "current_link_width", "pcie_replay_count", "product_name", "vbios_version",
)  # fmt: skip


@settings(
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.data())
def test_arbitrary_files_give_readings_or_reasons(
    amd_rig: Rig, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    root = tmp_path_factory.getbasetemp() / "fuzzed"
    device = root / "sys/bus/pci/devices/0000:03:00.0"
    if not device.exists():
        _build(device, root)
    number = st.integers(-(2**70), 2**70).map(lambda value: str(value).encode())
    content = st.one_of(number, _LINES, st.binary(max_size=300))
    names = data.draw(st.lists(st.sampled_from([*_FUZZED, *_fuzzed_sensors(device)]), max_size=8))
    for name in names:
        (device / name).write_bytes(data.draw(content))
    backend = AmdgpuBackend(root)
    sample = sample_of(backend)
    assert set(sample.readings) == set(METRIC_BY_KEY)
    for key, reading in sample.readings.items():
        if isinstance(reading, Unavailable):
            assert reading.reason
        else:
            assert METRIC_BY_KEY[key].low <= reading <= METRIC_BY_KEY[key].high
    if not isinstance(sample.limited_by, Unavailable):
        assert set(sample.limited_by) <= set(LIMIT_BY_NAME)
    json.dumps([gpu.as_json() for gpu in backend.gpus()])
    backend.close()


def _build(device: Path, root: Path) -> None:
    for folder in ("hwmon/hwmon1", "drm/card0"):
        (device / folder).mkdir(parents=True)
    (device / "hwmon/hwmon1/name").write_text("amdgpu")
    driver = root / "sys/bus/pci/drivers/amdgpu"
    driver.mkdir(parents=True)
    (device / "driver").symlink_to(driver)
    (driver / device.name).symlink_to(device)


def _fuzzed_sensors(device: Path) -> list[str]:
    names = ("temp1_input", "power1_average", "power1_cap_max", "freq1_input", "fan1_max", "pwm1")
    return [f"hwmon/hwmon1/{name}" for name in (*names, "temp1_label", "in1_label")]
