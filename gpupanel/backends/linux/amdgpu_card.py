"""One AMD GPU that is awake: which file gives which metric, and what the files get wrong."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from gpupanel.backends.base import checked
from gpupanel.backends.linux.amdgpu_tables import active_mhz, overdrive_most_mhz, parse_dpm
from gpupanel.backends.linux.gpu_metrics import GpuMetrics, parse_gpu_metrics
from gpupanel.backends.linux.hwmon import Hwmon
from gpupanel.backends.linux.pci import (
    device_id,
    drives_display,
    link_generation,
    listed_name,
    outer_port,
)
from gpupanel.backends.linux.sysfs import ASLEEP_OR_RESET, KeptFolder
from gpupanel.model.gpu import (
    NOT_TOLD,
    GpuInfo,
    GpuKind,
    GpuState,
    Reading,
    Sample,
    Unavailable,
)
from gpupanel.model.metrics import COUNTER_PACE_S, METRIC_BY_KEY

_VENDOR = "1002"

_FIRST_NAMES: Mapping[str, tuple[str, ...]] = {
    "temp": ("edge",),
    "power": ("PPT", "slowPPT"),
    "freq": ("sclk",),
    "in": ("vddgfx",),
}
"""Labels of the sensor of a kind that old kernels have alone, without a label."""

_SENSORS: Mapping[str, tuple[tuple[str, str, str], ...]] = {
    "power_draw_w": (("power", "", "average"), ("power", "", "input")),
    "power_draw_instant_w": (("power", "", "input"),),
    "power_limit_w": (("power", "", "cap"),),
    "power_limit_default_w": (("power", "", "cap_default"),),
    "temperature_gpu_c": (("temp", "", "input"),),
    "temperature_hotspot_c": (("temp", "junction", "input"),),
    "temperature_memory_c": (("temp", "mem", "input"),),
    "clock_graphics_mhz": (("freq", "", "input"),),
    "clock_memory_mhz": (("freq", "mclk", "input"),),
    "voltage_mv": (("in", "", "input"),),
    "fan_speed_rpm": (("fan", "", "input"),),
}
"""Kind, label and item of hwmon, the best first; an empty label is that of _FIRST_NAMES."""

_LIMIT_SENSORS: Mapping[str, tuple[str, str, str]] = {
    "power_limit_w": ("power", "", "cap_max"),
    "temperature_gpu_c": ("temp", "", "crit"),
    "temperature_hotspot_c": ("temp", "junction", "crit"),
    "temperature_memory_c": ("temp", "mem", "crit"),
    "fan_speed_rpm": ("fan", "", "max"),
}

_FILES: Mapping[str, str] = {
    "utilization_memory_percent": "mem_busy_percent",
    "utilization_decoder_percent": "vcn_busy_percent",
    "memory_bar1_used_bytes": "mem_info_vis_vram_used",
    "memory_shared_used_bytes": "mem_info_gtt_used",
}

_CLOCKS: Mapping[str, tuple[str, str]] = {
    "clock_graphics_mhz": ("pp_dpm_sclk", "SCLK"),
    "clock_memory_mhz": ("pp_dpm_mclk", "MCLK"),
}

_FROM_TABLE = (
    "utilization_gpu_percent",
    "utilization_memory_percent",
    "utilization_decoder_percent",
    "temperature_gpu_c",
    "temperature_hotspot_c",
    "temperature_memory_c",
    "clock_graphics_mhz",
    "clock_memory_mhz",
    "voltage_mv",
    "energy_j",
)
"""What gpu_metrics gives where there is no file of its own; its power is left to hwmon, for the
unit of old integrated GPUs depends on their firmware."""

_ZERO_IS_UNKNOWN = frozenset({"temperature_hotspot_c", "temperature_memory_c", "voltage_mv"})
"""Sensors that some boards lack and then read as 0."""

_PULSE = ("utilization_gpu_percent", "power_draw_w", "temperature_gpu_c")
"""Without any of these, and one refused for sleep, the card sleeps."""


class AmdgpuCard:
    """The files of one awake card, kept open.

    Attributes:
        info: As complete as it gets.
    """

    def __init__(self, info: GpuInfo, device_dir: Path, clock_s: Callable[[], float]) -> None:
        """Read what does not change.

        Args:
            info: From ``identify``.
            device_dir: ``/sys/bus/pci/devices/<address>``.
            clock_s: Paces what is not read every tick.
        """
        self._device = KeptFolder(str(device_dir))
        self._port = KeptFolder(str(outer_port(device_dir, _VENDOR)))
        self._hwmon = Hwmon(device_dir, "amdgpu")
        self._clock_s = clock_s
        self._first = {kind: self._first_label(kind) for kind in _FIRST_NAMES}
        identity = device_id(device_dir)
        self._has_false_hotspot_bit = identity is not None and _is_rdna3(identity.device)
        self._counts_hundredths = False
        self._limit_counts: Mapping[str, int] = {}
        self._replays: tuple[float, Reading] = (float("-inf"), NOT_TOLD)
        table = self._table()
        self.is_integrated = ("in", "vddnb") in self._hwmon.labels or (
            isinstance(table, GpuMetrics) and table.is_integrated
        )
        self.info = self._completed(info)

    @staticmethod
    def identify(device_dir: Path, root: Path, driver_version: str | None) -> GpuInfo:
        """What can be told of a card without waking it."""
        address = device_dir.name
        identity = device_id(device_dir)
        name = listed_name(identity, root) if identity else None
        if name is None:
            name = f"GPU {identity.vendor}:{identity.device}" if identity else "GPU"
        return GpuInfo(
            id=f"pci:{address}",
            name=name if name.startswith("AMD") else f"AMD {name}",
            vendor="AMD",
            kind=GpuKind.GPU,
            backend="amdgpu",
            driver_version=driver_version,
            pci_bus_id=address.rjust(16, "0") if len(address) == 12 else address,
            drives_display=drives_display(device_dir),
        )

    def sample(self) -> Sample:
        """Read all metrics; ASLEEP where the driver says that it would have to wake the card."""
        table = self._table()
        readings: dict[str, Reading] = dict.fromkeys(METRIC_BY_KEY, NOT_TOLD)
        for key, sensors in _SENSORS.items():
            readings[key] = self._sensor(key, sensors)
        for key, file in _FILES.items():
            readings[key] = _plausible(key, self._device.number(file))
        readings["utilization_gpu_percent"] = self._load()
        readings["fan_speed_percent"] = self._fan_percent(readings["fan_speed_rpm"])
        readings["memory_used_bytes"] = self._memory("used")
        readings["memory_total_bytes"] = self._memory("total")
        readings["pcie_link_generation"] = self._link_generation()
        readings["pcie_link_width"] = self._link_width()
        readings["pcie_replay_count"] = self._replay_count()
        self._fill_gaps(readings, table)
        refused = ASLEEP_OR_RESET in readings.values()
        if refused and all(isinstance(readings[key], Unavailable) for key in _PULSE):
            return Sample(self.info.id, readings, GpuState.ASLEEP)
        return Sample(self.info.id, readings, limited_by=self._limited_by(table))

    def close(self) -> None:
        """Let go of every kept descriptor."""
        for files in (self._device, self._port, self._hwmon):
            files.close()

    def _first_label(self, kind: str) -> str:
        labels = {label for of_kind, label in self._hwmon.labels if of_kind == kind}
        names = _FIRST_NAMES[kind]
        return next((name for name in names if name in labels), names[0] if labels else "")

    def _hwmon_value(self, sensor: tuple[str, str, str]) -> Reading:
        kind, label, item = sensor
        return self._hwmon.read(kind, label or self._first.get(kind, ""), item)

    def _sensor(self, key: str, sensors: tuple[tuple[str, str, str], ...]) -> Reading:
        reading: Reading = NOT_TOLD
        for sensor in sensors:
            reading = _plausible(key, self._hwmon_value(sensor))
            if not isinstance(reading, Unavailable):
                break
        return NOT_TOLD if reading == 0 and key in _ZERO_IS_UNKNOWN else reading

    def _load(self) -> Reading:
        number = self._device.number("gpu_busy_percent")
        if isinstance(number, Unavailable):
            return number
        # Some firmware counts in hundredths; once it has shown that, small numbers are so too.
        if 100 < number <= 10_000:
            self._counts_hundredths = True
        return checked(
            "utilization_gpu_percent", number / 100 if self._counts_hundredths else number
        )

    def _fan_percent(self, rpm: Reading) -> Reading:
        asked = self._hwmon.read("pwm", item="")
        if not isinstance(asked, Unavailable):
            return checked("fan_speed_percent", asked / 255 * 100)
        most_rpm = self._hwmon.read("fan", item="max")
        if isinstance(rpm, Unavailable) or isinstance(most_rpm, Unavailable) or most_rpm <= 0:
            return asked
        return checked("fan_speed_percent", rpm / most_rpm * 100)

    def _memory(self, what: str) -> Reading:
        """An integrated GPU uses system memory (GTT) as it uses what was set aside for it."""
        key = f"memory_{what}_bytes"
        own = self._device.number(f"mem_info_vram_{what}")
        if not self.is_integrated or isinstance(own, Unavailable):
            return _plausible(key, own)
        shared = self._device.number(f"mem_info_gtt_{what}")
        return shared if isinstance(shared, Unavailable) else checked(key, own + shared)

    def _link_generation(self) -> Reading:
        generation = link_generation(self._port.text("current_link_speed"))
        return NOT_TOLD if generation is None else generation

    def _link_width(self) -> Reading:
        width = self._port.number("current_link_width")
        return NOT_TOLD if width == 0 else _plausible("pcie_link_width", width)

    def _replay_count(self) -> Reading:
        now_s = self._clock_s()
        if now_s - self._replays[0] >= COUNTER_PACE_S:
            count = _plausible("pcie_replay_count", self._device.number("pcie_replay_count"))
            self._replays = (now_s, count)
        return self._replays[1]

    def _table(self) -> GpuMetrics | Unavailable:
        content = self._device.content("gpu_metrics")
        if isinstance(content, Unavailable):
            return content
        return parse_gpu_metrics(content, self._has_false_hotspot_bit)

    def _fill_gaps(self, readings: dict[str, Reading], table: GpuMetrics | Unavailable) -> None:
        """The levels of the driver and the table of the firmware, where a file is missing."""
        for key, (file, _) in _CLOCKS.items():
            if isinstance(readings[key], Unavailable):
                clock = active_mhz(parse_dpm(self._content(file)))
                readings[key] = readings[key] if clock is None else checked(key, clock)
        if isinstance(table, Unavailable):
            return
        for key in _FROM_TABLE:
            if key in table.values and isinstance(readings[key], Unavailable):
                value = table.values[key]
                if value or key not in _ZERO_IS_UNKNOWN:
                    readings[key] = checked(key, value)

    def _limited_by(self, table: GpuMetrics | Unavailable) -> tuple[str, ...] | Unavailable:
        if isinstance(table, Unavailable):
            return table
        if not table.limit_counts:
            return table.limited_by
        before, self._limit_counts = self._limit_counts, table.limit_counts
        if not before:
            return Unavailable("measuring")
        return tuple(name for name, count in table.limit_counts.items() if count > before[name])

    def _content(self, file: str) -> bytes:
        content = self._device.content(file)
        return b"" if isinstance(content, Unavailable) else content

    def _completed(self, info: GpuInfo) -> GpuInfo:
        product = self._device.text("product_name")
        total = self._memory("total")
        return replace(
            info,
            name=product or info.name,
            memory_total_bytes=None if isinstance(total, Unavailable) else int(total),
            limits=self._limits(),
            details=self._details(),
        )

    def _limits(self) -> dict[str, float]:
        bounds: dict[str, Reading] = {
            key: _plausible(key, self._hwmon_value(sensor))
            for key, sensor in _LIMIT_SENSORS.items()
        }
        overdrive = self._content("pp_od_clk_voltage")
        for key, (file, section) in _CLOCKS.items():
            levels = parse_dpm(self._content(file))
            # A table with a level for rest lists but the lower half of what the clock can be.
            rests = any(level.name == "S" for level in levels)
            greatest = 0 if rests else max((level.clock_mhz for level in levels), default=0)
            bounds[key] = checked(key, overdrive_most_mhz(overdrive, section) or greatest)
        return {
            key: bound
            for key, bound in bounds.items()
            if not isinstance(bound, Unavailable) and bound > 0
        }

    def _details(self) -> dict[str, str]:
        speed, width = self._port.text("max_link_speed"), self._port.text("max_link_width")
        generation = link_generation(speed)
        details = {
            "VBIOS": self._device.text("vbios_version"),
            "Unique id": self._device.text("unique_id"),
            "Memory made by": self._device.text("mem_info_vram_vendor"),
            "PCIe at most": f"generation {generation}, {width} lanes" if generation else "",
            "Power limit": self._power_limit_text(),
            "Power": "of the whole chip, processor included" if self.is_integrated else "",
        }
        return {label: text for label, text in details.items() if text not in {"", "unknown"}}

    def _power_limit_text(self) -> str:
        least = self._hwmon_value(("power", "", "cap_min"))
        most = self._hwmon_value(("power", "", "cap_max"))
        if isinstance(least, Unavailable) or isinstance(most, Unavailable):
            return ""
        if least == most:
            return f"fixed at {most:.0f} W"
        fast = self._hwmon.read("power", "fastPPT", "cap")
        also = "" if isinstance(fast, Unavailable) else f"; {fast:.0f} W for short loads"
        # Several drivers say 0 and refuse it when it is set.
        span = f"{least:.0f} to {most:.0f} W" if least > 0 else f"up to {most:.0f} W"
        return span + also


def _plausible(key: str, reading: Reading) -> Reading:
    return reading if isinstance(reading, Unavailable) else checked(key, reading)


def _is_rdna3(device: str) -> bool:
    """Navi 31, 32 and 33."""
    return 0x7440 <= int(device, 16) <= 0x749F
