"""AMD GPUs from recorded sysfs: who they are, and the traps of their files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gpupanel.backends.amdgpu import AmdgpuBackend
from gpupanel.backends.base import ProbeState
from gpupanel.model.gpu import Unavailable
from gpupanel.model.metrics import METRICS
from tests.backends.amd_rig import Rig, sample_of, sensor


def test_a_machine_without_amd_is_one_listing(tmp_path: Path) -> None:
    result = AmdgpuBackend(tmp_path).probe()
    assert (result.state, result.reason) == (ProbeState.ABSENT, "no amdgpu driver is loaded")
    (tmp_path / "sys/bus/pci/drivers/amdgpu").mkdir(parents=True)
    (tmp_path / "sys/bus/pci/drivers/amdgpu/bind").touch()
    assert AmdgpuBackend(tmp_path).probe().reason == "no GPU is driven by amdgpu"


def test_identity(amd_rig: Rig, tmp_path: Path) -> None:
    backend, device = amd_rig("rx7800xt")
    (tmp_path / "proc/sys/kernel").mkdir(parents=True)
    (tmp_path / "proc/sys/kernel/osrelease").write_text("6.12.3\n")
    backend.probe()
    (gpu,) = backend.gpus()
    assert gpu.id == "pci:0000:03:00.0"
    assert gpu.pci_bus_id == "00000000:03:00.0"
    assert (gpu.vendor, gpu.name) == ("AMD", "AMD GPU 1002:747e")
    assert gpu.driver_version == "6.12.3"
    assert gpu.details["Power limit"] == "212 to 280 W"
    (device / "product_name").write_text("AMD Radeon RX 7800 XT\n")
    backend.probe()
    assert backend.gpus()[0].name == "AMD Radeon RX 7800 XT"


def test_a_whole_card_reports_all_that_the_table_promises(amd_rig: Rig) -> None:
    backend, device = amd_rig("rx6900xt")
    (device / "vcn_busy_percent").write_text("7\n")
    sensor(device, "power1_input").write_text("35000000\n")
    promised = {metric.key for metric in METRICS if "amdgpu" in metric.sources}
    # Only tables of accelerators count energy in a documented unit.
    assert set(sample_of(backend).as_json()["metrics"]) == promised - {"energy_j"}


def test_two_power_limits_of_a_handheld(amd_rig: Rig) -> None:
    backend, _ = amd_rig("vangogh")
    metrics = sample_of(backend).as_json()["metrics"]
    assert (metrics["power_draw_w"], metrics["power_limit_w"]) == (3.218, 15)
    assert backend.gpus()[0].details["Power limit"] == "up to 29 W; 15 W for short loads"
    assert metrics["clock_memory_mhz"] == 687  # two levels are active, of the same clock


def test_a_limit_that_cannot_be_set_is_told(amd_rig: Rig) -> None:
    backend, device = amd_rig("rx7700s")
    sensor(device, "power1_cap_max").write_text("100000000\n")
    backend.probe()
    assert backend.gpus()[0].details["Power limit"] == "fixed at 100 W"


def test_the_newest_drivers_have_instant_power_only(amd_rig: Rig) -> None:
    backend, device = amd_rig("rx7800xt")
    sensor(device, "power1_average").rename(sensor(device, "power1_input"))
    readings = sample_of(backend).readings
    assert readings["power_draw_w"] == readings["power_draw_instant_w"] == 32


def test_memory_of_an_integrated_gpu_includes_what_it_borrows(amd_rig: Rig) -> None:
    backend, device = amd_rig("strixpoint")
    own, borrowed = (
        int((device / f"mem_info_{kind}_total").read_text()) for kind in ("vram", "gtt")
    )
    assert sample_of(backend).readings["memory_total_bytes"] == own + borrowed
    assert backend.gpus()[0].memory_total_bytes == own + borrowed


def test_hundredths_of_percent(amd_rig: Rig) -> None:
    backend, device = amd_rig("rx580")
    busy = device / "gpu_busy_percent"
    seen = []
    for text in ("64", "6400", "50"):
        busy.write_text(text)
        seen.append(sample_of(backend).readings["utilization_gpu_percent"])
    assert seen == [64, 64, 0.5]


@pytest.mark.parametrize(
    ("file", "text", "key"),
    [
        ("temp1_input", "65535000", "temperature_gpu_c"),
        ("temp1_input", "-273150", "temperature_gpu_c"),
        ("temp2_input", "0", "temperature_hotspot_c"),
        ("fan1_input", "65535", "fan_speed_rpm"),
        ("power1_average", "4294967295000", "power_draw_w"),
        ("power1_average", "", "power_draw_w"),
    ],
)
def test_sentinels_are_no_readings(amd_rig: Rig, file: str, text: str, key: str) -> None:
    backend, device = amd_rig("rx7900xtx")
    sensor(device, file).write_text(text)
    reading = sample_of(backend).readings[key]
    assert isinstance(reading, Unavailable)
    assert reading.reason


def test_without_hwmon_clocks_come_from_levels_and_the_rest_from_the_table(
    amd_rig: Rig,
) -> None:
    backend, device = amd_rig("rx6900xt")
    next(device.glob("hwmon/hwmon*")).rename(device / "away")
    metrics = sample_of(backend).as_json()["metrics"]
    assert (metrics["clock_graphics_mhz"], metrics["clock_memory_mhz"]) == (500, 1000)
    assert (metrics["temperature_gpu_c"], metrics["voltage_mv"]) == (56, 775)
    assert "power_draw_w" not in metrics


def test_the_link_is_that_of_the_slot(amd_rig: Rig) -> None:
    backend, device = amd_rig("rx7800xt")
    switch = device.resolve().parent
    for name, text in {
        "vendor": "0x1002\n",
        "class": "0x060400\n",
        "current_link_speed": "8.0 GT/s PCIe\n",
        "current_link_width": "4\n",
    }.items():
        (switch / name).write_text(text)
    readings = sample_of(backend).readings
    assert (readings["pcie_link_generation"], readings["pcie_link_width"]) == (3, 4)


def test_replays_are_counted_at_their_pace(amd_rig: Rig) -> None:
    _, device = amd_rig("rx580")
    now_s = [0.0]
    backend = AmdgpuBackend(device.parents[4].parent, clock_s=lambda: now_s[0])
    assert sample_of(backend).readings["pcie_replay_count"] == 3
    (device / "pcie_replay_count").write_text("9")
    assert sample_of(backend).readings["pcie_replay_count"] == 3
    now_s[0] = 10.0
    assert sample_of(backend).readings["pcie_replay_count"] == 9


def test_limits_are_named(amd_rig: Rig) -> None:
    backend, device = amd_rig("rx7800xt")
    table = bytearray((device / "gpu_metrics").read_bytes())
    table[112:120] = (1 << 36 | 1).to_bytes(8, "little")
    (device / "gpu_metrics").write_bytes(table)
    assert sample_of(backend).limited_by == ("power_cap",)  # RDNA 3: bit 36 is masked


def test_the_hotspot_of_other_chips_is_believed(amd_rig: Rig) -> None:
    backend, device = amd_rig("rx6900xt")
    table = bytearray((device / "gpu_metrics").read_bytes())
    table[112:120] = (1 << 36).to_bytes(8, "little")
    (device / "gpu_metrics").write_bytes(table)
    assert sample_of(backend).limited_by == ("thermal",)


@pytest.mark.parametrize("width", ["0", "63", "255", "x"])
def test_a_link_that_is_not_known_has_no_width(amd_rig: Rig, width: str) -> None:
    backend, device = amd_rig("rx6900xt")
    (device / "current_link_width").write_text(width)
    (device / "current_link_speed").write_text("Unknown")
    readings = sample_of(backend).readings
    assert isinstance(readings["pcie_link_width"], Unavailable)
    assert isinstance(readings["pcie_link_generation"], Unavailable)


def test_strix_is_limited_while_its_counters_grow(amd_rig: Rig) -> None:
    backend, device = amd_rig("strixpoint")
    assert isinstance(sample_of(backend).limited_by, Unavailable)
    assert sample_of(backend).limited_by == ()
    table = bytearray((device / "gpu_metrics").read_bytes())
    table[236:240] = (10**6).to_bytes(4, "little")
    (device / "gpu_metrics").write_bytes(table)
    assert sample_of(backend).limited_by == ("power_cap",)
    assert sample_of(backend).limited_by == ()


def test_the_bandwidth_that_blocks_is_never_read(
    amd_rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend, device = amd_rig("vega56")
    assert (device / "pcie_bw").exists()
    opened = []
    real = os.open

    def noted(path: str, *rest: int) -> int:
        opened.append(str(path))
        return real(path, *rest)

    monkeypatch.setattr(os, "open", noted)
    sample_of(backend)
    assert any(path.endswith("gpu_busy_percent") for path in opened)
    assert not any("pcie_bw" in path or "/dev/" in path for path in opened)
