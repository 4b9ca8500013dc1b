"""The processor's readings from made-up kernel trees, and against psutil on this machine."""

from __future__ import annotations

import os
import platform
import sys
import threading
from collections import namedtuple
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gpupanel.backends.host import HostBackend
from gpupanel.backends.linux.powercap import PackagePower
from gpupanel.model.gpu import CPU_ID, GpuKind, Reading, Unavailable

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the files of a Linux kernel")

RAPL = "sys/class/powercap/intel-rapl:0"
RANGE_UJ = 262_143_328_850

RYZEN = """\
processor\t: 0
vendor_id\t: AuthenticAMD
model name\t: AMD Ryzen 9 7950X 16-Core Processor
cpu MHz\t\t: 4500.000

processor\t: 1
vendor_id\t: AuthenticAMD
model name\t: AMD Ryzen 9 7950X 16-Core Processor
cpu MHz\t\t: 3000.500
"""


class Clock:
    def __init__(self) -> None:
        self.now_s = 50.0

    def __call__(self) -> float:
        return self.now_s


def write(root: Path, files: Mapping[str, str | int]) -> None:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"{content}\n", encoding="utf-8")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write(tmp_path, {"proc/cpuinfo": RYZEN})
    return tmp_path


@pytest.fixture
def clock() -> Clock:
    return Clock()


def reading(root: Path, key: str) -> Reading:
    backend = HostBackend(root)
    backend.probe()
    return backend.sample(CPU_ID).readings[key]


def why(value: Reading) -> str:
    assert isinstance(value, Unavailable)
    return value.reason


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("AMD Ryzen 9 7950X 16-Core Processor", "AMD Ryzen 9 7950X"),
        ("AMD Ryzen 7 5700G with Radeon Graphics", "AMD Ryzen 7 5700G"),
        ("AMD Ryzen 7 7840U w/ Radeon  780M Graphics", "AMD Ryzen 7 7840U"),
        ("Intel(R) Core(TM) i7-9700K CPU @ 3.60GHz", "Intel Core i7-9700K"),
        ("13th Gen Intel(R) Core(TM) i9-13900K", "Intel Core i9-13900K"),
        ("Intel(R) Core(TM) Ultra 7 155H", "Intel Core Ultra 7 155H"),
        ("Intel(R) Xeon(R) Processor", "Intel Xeon"),
        ("AMD EPYC 9654 96-Core Processor", "AMD EPYC 9654"),
        ("Processor", "Processor"),
    ],
)
def test_names_are_as_people_say_them(root: Path, model: str, name: str) -> None:
    write(root, {"proc/cpuinfo": f"vendor_id : GenuineIntel\nmodel name : {model}"})
    backend = HostBackend(root)
    backend.probe()
    assert backend.gpus()[0].name == name


def test_the_processor_is_described(root: Path) -> None:
    write(
        root,
        {
            "sys/class/hwmon/hwmon0/name": "k10temp",
            "sys/class/hwmon/hwmon0/temp1_input": 61_250,
            "sys/class/hwmon/hwmon0/temp1_label": "Tctl",
            "sys/class/hwmon/hwmon0/temp1_crit": 95_000,
            f"{RAPL}/name": "package-0",
            f"{RAPL}/max_energy_range_uj": RANGE_UJ,
            f"{RAPL}/energy_uj": 0,
            f"{RAPL}/constraint_0_max_power_uw": 170_000_000,
            "sys/devices/system/cpu/cpufreq/policy0/cpuinfo_max_freq": 5_881_000,
            "sys/devices/system/cpu/cpufreq/policy1/cpuinfo_max_freq": 5_700_000,
        },
    )
    backend = HostBackend(root)
    backend.probe()
    (cpu,) = backend.gpus()
    assert (cpu.id, cpu.vendor, cpu.kind, cpu.backend) == ("cpu", "AMD", GpuKind.CPU, "host")
    assert (cpu.driver_version, cpu.pci_bus_id) == (None, None)
    assert cpu.memory_total_bytes == psutil.virtual_memory().total
    assert cpu.limits == {
        "memory_used_bytes": psutil.virtual_memory().total,
        "power_limit_w": 170.0,
        "temperature_gpu_c": 95.0,
        "clock_graphics_mhz": 5881.0,
    }


