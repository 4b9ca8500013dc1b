"""What one Intel GPU that is awake tells of itself: clocks, idle time, throttling, link, sensors.

i915 and xe have the same facts under different names; the differences are in the tables at the
top. Sensors that several drivers have are read in ``hwmon``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from gpupanel.backends.base import checked
from gpupanel.backends.linux.hwmon import Hwmon
from gpupanel.backends.linux.pci import link_generation
from gpupanel.backends.linux.sysfs import KeptFolder
from gpupanel.model.gpu import NOT_TOLD, Reading, Unavailable
from gpupanel.model.metrics import METRIC_BY_KEY

_CLOCK_NOW = ("drm/card*/gt_act_freq_mhz", "tile*/gt0/freq0/act_freq")
_CLOCK_MOST = ("drm/card*/gt_RP0_freq_mhz", "tile*/gt0/freq0/rp0_freq")
_IDLE_MS = (
    "drm/card*/gt/gt*/rc6_residency_ms",
    "tile*/gt*/gtidle/idle_residency_ms",
    "drm/card*/power/rc6_residency_ms",
)
_THROTTLED = ("drm/card*/gt/gt*/throttle_reason_status", "tile*/gt*/freq0/throttle/status")
"""Of the PCI device's folder: first i915, then xe; last, i915 of old kernels."""

_LIMIT_BY_REASON: Mapping[str, str] = {
    "pl1": "power_cap",
    "pl2": "power_cap",
    "pl4": "current",
    "psys_pl1": "power_cap",
    "psys_pl2": "power_cap",
    "iccmax": "current",
    "vr_tdc": "current",
    "fastvmode": "voltage",
    "thermal": "thermal",
    "soc_thermal": "thermal",
    "mem_thermal": "thermal",
    "ratl": "thermal",
    "vr_thermalert": "thermal",
    "prochot": "hardware_slowdown",
}
"""PL4 is the peak that the regulators stand, RATL an average of the temperature."""

_SENSOR_LABELS = ("card", "pkg", "")
"""Whole board before the chip; i915 labels nothing."""

_LEAST_SPAN_S = 0.1
"""Idle time is counted in milliseconds; a shorter span would be mostly rounding."""

_ENERGY_RANGE_J = 2**64 / 1e6
_MOST_W = METRIC_BY_KEY["power_draw_w"].high

_MEASURING = Unavailable("measuring")
_NO_PORT = Unavailable("the port that holds the card's link is not in sight")
_NO_IDLE_TIME = Unavailable("the driver does not count idle time")

_PCI_ADDRESS = re.compile(r"[0-9a-f]{4,}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")


