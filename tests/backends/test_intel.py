from __future__ import annotations

import builtins
import io
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gpupanel.backends.base import ProbeState
from gpupanel.backends.intel import IntelBackend
from gpupanel.backends.rest import LEFT_ALONE
from gpupanel.model.gpu import GpuState, ProcessKind, Reading, Sample, Unavailable
from gpupanel.model.limits import LIMIT_BY_NAME
from gpupanel.model.metrics import METRIC_BY_KEY
from tests.backends.fake_proc import FakeProc

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="i915 and xe are Linux's")

XE = "pci:0000:08:00.0"
I915 = "pci:0000:0b:00.0"
B580 = "pci:0000:09:00.0"
INTEGRATED = "pci:0000:00:02.0"


class Clock:
    def __init__(self) -> None:
        self.now_s = 50.0

    def __call__(self) -> float:
        return self.now_s


class Machine:
    """Recorded cards in a sysfs that tests change, and a /proc."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.clock = Clock()
        self.proc = FakeProc(root / "proc")
        self.backend = IntelBackend(root, self.clock)

    def device(self, gpu_id: str) -> Path:
        return (self.root / "sys/bus/pci/devices" / gpu_id.removeprefix("pci:")).resolve()

    def put(self, gpu_id: str, file: str, text: str) -> None:
        path = self.device(gpu_id) / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def sample_after(self, span_s: float, gpu_id: str) -> Sample:
        self.clock.now_s += span_s
        return self.backend.sample(gpu_id)


@pytest.fixture
def machine(
    recorded_card: Callable[[str], Path], sysfs_of: Callable[..., Path]
) -> Iterator[Machine]:
    names = ("intel-cometlake", "intel-a380-xe", "intel-a380-i915", "intel-b580")
    made = Machine(sysfs_of(*(recorded_card(name) for name in names)))
    assert made.backend.probe().state is ProbeState.OK
    yield made
    made.backend.close()


def reason(reading: Reading) -> str:
    assert isinstance(reading, Unavailable)
    return reading.reason


class TestProbe:
    def test_gpus_are_known_by_their_address(self, machine: Machine) -> None:
        gpus = {gpu.id: gpu for gpu in machine.backend.gpus()}
        assert set(gpus) == {XE, I915, B580, INTEGRATED}
        assert gpus[XE].pci_bus_id == "00000000:08:00.0"
        assert gpus[XE].vendor == "Intel"
        assert gpus[XE].limits == {"clock_graphics_mhz": 2450}

    def test_the_name_is_the_one_of_the_systems_list(self, machine: Machine) -> None:
        ids = machine.root / "usr/share/misc/pci.ids"
        ids.parent.mkdir(parents=True)
        ids.write_text("8086  Intel Corporation\n\t56a5  DG2 [Arc A380]\n")
        machine.backend.probe()
        names = {gpu.id: gpu.name for gpu in machine.backend.gpus()}
        assert names[XE] == "Arc A380"
        assert names[B580] == "Intel GPU 8086:e20b"

    def test_a_machine_without_the_drivers_is_a_usual_machine(self, tmp_path: Path) -> None:
        backend = IntelBackend(tmp_path)
        result = backend.probe()
        assert result.state is ProbeState.ABSENT
        assert result.reason == "no i915 or xe driver is loaded"
        assert backend.gpus() == ()
        assert backend.processes() == ()


class TestReadings:
    def test_power_is_energy_over_time(self, machine: Machine) -> None:
        first = machine.backend.sample(XE).readings
        assert reason(first["power_draw_w"]) == "measuring"
        assert first["energy_j"] == pytest.approx(59540.970520)
        machine.put(XE, "hwmon/hwmon0/energy2_input", str(59540970520 + 84_000_000))
        assert machine.sample_after(2.0, XE).readings["power_draw_w"] == pytest.approx(42.0)

    def test_the_board_is_preferred_to_the_chip(self, machine: Machine) -> None:
        assert machine.backend.sample(B580).readings["energy_j"] == pytest.approx(11031.745544)

    def test_a_board_that_counts_nothing_leaves_it_to_the_chip(self, machine: Machine) -> None:
        machine.put(B580, "hwmon/hwmon2/energy1_input", "0\n")
        assert machine.backend.sample(B580).readings["energy_j"] == pytest.approx(19014.248107)

    def test_an_energy_counter_runs_over_at_64_bits(self, machine: Machine) -> None:
        machine.put(I915, "hwmon/hwmon1/energy1_input", str(2**53 - 5))
        machine.backend.sample(I915)
        machine.put(I915, "hwmon/hwmon1/energy1_input", "30000000")
        # As good as a reset: not a watt of it is believed.
        assert reason(machine.sample_after(1.0, I915).readings["power_draw_w"]) == "measuring"
        machine.put(I915, "hwmon/hwmon1/energy1_input", "50000000")
        assert machine.sample_after(1.0, I915).readings["power_draw_w"] == pytest.approx(20.0)

    def test_utilization_is_what_the_busiest_gt_did_not_idle(self, machine: Machine) -> None:
        assert reason(machine.backend.sample(B580).readings["utilization_gpu_percent"])
        machine.put(B580, "tile0/gt0/gtidle/idle_residency_ms", str(308607 + 1900))
        machine.put(B580, "tile0/gt1/gtidle/idle_residency_ms", str(312192 + 500))
        readings = machine.sample_after(2.0, B580).readings
        assert readings["utilization_gpu_percent"] == pytest.approx(75.0)

    def test_i915_counts_the_same_as_rc6(self, machine: Machine) -> None:
        machine.backend.sample(I915)
        machine.put(I915, "drm/card2/gt/gt0/rc6_residency_ms", str(6534 + 900))
        readings = machine.sample_after(1.0, I915).readings
        assert readings["utilization_gpu_percent"] == pytest.approx(10.0)

    def test_an_idle_counter_that_started_over_is_measured_anew(self, machine: Machine) -> None:
        machine.backend.sample(XE)
        machine.put(XE, "tile0/gt0/gtidle/idle_residency_ms", "7")
        readings = machine.sample_after(1.0, XE).readings
        assert reason(readings["utilization_gpu_percent"]) == "measuring"

    def test_without_idle_time_it_is_the_busiest_engine_of_all_processes(
        self, machine: Machine
    ) -> None:
        _open_integrated(machine, render_ns=0, video_ns=0)
        machine.backend.sample(INTEGRATED)
        _open_integrated(machine, render_ns=300_000_000, video_ns=1_400_000_000)
        readings = machine.sample_after(2.0, INTEGRATED).readings
        assert readings["utilization_gpu_percent"] == pytest.approx(35.0)

    def test_what_an_integrated_gpu_lacks_is_said(self, machine: Machine) -> None:
        readings = machine.backend.sample(INTEGRATED).readings
        assert reason(readings["memory_used_bytes"]).startswith("integrated: it works in system")
        for key in ("fan_speed_rpm", "pcie_link_width", "power_draw_w", "temperature_gpu_c"):
            assert reason(readings[key]).startswith("integrated")

    def test_the_link_is_that_of_the_cards_own_switch(self, machine: Machine) -> None:
        assert reason(machine.backend.sample(XE).readings["pcie_link_width"]).startswith("the port")
        device = machine.device(XE)
        inside = device.parent / "0000:00:01.0/0000:06:00.0/0000:07:01.0/0000:08:00.0"
        shutil.copytree(device, inside, symlinks=True)
        link = machine.root / "sys/bus/pci/devices/0000:08:00.0"
        link.unlink()
        link.symlink_to(inside)
        port = inside.parent.parent
        (port / "current_link_speed").write_text("16.0 GT/s PCIe\n")
        (port / "current_link_width").write_text("8\n")
        machine.backend.probe()
        readings = machine.backend.sample(XE).readings
        assert (readings["pcie_link_generation"], readings["pcie_link_width"]) == (4, 8)


class TestLimits:
    @pytest.mark.parametrize(
        ("gpu_id", "folder", "prefix"),
        [
            (I915, "drm/card2/gt/gt0", "throttle_reason_"),
            (XE, "tile0/gt0/freq0/throttle", "reason_"),
            (B580, "tile0/gt1/freq0/throttle", "reason_"),
        ],
    )
    def test_reasons_have_the_names_of_the_table(
        self, machine: Machine, gpu_id: str, folder: str, prefix: str
    ) -> None:
        assert machine.backend.sample(gpu_id).limited_by == ()
        status = f"{folder}/{'throttle_reason_' if gpu_id == I915 else ''}status"
        machine.put(gpu_id, status, "1\n")
        for name in ("pl1", "thermal", "ratl", "prochot"):
            machine.put(gpu_id, f"{folder}/{prefix}{name}", "1\n")
        limits = machine.backend.sample(gpu_id).limited_by
        assert not isinstance(limits, Unavailable)
        assert set(limits) == {"power_cap", "thermal", "hardware_slowdown"}
        assert set(limits) <= set(LIMIT_BY_NAME)

    def test_a_reason_without_a_name_is_other(self, machine: Machine) -> None:
        machine.put(XE, "tile0/gt0/freq0/throttle/status", "1\n")
        assert machine.backend.sample(XE).limited_by == ("other",)

    def test_a_driver_without_reasons_is_unknown(self, machine: Machine) -> None:
        assert isinstance(machine.backend.sample(INTEGRATED).limited_by, Unavailable)


class TestSleep:
    def test_a_sleeping_gpu_costs_one_read(
        self, machine: Machine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        machine.backend.sample(XE)
        machine.put(XE, "power/runtime_status", "suspended\n")
        opened: list[str] = []
        real_os_open, real_open = os.open, io.open

        def os_spy(path: str, *arguments: int, **keywords: int) -> int:
            opened.append(str(path))
            return real_os_open(path, *arguments, **keywords)

        def spy(path: str, *arguments: object, **keywords: object) -> object:
            opened.append(str(path))
            return real_open(path, *arguments, **keywords)  # type: ignore[call-overload]

        monkeypatch.setattr(os, "open", os_spy)
        monkeypatch.setattr(io, "open", spy)
        monkeypatch.setattr(builtins, "open", spy)
        for _ in range(60):
            assert machine.sample_after(1.0, XE).state is GpuState.ASLEEP
        assert len(opened) == 60
        assert all(path.endswith("0000:08:00.0/power/runtime_status") for path in opened)

    def test_no_descriptor_of_a_sleeping_gpu_is_kept(self, machine: Machine) -> None:
        machine.backend.sample(XE)
        assert any("0000:08:00.0" in link for link in _open_files())
        machine.put(XE, "power/runtime_status", "suspended\n")
        machine.backend.sample(XE)
        assert not any("0000:08:00.0" in link for link in _open_files())

    def test_nothing_is_measured_across_a_sleep(self, machine: Machine) -> None:
        machine.backend.sample(XE)
        machine.put(XE, "power/runtime_status", "suspended\n")
        machine.sample_after(1.0, XE)
        machine.put(XE, "power/runtime_status", "active\n")
        readings = machine.sample_after(1.0, XE).readings
        assert reason(readings["power_draw_w"]) == "measuring"
        assert reason(readings["utilization_gpu_percent"]) == "measuring"

    def test_an_idle_card_is_left_alone_once_so_that_it_can_fall_asleep(
        self, machine: Machine
    ) -> None:
        machine.put(B580, "power/autosuspend_delay_ms", "10000\n")
        paused = _idle_seconds_left_alone(machine, B580, 120)
        # 61 s: the first look starts measuring; then the kernel's delay and a margin, but the
        # card stayed awake, so somebody holds it and it is read again.
        assert paused == list(range(62, 76))

    @pytest.mark.parametrize(
        ("file", "text"),
        [("power/control", "on\n"), ("drm/card3/card3-DP-1/enabled", "enabled\n")],
    )
    def test_a_card_that_cannot_sleep_is_read_all_the_time(
        self, machine: Machine, file: str, text: str
    ) -> None:
        (card,) = machine.device(B580).glob("drm/card*")
        machine.put(B580, file.replace("card3", card.name), text)
        assert _idle_seconds_left_alone(machine, B580, 90) == []

    def test_its_processes_are_left_alone(self, machine: Machine) -> None:
        _open_card(machine)
        assert len(machine.backend.processes()) == 1
        machine.put(XE, "power/runtime_status", "suspended\n")
        (machine.proc.root / "40/fdinfo/7").unlink()  # would be missed if it were read
        assert machine.backend.processes() == ()


def test_a_gpu_whose_driver_went_is_lost_and_comes_back(machine: Machine) -> None:
    drm = machine.device(XE) / "drm"
    drm.rename(drm.with_name("away"))
    sample = machine.backend.sample(XE)
    assert sample.state is GpuState.LOST
    assert "driver was unloaded" in reason(sample.readings["power_draw_w"])
    drm.with_name("away").rename(drm)
    assert machine.backend.sample(XE).state is GpuState.ACTIVE


class TestProcesses:
    def test_rates_memory_and_kind_come_from_fdinfo(self, machine: Machine) -> None:
        _open_card(machine)
        (first,) = machine.backend.processes()
        assert reason(first.utilization_percent) == "measuring"
        machine.clock.now_s += 1.0
        _open_card(machine, busy=600, total=1000)
        (process,) = machine.backend.processes()
        assert (process.gpu_id, process.pid, process.started, process.name) == (
            XE,
            40,
            7,
            "blender",
        )
        assert process.utilization_percent == pytest.approx(60.0)
        assert process.engines == pytest.approx({"rcs": 60.0})
        assert process.kind is ProcessKind.GRAPHICS
        assert process.memory_used_bytes == 23992 * 1024

    def test_an_integrated_gpu_counts_system_memory(self, machine: Machine) -> None:
        _open_integrated(machine, 1, 1)
        (process,) = machine.backend.processes()
        assert process.memory_used_bytes == 5 * 1024**2
        assert process.gpu_id == INTEGRATED

    def test_those_of_others_are_said_to_be_hidden(
        self, machine: Machine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        machine.proc.start(9, comm="Xorg")

        def refused(folder: str) -> list[str]:
            raise PermissionError(13, "Permission denied", folder)

        monkeypatch.setattr(os, "listdir", refused)
        assert machine.backend.processes() == ()
        hidden = machine.backend.hidden_processes_reason
        assert hidden.startswith("1 processes of other users cannot be seen")
        # And a utilization of the visible ones alone would be too small.
        readings = machine.backend.sample(INTEGRATED).readings
        assert reason(readings["utilization_gpu_percent"]) == hidden


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    contents=st.lists(
        st.one_of(st.binary(max_size=30), st.integers(-(2**70), 2**70).map(lambda n: b"%d" % n)),
        min_size=9, max_size=9,
    )
)  # fmt: skip
def test_any_bytes_in_any_file_give_a_reading_or_a_reason(
    machine: Machine, contents: list[bytes]
) -> None:
    files = (
        "hwmon/hwmon2/energy1_input", "hwmon/hwmon2/temp2_input", "hwmon/hwmon2/fan1_input",
        "hwmon/hwmon2/power1_cap", "tile0/gt0/freq0/act_freq", "tile0/gt0/freq0/throttle/status",
        "tile0/gt0/freq0/throttle/reason_pl1", "tile0/gt0/gtidle/idle_residency_ms",
        "tile0/gt1/gtidle/idle_residency_ms",
    )  # fmt: skip
    for file, content in zip(files, contents, strict=True):
        (machine.device(B580) / file).write_bytes(content)
    for _ in range(2):
        sample = machine.sample_after(1.0, B580)
        assert set(sample.readings) == set(METRIC_BY_KEY)
        for key, reading in sample.readings.items():
            if isinstance(reading, Unavailable):
                assert reading.reason
            else:
                assert METRIC_BY_KEY[key].low <= reading <= METRIC_BY_KEY[key].high


def test_a_number_of_a_thousand_digits_is_not_believed(machine: Machine) -> None:
    for file in ("hwmon/hwmon2/temp2_input", "tile0/gt0/freq0/act_freq"):
        machine.put(B580, file, "9" * 1000)
    readings = machine.backend.sample(B580).readings
    assert reason(readings["clock_graphics_mhz"])
    assert reason(readings["temperature_gpu_c"])


def _idle_seconds_left_alone(machine: Machine, gpu_id: str, seconds: int) -> list[int]:
    paused = []
    for second in range(seconds):
        for gt in (0, 1):
            file = f"tile0/gt{gt}/gtidle/idle_residency_ms"
            machine.put(gpu_id, file, str(400_000 + 1000 * second))
        readings = machine.sample_after(1.0, gpu_id).readings
        if readings["clock_graphics_mhz"] == Unavailable(LEFT_ALONE):
            paused.append(second)
    return paused


def _open_card(machine: Machine, busy: int = 0, total: int = 0) -> None:
    if not (machine.proc.root / "40").exists():
        machine.proc.start(40, started=7, comm="blender")
        (machine.device(XE) / "drm/renderD128").mkdir()
    recording = Path(__file__).parents[1] / "recordings/fdinfo/xe.kernel-doc.txt"
    text = recording.read_text().replace("0000:03:00.0", "0000:08:00.0")
    text = text.replace("28257900", str(28257900 + busy))
    machine.proc.open(
        40, 7, "/dev/dri/renderD128", text.replace("7655183225", str(7655183225 + total))
    )


def _open_integrated(machine: Machine, render_ns: int, video_ns: int) -> None:
    if not (machine.proc.root / "41").exists():
        machine.proc.start(41)
    text = (
        "drm-driver: i915\ndrm-pdev: 0000:00:02.0\ndrm-client-id: 4\n"
        f"drm-engine-render: {render_ns} ns\ndrm-engine-video: {video_ns} ns\n"
        "drm-engine-capacity-video: 2\ndrm-resident-system0: 5 MiB\n"
    )
    machine.proc.open(41, 7, "/dev/dri/card0", text)


def _open_files() -> list[str]:
    links = []
    for fd in os.listdir("/proc/self/fd"):
        try:
            links.append(os.readlink(f"/proc/self/fd/{fd}"))
        except OSError:
            continue
    return links