def test_a_processor_without_a_name_is_named_by_its_machine(root: Path) -> None:
    write(root, {"proc/cpuinfo": "processor\t: 0\nBogoMIPS\t: 108.00\nCPU implementer\t: 0x41"})
    backend = HostBackend(root)
    backend.probe()
    (cpu,) = backend.gpus()
    assert cpu.name == platform.machine()
    assert cpu.vendor == "unknown"


# Temperature


@pytest.mark.parametrize(
    ("driver", "sensors", "celsius"),
    [
        ("coretemp", {"Core 0": 80_000, "Package id 0": 77_000}, 77.0),
        ("coretemp", {"Package id 0": 55_000, "Package id 1": 66_500}, 66.5),
        ("k10temp", {"Tccd1": 90_000, "Tctl": 71_875}, 71.875),
        ("k10temp", {"Tctl": 97_000, "Tdie": 70_000}, 70.0),
        ("zenpower", {"Tctl": 60_000, "Tdie": 50_000}, 50.0),
        ("cpu_thermal", {"": 48_312}, 48.312),
        ("k10temp", {"Tctl": -5_000}, -5.0),
    ],
)
def test_the_sensor_of_the_chip_is_chosen_by_its_label(
    root: Path, driver: str, sensors: Mapping[str, int], celsius: float
) -> None:
    write(
        root,
        {
            "sys/class/hwmon/hwmon0/name": "nvme",
            "sys/class/hwmon/hwmon0/temp1_input": 33_000,
            "sys/class/hwmon/hwmon3/name": driver,
        },
    )
    for number, (label, millidegrees) in enumerate(sensors.items(), 1):
        write(root, {f"sys/class/hwmon/hwmon3/temp{number}_input": millidegrees})
        if label:
            write(root, {f"sys/class/hwmon/hwmon3/temp{number}_label": label})
    assert reading(root, "temperature_gpu_c") == celsius


def test_no_sensor_says_which_drivers_are_missing(root: Path) -> None:
    write(root, {"sys/class/hwmon/hwmon0/name": "acpitz"})
    assert "coretemp, k10temp" in why(reading(root, "temperature_gpu_c"))


@pytest.mark.parametrize(
    ("content", "words"), [("65535000", "implausible: 65535 °C"), ("n/a", "holds no number")]
)
def test_a_sensor_that_reports_garbage_is_not_shown(root: Path, content: str, words: str) -> None:
    folder = "sys/class/hwmon/hwmon0"
    write(root, {f"{folder}/name": "cpu_thermal", f"{folder}/temp1_input": content})
    assert words in why(reading(root, "temperature_gpu_c"))


def test_a_sensor_that_goes_away_names_its_file(root: Path) -> None:
    file = root / "sys/class/hwmon/hwmon0/temp1_input"
    write(root, {"sys/class/hwmon/hwmon0/name": "cpu_thermal", str(file): 40_000})
    backend = HostBackend(root)
    backend.probe()
    file.unlink()
    assert str(file) in why(backend.sample(CPU_ID).readings["temperature_gpu_c"])


# Power


def rapl(root: Path, zone: str, name: str, energy_uj: int) -> None:
    folder = f"sys/class/powercap/{zone}"
    write(
        root,
        {
            f"{folder}/name": name,
            f"{folder}/energy_uj": energy_uj,
            f"{folder}/max_energy_range_uj": RANGE_UJ,
            f"{folder}/constraint_0_power_limit_uw": 125_000_000,
        },
    )


