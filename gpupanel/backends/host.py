"""The processor as the device that OpenCL loads run on where there is no GPU.

Utilization and memory come from psutil on both systems. Temperature and power are files of the
Linux kernel; Windows tells them to kernel drivers only, and that is what the reading says. Who
computes on it through OpenCL is found on Linux only, and Windows' list says that it is not.
"""

from __future__ import annotations

import os
import platform
import re
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from gpupanel.backends.base import ProbeResult, ProbeState, checked
from gpupanel.backends.linux.opencl_users import OpenClUsers
from gpupanel.backends.linux.powercap import PackagePower
from gpupanel.backends.linux.sysfs import read_number, read_text, unreadable
from gpupanel.model.gpu import (
    CPU_ID,
    GpuId,
    GpuInfo,
    GpuKind,
    ProcessSample,
    Reading,
    Sample,
    Unavailable,
)
from gpupanel.model.metrics import METRIC_BY_KEY

_ON_WINDOWS: bool = sys.platform == "win32"

_LEAST_SPAN_S = 0.05
"""Processor time is counted in ticks of 10 ms; a shorter span would be mostly rounding."""

_SENSORS = ("coretemp", "k10temp", "zenpower", "cpu_thermal")
"""hwmon drivers of processors."""

_CHIP_LABELS = ("Package id", "Tdie", "Tctl", "")
"""How they label the whole chip, best first; Tctl may have an offset where there is a Tdie."""

_VENDORS: Mapping[str, str] = {"GenuineIntel": "Intel", "AuthenticAMD": "AMD"}

_NOISE = re.compile(
    r"\((R|TM|C)\)|@.*$|\bCPU\b|\b\d+-Core\b|\b(with|w/) Radeon.*$|^\d+th Gen\b|\bProcessor\b",
    re.IGNORECASE,
)
"""What processors carry in their name and nobody says."""

_NO_FAN = Unavailable("a processor has no fan of its own to report")
_NOT_COUNTED = Unavailable("a processor does not report this")
_NO_CLOCK = Unavailable("the kernel does not report it here")
_WINDOWS = Unavailable("Windows does not report this of a processor")


def _clock_with_sleep_s() -> float:
    """Seconds that go on while the machine sleeps, as the energy counters do."""
    seconds = time.monotonic()
    if sys.platform == "linux":
        seconds = time.clock_gettime(time.CLOCK_BOOTTIME)
    return seconds


class HostBackend:
    """The processor of this machine.

    Attributes:
        name: As in the ``sources`` of METRICS.
    """

    name = "host"

    def __init__(
        self, root: Path = Path("/"), clock_s: Callable[[], float] = _clock_with_sleep_s
    ) -> None:
        self._root = root
        self._clock_s = clock_s
        self._gpus: tuple[GpuInfo, ...] = ()
        self._busy = _BusyShare()
        self._power: PackagePower | None = None
        self._temperature_files: tuple[str, ...] = ()
        self._users: OpenClUsers | None = None

    def probe(self) -> ProbeResult:
        """See ``Backend.probe``; utilization, power and processes are measured from here on."""
        self._busy = _BusyShare()
        self._busy.percent()
        if not _ON_WINDOWS:
            self._temperature_files = _temperature_files(self._root)
            self._power = PackagePower(self._root, self._clock_s, _LEAST_SPAN_S)
            self._power.draw_w()
            self._users = OpenClUsers(self._root / "proc")
            self._users.look()
        self._gpus = (self._described(),)
        return ProbeResult(self.name, ProbeState.OK)

    def gpus(self) -> tuple[GpuInfo, ...]:
        """See ``Backend.gpus``: the processor, however many sockets it fills."""
        return self._gpus

    def sample(self, gpu_id: GpuId) -> Sample:
        """See ``Backend.sample``."""
        import psutil

        memory = psutil.virtual_memory()
        readings: dict[str, Reading] = {
            **dict.fromkeys(METRIC_BY_KEY, _NOT_COUNTED),
            "utilization_gpu_percent": self._busy.percent(),
            "power_draw_w": self._power.draw_w() if self._power else _WINDOWS,
            "power_limit_w": self._power.limit_w() if self._power else _WINDOWS,
            "temperature_gpu_c": self._temperature_c(),
            "memory_used_bytes": checked("memory_used_bytes", memory.used),
            "memory_total_bytes": checked("memory_total_bytes", memory.total),
            "clock_graphics_mhz": self._clock_mhz(),
            "fan_speed_percent": _NO_FAN,
        }
        return Sample(gpu_id, readings)

    def processes(self) -> tuple[ProcessSample, ...]:
        """See ``Backend.processes``: those that use the processor as an OpenCL device."""
        return self._users.look() if self._users else ()

    @property
    def hidden_processes_reason(self) -> str:
        """See ``Backend.hidden_processes_reason``."""
        if _ON_WINDOWS:
            return "which programs use the processor through OpenCL is not known on Windows"
        return self._users.hidden_reason if self._users else ""

    def close(self) -> None:
        """See ``Backend.close``."""
        self._gpus = ()
        self._users = None

    def _described(self) -> GpuInfo:
        import psutil

        memory_total_bytes = psutil.virtual_memory().total
        model, vendor = _identity(self._root)
        limits = {
            "memory_used_bytes": float(memory_total_bytes),
            "power_limit_w": self._power.limit_most_w() if self._power else None,
            "temperature_gpu_c": _critical_c(self._temperature_files),
            "clock_graphics_mhz": _greatest_clock_mhz(self._root),
        }
        return GpuInfo(
            id=CPU_ID,
            name=_tidied(model),
            vendor=_VENDORS.get(vendor, vendor),
            kind=GpuKind.CPU,
            backend=self.name,
            memory_total_bytes=memory_total_bytes,
            limits={key: limit for key, limit in limits.items() if limit is not None},
        )

    def _temperature_c(self) -> Reading:
        if _ON_WINDOWS:
            return _WINDOWS
        if not self._temperature_files:
            return Unavailable("no processor sensor in /sys/class/hwmon (coretemp, k10temp)")
        try:
            hottest_mc = max(read_number(file) for file in self._temperature_files)
        except (OSError, ValueError) as error:
            return unreadable(error, self._temperature_files[0])
        return checked("temperature_gpu_c", hottest_mc / 1000)

    def _clock_mhz(self) -> Reading:
        """Mean over the processors."""
        try:
            mhz = _listed_clock_mhz(self._root) or _psutil_clock_mhz()
        except (OSError, NotImplementedError) as error:
            return Unavailable(f"the kernel does not report it here ({error})")
        return checked("clock_graphics_mhz", mhz) if mhz else _NO_CLOCK


