"""AMD GPUs from recorded sysfs: the traps of their files, sleep, loss, arbitrary bytes."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gpupanel.backends.amdgpu import AmdgpuBackend
from gpupanel.backends.base import ProbeState
from gpupanel.backends.linux.amdgpu_tables import active_mhz, overdrive_most_mhz, parse_dpm
from gpupanel.backends.linux.sleep import ASLEEP_REASON
from gpupanel.model.gpu import GpuState, Sample, Unavailable
from gpupanel.model.limits import LIMIT_BY_NAME
from gpupanel.model.metrics import METRIC_BY_KEY, METRICS

Rig = Callable[[str], tuple[AmdgpuBackend, Path]]


@pytest.fixture
def rig(recorded_card: Callable[[str], Path], sysfs_of: Callable[..., Path]) -> Rig:
    """``rig("rx580")``: an unprobed backend on that card, and the card's folder."""

    def made(card: str) -> tuple[AmdgpuBackend, Path]:
        root = sysfs_of(recorded_card(f"amd-{card}"))
        (device,) = (root / "sys/bus/pci/drivers/amdgpu").iterdir()
        return AmdgpuBackend(root, clock_s=lambda: 0.0, clock_unix_s=lambda: 1000.0), device

    return made


def _sample(backend: AmdgpuBackend) -> Sample:
    if not backend.gpus():
        assert backend.probe().state is ProbeState.OK
    (gpu,) = backend.gpus()
    return backend.sample(gpu.id)


def _sensor(device: Path, name: str) -> Path:
    return next(device.glob("hwmon/hwmon*")) / name


def _refuse(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def refuse(*_: int) -> bytes:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "pread", refuse)


def test_a_machine_without_amd_is_one_listing(tmp_path: Path) -> None:
    result = AmdgpuBackend(tmp_path).probe()
    assert (result.state, result.reason) == (ProbeState.ABSENT, "the amdgpu driver is not loaded")
    (tmp_path / "sys/bus/pci/drivers/amdgpu").mkdir(parents=True)
    (tmp_path / "sys/bus/pci/drivers/amdgpu/bind").touch()
    assert AmdgpuBackend(tmp_path).probe().reason == "the amdgpu driver holds no GPU"


def test_identity(rig: Rig, tmp_path: Path) -> None:
    backend, device = rig("rx7800xt")
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


def test_a_whole_card_reports_all_that_the_table_promises(rig: Rig) -> None:
    backend, device = rig("rx6900xt")
    (device / "vcn_busy_percent").write_text("7\n")
    _sensor(device, "power1_input").write_text("35000000\n")
    promised = {metric.key for metric in METRICS if "amdgpu" in metric.sources}
    # Only tables of accelerators count energy in a documented unit.
    assert set(_sample(backend).as_json()["metrics"]) == promised - {"energy_j"}


def test_two_power_limits_of_a_handheld(rig: Rig) -> None:
    backend, _ = rig("vangogh")
    metrics = _sample(backend).as_json()["metrics"]
    assert (metrics["power_draw_w"], metrics["power_limit_w"]) == (3.218, 15)
    assert backend.gpus()[0].details["Power limit"] == "up to 29 W; 15 W for short loads"
    assert metrics["clock_memory_mhz"] == 687  # two levels are active, of the same clock


def test_a_limit_that_cannot_be_set_is_told(rig: Rig) -> None:
    backend, device = rig("rx7700s")
    _sensor(device, "power1_cap_max").write_text("100000000\n")
    backend.probe()
    assert backend.gpus()[0].details["Power limit"] == "fixed at 100 W"


def test_the_newest_drivers_have_instant_power_only(rig: Rig) -> None:
    backend, device = rig("rx7800xt")
    _sensor(device, "power1_average").rename(_sensor(device, "power1_input"))
    readings = _sample(backend).readings
    assert readings["power_draw_w"] == readings["power_draw_instant_w"] == 32