def test_power_is_the_energy_over_the_time(root: Path, clock: Clock) -> None:
    rapl(root, "intel-rapl:0", "package-0", 1_000_000)
    backend = HostBackend(root, clock)
    backend.probe()
    assert why(backend.sample(CPU_ID).readings["power_draw_w"]) == "measuring"
    clock.now_s += 2.0
    rapl(root, "intel-rapl:0", "package-0", 131_000_000)
    readings = backend.sample(CPU_ID).readings
    assert readings["power_draw_w"] == 65.0
    assert readings["power_limit_w"] == 125.0


def test_only_whole_packages_are_added_up(root: Path, clock: Clock) -> None:
    zones = {
        "intel-rapl:0": "package-0",
        "intel-rapl:0:0": "core",
        "intel-rapl:1": "package-1",
        "intel-rapl:2": "psys",
        "intel-rapl-mmio:0": "package-0",
    }
    for zone, name in zones.items():
        rapl(root, zone, name, 0)
    backend = HostBackend(root, clock)
    backend.probe()
    clock.now_s += 1.0
    for zone, name in zones.items():
        rapl(root, zone, name, 40_000_000)
    readings = backend.sample(CPU_ID).readings
    assert readings["power_draw_w"] == 80.0
    assert readings["power_limit_w"] == 250.0


@given(
    start_uj=st.integers(0, RANGE_UJ) | st.integers(RANGE_UJ - 50_000_000, RANGE_UJ),
    steps=st.lists(st.tuples(st.floats(0.05, 60.0), st.integers(0, 1900)), min_size=1, max_size=6),
)
def test_power_survives_the_counter_starting_over(
    tmp_path_factory: pytest.TempPathFactory, start_uj: int, steps: list[tuple[float, int]]
) -> None:
    root, clock = tmp_path_factory.mktemp("rapl"), Clock()
    rapl(root, "intel-rapl:0", "package-0", start_uj)
    power = PackagePower(root, clock, least_span_s=0.04)
    assert power.draw_w() == Unavailable("measuring")
    total_uj = start_uj
    for seconds, watts in steps:
        clock.now_s += seconds
        total_uj += round(watts * seconds * 1e6)
        rapl(root, "intel-rapl:0", "package-0", total_uj % (RANGE_UJ + 1))
        assert power.draw_w() == pytest.approx(watts, abs=1e-3)


def test_after_a_long_sleep_power_is_measured_anew(root: Path, clock: Clock) -> None:
    rapl(root, "intel-rapl:0", "package-0", 0)
    backend = HostBackend(root, clock)
    backend.probe()
    clock.now_s += 3600.0
    rapl(root, "intel-rapl:0", "package-0", 5_000_000)
    assert why(backend.sample(CPU_ID).readings["power_draw_w"]) == "measuring"
    clock.now_s += 1.0
    rapl(root, "intel-rapl:0", "package-0", 15_000_000)
    assert backend.sample(CPU_ID).readings["power_draw_w"] == 10.0


def test_a_counter_that_was_reset_is_not_a_lightning(root: Path, clock: Clock) -> None:
    rapl(root, "intel-rapl:0", "package-0", 10_000_000)
    backend = HostBackend(root, clock)
    backend.probe()
    clock.now_s += 1.0
    rapl(root, "intel-rapl:0", "package-0", 0)
    assert "implausible" in why(backend.sample(CPU_ID).readings["power_draw_w"])