class IntelSensors:
    """The readings of one GPU; made anew each time it wakes up, so that no span holds a sleep."""

    def __init__(
        self, device_dir: Path, driver: str, is_integrated: bool, clock_s: Callable[[], float]
    ) -> None:
        port = None if is_integrated else linked_port(device_dir)
        self.hwmon = Hwmon(device_dir, driver)
        self._clock_s = clock_s
        self._files = KeptFolder(str(device_dir))
        self._link = KeptFolder(str(port)) if port else None
        self._clock_files = _found(device_dir, _CLOCK_NOW)
        self._idle_files = _found(device_dir, _IDLE_MS)
        self._reasons_by_status = {
            status: _reason_files(device_dir, status) for status in _found(device_dir, _THROTTLED)
        }
        self._idle_since: tuple[float, tuple[int, ...]] | None = None
        self._energy_since: tuple[float, float] | None = None
        self._energy_label: str | None = None

    @property
    def counts_idle_time(self) -> bool:
        """Whether ``utilization_percent`` can ever tell."""
        return bool(self._idle_files)

    def clock_mhz(self) -> Reading:
        """Of the first GT, which renders; 0 while it is powered down between two jobs."""
        return _first_clock_mhz(self._files, self._clock_files)

    def utilization_percent(self) -> Reading:
        """Of the busiest GT: the share of time in which it was not powered down."""
        idles_ms = [
            idle_ms
            for file in self._idle_files
            if not isinstance(idle_ms := self._files.number(file), Unavailable)
        ]
        # None that ever idled: powering down is off, and its counter stands still.
        if not idles_ms or len(idles_ms) != len(self._idle_files) or not any(idles_ms):
            self._idle_since = None
            return _NO_IDLE_TIME
        now_s, before = self._clock_s(), self._idle_since
        if before is not None and now_s - before[0] < _LEAST_SPAN_S:
            return _MEASURING
        self._idle_since = (now_s, tuple(idles_ms))
        if before is None or any(now < then for now, then in zip(idles_ms, before[1], strict=True)):
            return _MEASURING
        span_ms = (now_s - before[0]) * 1e3
        idle_ms = min(now - then for now, then in zip(idles_ms, before[1], strict=True))
        return checked("utilization_gpu_percent", 100 * max(0.0, 1 - idle_ms / span_ms))

    def energy_j(self) -> Reading:
        """Of the board where it is counted, else of the chip."""
        if self._energy_label is not None:
            return _checked("energy_j", self.hwmon.read("energy", self._energy_label))
        reading: Reading = NOT_TOLD
        for label in _SENSOR_LABELS:
            reading = self.hwmon.read("energy", label)
            if not isinstance(reading, Unavailable) and reading > 0:
                self._energy_label = label
                break
        return _checked("energy_j", reading)

    def power_w(self, energy_j: Reading) -> Reading:
        """Mean since the last call that measured, from the energy now."""
        if isinstance(energy_j, Unavailable):
            self._energy_since = None
            return energy_j
        now_s, before = self._clock_s(), self._energy_since
        if before is not None and now_s - before[0] < _LEAST_SPAN_S:
            return _MEASURING
        self._energy_since = (now_s, energy_j)
        if before is None:
            return _MEASURING
        draw_w = (energy_j - before[1]) % _ENERGY_RANGE_J / (now_s - before[0])
        # Not a counter that ran over, but one that a reset started over.
        return checked("power_draw_w", draw_w) if draw_w <= _MOST_W else _MEASURING

    def power_limit_w(self) -> Reading:
        """What is enforced over time, else the burst limit where that is the only one."""
        return _checked("power_limit_w", self._first("power", "max", "cap"))

    def power_limit_default_w(self) -> Reading:
        """Drivers that do not know it say 0."""
        reading = self._first("power", "rated_max")
        return _checked("power_limit_default_w", NOT_TOLD if reading == 0 else reading)

    def temperature_c(self) -> Reading:
        """Of the chip."""
        labelled = self.hwmon.read("temp", "pkg")
        unlabelled = isinstance(labelled, Unavailable) and ("temp", "pkg") not in self.hwmon.labels
        return _checked("temperature_gpu_c", self.hwmon.read("temp") if unlabelled else labelled)

    def temperature_critical_c(self) -> Reading:
        """At which the chip throttles hard."""
        return self.hwmon.read("temp", "pkg", "crit")

    def temperature_memory_c(self) -> Reading:
        """Of the memory on the board."""
        return _checked("temperature_memory_c", self.hwmon.read("temp", "vram"))

    def voltage_mv(self) -> Reading:
        """Of the graphics core."""
        labelled = self.hwmon.read("in", "pkg")
        reading = self.hwmon.read("in") if isinstance(labelled, Unavailable) else labelled
        return _checked("voltage_mv", reading)

    def fan_rpm(self) -> Reading:
        """Of the first fan."""
        return _checked("fan_speed_rpm", self.hwmon.read("fan"))

    def link(self) -> tuple[Reading, Reading]:
        """Generation and lanes of the card's link to the system."""
        if self._link is None:
            return _NO_PORT, _NO_PORT
        generation = link_generation(self._link.text("current_link_speed"))
        width = _checked("pcie_link_width", self._link.number("current_link_width"))
        return NOT_TOLD if generation is None else generation, width or NOT_TOLD

    def limited_by(self) -> tuple[str, ...] | Unavailable:
        """What holds any GT down now; names of LIMITS."""
        if not self._reasons_by_status:
            return NOT_TOLD
        names: dict[str, None] = {}
        for status, reasons in self._reasons_by_status.items():
            is_limited = self._files.number(status)
            if isinstance(is_limited, Unavailable):
                return is_limited
            if is_limited:
                limits = [_limit(file) for file in reasons if self._files.number(file) == 1]
                names.update(dict.fromkeys(limits or ["other"]))
        return tuple(names)

    def close(self) -> None:
        """Let go of the descriptors."""
        self.hwmon.close()
        self._files.close()
        if self._link is not None:
            self._link.close()

    def _first(self, kind: str, *items: str) -> Reading:
        for item in items:
            for label in _SENSOR_LABELS:
                reading = self.hwmon.read(kind, label, item)
                if reading is not NOT_TOLD:
                    return reading
        return NOT_TOLD


def clock_most_mhz(device_dir: Path) -> Reading:
    """The greatest clock that the hardware has."""
    files = KeptFolder(str(device_dir))
    try:
        return _first_clock_mhz(files, _found(device_dir, _CLOCK_MOST))
    finally:
        files.close()


def linked_port(device_dir: Path) -> Path | None:
    """The port whose link is the card's; None where it is not in sight.

    An Arc sits behind a switch on its own board, and what the GPU calls its link is a wire
    inside that switch: 2.5 GT/s, one lane. The switch's own port, two levels up, has the slot's.
    """
    port = device_dir.resolve().parent.parent
    return port if _PCI_ADDRESS.fullmatch(port.name) else None


def _found(device_dir: Path, patterns: Sequence[str]) -> tuple[str, ...]:
    """What the first pattern that matches anything finds, seen from ``device_dir``."""
    for pattern in patterns:
        files = sorted(device_dir.glob(pattern))
        if files:
            return tuple(file.relative_to(device_dir).as_posix() for file in files)
    return ()


def _reason_files(device_dir: Path, status: str) -> tuple[str, ...]:
    """The files beside ``status`` that each hold one reason."""
    folder, _, name = status.rpartition("/")
    pattern = name.replace("status", "*") if name != "status" else "reason_*"
    files = _found(device_dir, (f"{folder}/{pattern}",))
    return tuple(file for file in files if file != status)


def _limit(reason_file: str) -> str:
    return _LIMIT_BY_REASON.get(reason_file.rpartition("reason_")[2], "other")


def _first_clock_mhz(files: KeptFolder, names: Sequence[str]) -> Reading:
    return _checked("clock_graphics_mhz", files.number(names[0]) if names else NOT_TOLD)


def _checked(key: str, reading: Reading) -> Reading:
    return reading if isinstance(reading, Unavailable) else checked(key, reading)