def test_memory_of_an_integrated_gpu_includes_what_it_borrows(rig: Rig) -> None:
    backend, device = rig("strixpoint")
    own, borrowed = (
        int((device / f"mem_info_{kind}_total").read_text()) for kind in ("vram", "gtt")
    )
    assert _sample(backend).readings["memory_total_bytes"] == own + borrowed
    assert backend.gpus()[0].memory_total_bytes == own + borrowed


def test_hundredths_of_percent(rig: Rig) -> None:
    backend, device = rig("rx580")
    busy = device / "gpu_busy_percent"
    seen = []
    for text in ("64", "6400", "50"):
        busy.write_text(text)
        seen.append(_sample(backend).readings["utilization_gpu_percent"])
    assert seen == [64, 64, 0.5]


@pytest.mark.parametrize(
    ("sensor", "text", "key"),
    [
        ("temp1_input", "65535000", "temperature_gpu_c"),
        ("temp1_input", "-273150", "temperature_gpu_c"),
        ("temp2_input", "0", "temperature_hotspot_c"),
        ("fan1_input", "65535", "fan_speed_rpm"),
        ("power1_average", "4294967295000", "power_draw_w"),
        ("power1_average", "", "power_draw_w"),
    ],
)
def test_sentinels_are_no_readings(rig: Rig, sensor: str, text: str, key: str) -> None:
    backend, device = rig("rx7900xtx")
    _sensor(device, sensor).write_text(text)
    reading = _sample(backend).readings[key]
    assert isinstance(reading, Unavailable)
    assert reading.reason


def test_without_hwmon_clocks_come_from_the_levels_and_the_rest_from_the_table(rig: Rig) -> None:
    backend, device = rig("rx6900xt")
    next(device.glob("hwmon/hwmon*")).rename(device / "away")
    metrics = _sample(backend).as_json()["metrics"]
    assert (metrics["clock_graphics_mhz"], metrics["clock_memory_mhz"]) == (500, 1000)
    assert (metrics["temperature_gpu_c"], metrics["voltage_mv"]) == (56, 775)
    assert "power_draw_w" not in metrics


def test_the_link_is_that_of_the_slot(rig: Rig) -> None:
    backend, device = rig("rx7800xt")
    switch = device.resolve().parent
    for name, text in {
        "vendor": "0x1002\n",
        "class": "0x060400\n",
        "current_link_speed": "8.0 GT/s PCIe\n",
        "current_link_width": "4\n",
    }.items():
        (switch / name).write_text(text)
    readings = _sample(backend).readings
    assert (readings["pcie_link_generation"], readings["pcie_link_width"]) == (3, 4)


def test_replays_are_counted_at_their_pace(rig: Rig) -> None:
    _, device = rig("rx580")
    now_s = [0.0]
    backend = AmdgpuBackend(device.parents[4].parent, clock_s=lambda: now_s[0])
    assert _sample(backend).readings["pcie_replay_count"] == 3
    (device / "pcie_replay_count").write_text("9")
    assert _sample(backend).readings["pcie_replay_count"] == 3
    now_s[0] = 10.0
    assert _sample(backend).readings["pcie_replay_count"] == 9


def test_limits_are_named(rig: Rig) -> None:
    backend, device = rig("rx7800xt")
    table = bytearray((device / "gpu_metrics").read_bytes())
    table[112:120] = (1 << 36 | 1).to_bytes(8, "little")
    (device / "gpu_metrics").write_bytes(table)
    assert _sample(backend).limited_by == ("power_cap",)  # RDNA 3: bit 36 is masked


def test_the_hotspot_of_other_chips_is_believed(rig: Rig) -> None:
    backend, device = rig("rx6900xt")
    table = bytearray((device / "gpu_metrics").read_bytes())
    table[112:120] = (1 << 36).to_bytes(8, "little")
    (device / "gpu_metrics").write_bytes(table)
    assert _sample(backend).limited_by == ("thermal",)