def test_a_counter_for_root_only_names_the_file(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rapl(root, "intel-rapl:0", "package-0", 0)
    file = str(root / RAPL / "energy_uj")
    really_open = os.open

    def refused(path: Any, *arguments: Any) -> int:
        if path == file:  # a test may run as root, whom no mode refuses
            raise PermissionError(13, "Permission denied", path)
        return really_open(path, *arguments)

    monkeypatch.setattr(os, "open", refused)
    backend = HostBackend(root)
    backend.probe()
    readings = backend.sample(CPU_ID).readings
    assert readings["power_draw_w"] == Unavailable(f"needs read permission on {file}")
    assert readings["power_limit_w"] == 125.0


def test_no_counter_is_said(root: Path) -> None:
    assert "intel-rapl" in why(reading(root, "power_draw_w"))
    assert "intel-rapl" in why(reading(root, "power_limit_w"))


# Utilization, memory, clock

seconds = st.floats(0, 1e6)
Times = type(psutil.cpu_times())


@given(st.lists(st.tuples(*[seconds] * len(Times._fields)), min_size=2, max_size=5))
@example([(0.0,) * len(Times._fields), (335545.12948598113, *[0.0] * (len(Times._fields) - 1))])
def test_utilization_agrees_with_psutil(spent: list[tuple[float, ...]]) -> None:
    totals = [
        Times(*(sum(column) for column in zip(*spent[: n + 1], strict=True)))
        for n in range(len(spent))
    ]
    with pytest.MonkeyPatch.context() as patch:
        now = [totals[0]]
        patch.setattr(psutil, "cpu_times", lambda: now[0])
        backend = HostBackend()
        backend.probe()
        psutil.cpu_percent(None)
        for now[0] in totals[1:]:
            value = backend.sample(CPU_ID).readings["utilization_gpu_percent"]
            expected = psutil.cpu_percent(None)
            if isinstance(value, Unavailable):
                assert value.reason == "measuring"
                break
            assert value == pytest.approx(expected, abs=0.051)


def test_utilization_counts_from_the_probe_in_any_thread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    times = {"user": 100.0, "system": 50.0, "idle": 1000.0}
    processors = os.cpu_count() or 1
    kinds = namedtuple("kinds", times)  # type: ignore[misc]
    monkeypatch.setattr(psutil, "cpu_times", lambda: kinds(**times))
    backend = HostBackend()
    backend.probe()
    seen: list[Reading] = []

    def sample() -> None:
        seen.append(backend.sample(CPU_ID).readings["utilization_gpu_percent"])

    for busy_s, idle_s in (
        (0.0, 0.0),
        (0.01 * processors, 0.0),
        (0.29 * processors, 0.1 * processors),
    ):
        times["user"] += busy_s
        times["idle"] += idle_s
        thread = threading.Thread(target=sample)
        thread.start()
        thread.join()
    assert seen[:2] == [Unavailable("measuring")] * 2
    assert seen[2] == pytest.approx(75.0)


def test_memory_is_the_systems() -> None:
    backend = HostBackend()
    backend.probe()
    readings = backend.sample(CPU_ID).readings
    memory = psutil.virtual_memory()
    assert readings["memory_total_bytes"] == memory.total
    assert readings["memory_used_bytes"] == pytest.approx(memory.used, rel=0.5)


def test_the_clock_is_the_mean_over_the_processors(root: Path) -> None:
    assert reading(root, "clock_graphics_mhz") == 3750.25


@pytest.mark.parametrize("answer", [None, 0.0])
def test_a_clock_that_nobody_tells_is_not_zero(
    root: Path, monkeypatch: pytest.MonkeyPatch, answer: float | None
) -> None:
    frequency = namedtuple("frequency", "current min max")
    told = None if answer is None else frequency(answer, 0.0, 0.0)
    monkeypatch.setattr(psutil, "cpu_freq", lambda: told)
    write(root, {"proc/cpuinfo": "processor : 0"})
    assert why(reading(root, "clock_graphics_mhz")) == "the kernel does not report it here"


def test_where_the_kernel_lists_no_clock_psutil_is_asked(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frequency = namedtuple("frequency", "current min max")
    monkeypatch.setattr(psutil, "cpu_freq", lambda: frequency(1800.0, 600.0, 2400.0))
    write(root, {"proc/cpuinfo": "processor : 0"})
    assert reading(root, "clock_graphics_mhz") == 1800.0


def test_a_processor_has_no_fan(root: Path) -> None:
    assert "no fan" in why(reading(root, "fan_speed_percent"))


def test_a_closed_backend_lists_nothing_and_opens_again(root: Path) -> None:
    backend = HostBackend(root)
    backend.probe()
    backend.close()
    assert backend.gpus() == ()
    backend.probe()
    assert [cpu.id for cpu in backend.gpus()] == [CPU_ID]