class _BusyShare:
    """Share of processor time that was not idle, counted as ``psutil.cpu_percent`` does.

    That function keeps its starting point per thread, and answers 0.0 to a thread that asks for
    the first time; the thread that probes is not the one that samples.
    """

    def __init__(self) -> None:
        self._since: Mapping[str, float] = {}

    def percent(self) -> Reading:
        """Since the last call that gave a number; the first call starts measuring."""
        import psutil

        now_s = psutil.cpu_times()._asdict()
        if not self._since:
            self._since = now_s
        spent_s = {
            # Linux counts guests in user and nice already; counters may step back a little.
            kind: max(0.0, now_s[kind] - since_s)
            for kind, since_s in self._since.items()
            if kind not in ("guest", "guest_nice")
        }
        idle_s = spent_s.pop("idle") + spent_s.pop("iowait", 0.0)
        busy_s = sum(spent_s.values())
        if busy_s + idle_s < _LEAST_SPAN_S * (os.cpu_count() or 1):
            return Unavailable("measuring")
        self._since = now_s
        # The quotient first: it is at most 1, where the product may round to beyond 100.
        return checked("utilization_gpu_percent", 100 * (busy_s / (busy_s + idle_s)))


def _identity(root: Path) -> tuple[str, str]:
    """The processor's model name and its maker, as the processor spells them."""
    if sys.platform == "win32":
        import winreg

        folder = r"HARDWARE\DESCRIPTION\System\CentralProcessor\0"
        with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, folder) as key:
            model = str(winreg.QueryValueEx(key, "ProcessorNameString")[0])
            vendor = str(winreg.QueryValueEx(key, "VendorIdentifier")[0])
    else:
        lines = re.findall(r"^(model name|vendor_id)\s*:\s*(.+)$", _cpuinfo(root), re.MULTILINE)
        facts = dict(lines)
        model = facts.get("model name", platform.machine())
        vendor = facts.get("vendor_id", "unknown")
    return model, vendor


def _tidied(model: str) -> str:
    """``AMD Ryzen 9 7950X 16-Core Processor`` as people say it."""
    return " ".join(_NOISE.sub(" ", model).split()) or model


def _cpuinfo(root: Path) -> str:
    return (root / "proc/cpuinfo").read_text("utf-8", "replace")


def _listed_clock_mhz(root: Path) -> float:
    """Mean of the kernel's list, or 0 where it has none (ARM, Windows).

    psutil reads the list too, and then three files for each processor: too slow for a tick.

    Raises:
        OSError: There is no such list on Linux.
    """
    if _ON_WINDOWS:
        return 0.0
    clocks = re.findall(r"^cpu MHz\s*:\s*([\d.]+)", _cpuinfo(root), re.MULTILINE)
    return sum(map(float, clocks)) / len(clocks) if clocks else 0.0


def _psutil_clock_mhz() -> float:
    """Mean as psutil gives it, or 0 where the system tells none.

    Raises:
        OSError, NotImplementedError: The kernel has the files, but not all of them.
    """
    import psutil

    # Its stubs do not say that it may be None.
    return float(getattr(psutil.cpu_freq(), "current", 0.0))


def _greatest_clock_mhz(root: Path) -> float | None:
    """What the fastest core may do, or None where the kernel does not scale clocks."""
    policies = (root / "sys/devices/system/cpu/cpufreq").glob("policy*/cpuinfo_max_freq")
    try:
        return max((read_number(str(policy)) / 1000 for policy in policies), default=None)
    except (OSError, ValueError):
        return None


def _temperature_files(root: Path) -> tuple[str, ...]:
    """The sensors of the whole chip, one per socket; empty where no driver is loaded."""
    labelled = [
        (_label(file), str(file))
        for folder in sorted((root / "sys/class/hwmon").glob("hwmon*"))
        if _driver(folder) in _SENSORS
        for file in sorted(folder.glob("temp*_input"))
    ]
    for wanted in _CHIP_LABELS:
        files = tuple(file for label, file in labelled if label.startswith(wanted))
        if files:
            return files
    return ()


def _driver(hwmon: Path) -> str:
    try:
        return read_text(f"{hwmon}/name")
    except OSError:
        return ""


def _label(temperature: Path) -> str:
    try:
        return read_text(str(temperature).replace("_input", "_label"))
    except OSError:
        return ""


def _critical_c(temperature_files: tuple[str, ...]) -> float | None:
    """The lowest temperature at which a chip shuts down, or None where no sensor states it."""
    try:
        return min(
            (read_number(f.replace("_input", "_crit")) / 1000 for f in temperature_files),
            default=None,
        )
    except (OSError, ValueError):
        return None