@pytest.mark.parametrize("width", ["0", "63", "255", "x"])
def test_a_link_that_is_not_known_has_no_width(rig: Rig, width: str) -> None:
    backend, device = rig("rx6900xt")
    (device / "current_link_width").write_text(width)
    (device / "current_link_speed").write_text("Unknown")
    readings = _sample(backend).readings
    assert isinstance(readings["pcie_link_width"], Unavailable)
    assert isinstance(readings["pcie_link_generation"], Unavailable)


def test_strix_is_limited_while_its_counters_grow(rig: Rig) -> None:
    backend, device = rig("strixpoint")
    assert isinstance(_sample(backend).limited_by, Unavailable)
    assert _sample(backend).limited_by == ()
    table = bytearray((device / "gpu_metrics").read_bytes())
    table[236:240] = (10**6).to_bytes(4, "little")
    (device / "gpu_metrics").write_bytes(table)
    assert _sample(backend).limited_by == ("power_cap",)
    assert _sample(backend).limited_by == ()


def test_the_bandwidth_that_blocks_is_never_read(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    backend, device = rig("vega56")
    assert (device / "pcie_bw").exists()
    opened = []
    real = os.open

    def noted(path: str, *rest: int) -> int:
        opened.append(str(path))
        return real(path, *rest)

    monkeypatch.setattr(os, "open", noted)
    _sample(backend)
    assert any(path.endswith("gpu_busy_percent") for path in opened)
    assert not any("pcie_bw" in path or "/dev/" in path for path in opened)


_COUNT_OPENS = """
import json, os, sys
from pathlib import Path
from gpupanel.backends.amdgpu import AmdgpuBackend

root, was_awake = Path(sys.argv[1]), sys.argv[2] == "awake"
(device,) = (root / "sys/bus/pci/drivers/amdgpu").iterdir()
status = device / "power/runtime_status"
status.write_text("active" if was_awake else "suspended")
backend = AmdgpuBackend(root)
backend.probe()
(gpu,) = backend.gpus()
backend.sample(gpu.id)
status.write_text("suspended")
seen = []
sys.addaudithook(
    lambda event, arguments: seen.append(str(arguments[0]))
    if event in {"open", "os.listdir", "os.scandir"} else None
)
pread = os.pread
os.pread = lambda *rest: seen.append("pread") or pread(*rest)
states = {backend.sample(gpu.id).state.value for _ in range(60)}
print(json.dumps({"states": sorted(states), "seen": seen, "status": str(status)}))
"""


@pytest.mark.parametrize("before", ["awake", "asleep"])
def test_a_suspended_gpu_is_asked_for_its_power_state_and_nothing_else(
    rig: Rig, tmp_path: Path, before: str
) -> None:
    rig("rx6900xt")
    done = subprocess.run(
        [sys.executable, "-c", _COUNT_OPENS, str(tmp_path), before],
        capture_output=True, text=True, check=True, timeout=60,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )  # fmt: skip
    told = json.loads(done.stdout)
    assert told["states"] == ["asleep"]
    opened = [path for path in told["seen"] if path == "pread" or path.startswith(str(tmp_path))]
    assert len(opened) == 60
    assert {Path(path).name for path in opened} == {"runtime_status"}


def _could_sleep(device: Path, load: str) -> None:
    for name, text in {
        "power/control": "auto\n",
        "power/runtime_status": "active\n",
        "power/autosuspend_delay_ms": "5000\n",
        "gpu_busy_percent": load,
    }.items():
        (device / name).write_text(text)


def _seconds_read(device: Path, seconds: int) -> list[int]:
    """In which of ``seconds`` the card was read."""
    now_s = [0.0]
    backend = AmdgpuBackend(device.parents[4].parent, clock_s=lambda: now_s[0])
    read = []
    for second in range(seconds):
        now_s[0] = float(second)
        sample = _sample(backend)
        assert sample.state is GpuState.ACTIVE
        reading = sample.readings["power_draw_w"]
        if not isinstance(reading, Unavailable):
            read.append(second)
        else:
            assert "left alone" in reading.reason
    return read


def test_an_idle_card_gets_the_time_to_fall_asleep(rig: Rig) -> None:
    _, device = rig("rx6900xt")
    _could_sleep(device, "0\n")
    # The kernel waits 5 s for a read before it lets the card sleep: the pause is longer.
    # It stayed awake all the same, so somebody else holds it, and no second pause would help.
    assert _seconds_read(device, 200) == [*range(61), *range(70, 200)]


@pytest.mark.parametrize("reason", ["works", "shows a picture", "is kept awake"])
def test_a_card_that_cannot_sleep_is_read_all_the_time(rig: Rig, reason: str) -> None:
    _, device = rig("rx6900xt")
    _could_sleep(device, "3\n" if reason == "works" else "0\n")
    if reason == "shows a picture":
        (device / "drm/card0/card0-DP-1").mkdir()
        (device / "drm/card0/card0-DP-1/enabled").write_text("enabled\n")
    if reason == "is kept awake":
        (device / "power/control").write_text("on\n")
    assert _seconds_read(device, 100) == list(range(100))


def test_a_card_that_slept_is_known_in_full_once_awake(rig: Rig) -> None:
    backend, device = rig("rx6900xt")
    (device / "power/runtime_status").write_text("suspended\n")
    sample = _sample(backend)
    assert (sample.state, sample.state_since_unix_s) == (GpuState.ASLEEP, 1000.0)
    assert set(sample.readings.values()) == {Unavailable(ASLEEP_REASON)}
    assert backend.gpus()[0].limits == {}
    (device / "power/runtime_status").write_text("active\n")
    assert _sample(backend).state is GpuState.ACTIVE
    assert backend.gpus()[0].limits["power_limit_w"] == 332


def test_a_driver_that_will_not_wake_the_card_means_asleep(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend, _ = rig("rx7800xt")
    assert _sample(backend).state is GpuState.ACTIVE
    _refuse(monkeypatch, errno.EPERM)
    sample = _sample(backend)
    assert sample.state is GpuState.ASLEEP
    assert set(sample.readings.values()) == {Unavailable(ASLEEP_REASON)}


def test_a_card_that_is_gone_is_lost_and_comes_back(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend, device = rig("rx7800xt")
    assert _sample(backend).state is GpuState.ACTIVE
    with monkeypatch.context() as gone:
        _refuse(gone, errno.ENODEV)
        (device / "driver").rename(device / "no-driver")
        for _ in range(2):
            sample = _sample(backend)
            assert (sample.state, sample.state_since_unix_s) == (GpuState.LOST, 1000.0)
    (device / "no-driver").rename(device / "driver")
    sample = _sample(backend)
    assert sample.state is GpuState.ACTIVE
    assert sample.readings["power_draw_w"] == 32


def test_one_tick_opens_nothing_after_the_first(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    backend, _ = rig("rx6900xt")
    _sample(backend)
    monkeypatch.setattr(os, "open", lambda path, *_: pytest.fail(f"opened {path}"))
    assert _sample(backend).readings["power_draw_w"] == 36


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
    rig: Rig, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
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
    sample = _sample(backend)
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
    (device / "hwmon/hwmon1").mkdir(parents=True)
    (device / "hwmon/hwmon1/name").write_text("amdgpu")
    driver = root / "sys/bus/pci/drivers/amdgpu"
    driver.mkdir(parents=True)
    (device / "driver").symlink_to(driver)
    (driver / device.name).symlink_to(device)


def _fuzzed_sensors(device: Path) -> list[str]:
    names = ("temp1_input", "power1_average", "power1_cap_max", "freq1_input", "fan1_max", "pwm1")
    return [f"hwmon/hwmon1/{name}" for name in (*names, "temp1_label", "in1_label")]
