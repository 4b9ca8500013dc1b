"""Intel GPUs on Linux: the i915 and xe drivers, through sysfs and fdinfo.

Nothing here opens a GPU: what only its device file tells (memory in use) is said to be unknown.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from gpupanel.backends.linux.drm_backend import DrmBackend
from gpupanel.backends.linux.drm_fdinfo import FdinfoScanner
from gpupanel.backends.linux.drm_processes import busiest_engine_percent, device_nodes
from gpupanel.backends.linux.intel_sensors import IntelSensors, clock_most_mhz
from gpupanel.backends.linux.pci import device_id, drives_display, listed_name
from gpupanel.model.gpu import GpuInfo, GpuKind, Reading, Sample, Unavailable
from gpupanel.model.metrics import METRIC_BY_KEY

_NOT_BY_INTEL = Unavailable("Intel's driver does not report this")
_SYSTEM_MEMORY = Unavailable("integrated: it works in system memory and has none of its own")
_NEEDS_DEVICE = Unavailable("the driver tells it only to programs that open the GPU")
_INTEGRATED = Unavailable("integrated: the processor reports this, not the GPU")
_NO_FAN = Unavailable("integrated: it has no fan of its own")
_NO_LINK = Unavailable("integrated: it has no PCIe link")

_INTEGRATED_READINGS: Mapping[str, Reading] = {
    "memory_used_bytes": _SYSTEM_MEMORY,
    "memory_total_bytes": _SYSTEM_MEMORY,
    "temperature_gpu_c": _INTEGRATED,
    "temperature_memory_c": _SYSTEM_MEMORY,
    "power_draw_w": _INTEGRATED,
    "power_limit_w": _INTEGRATED,
    "power_limit_default_w": _INTEGRATED,
    "energy_j": _INTEGRATED,
    "fan_speed_rpm": _NO_FAN,
    "fan_speed_percent": _NO_FAN,
    "pcie_link_generation": _NO_LINK,
    "pcie_link_width": _NO_LINK,
}
"""Why an integrated GPU has no reading where a card has one."""


class IntelBackend(DrmBackend):
    """All GPUs of i915 and xe."""

    name = "intel"
    drivers = ("i915", "xe")

    def identify(self, device_dir: Path) -> GpuInfo:
        """See ``DrmBackend.identify``."""
        address = device_dir.name
        identity = device_id(device_dir)
        pci_id = ":".join(identity) if identity else "of an unknown kind"
        name = listed_name(identity, self.root) if identity else None
        return GpuInfo(
            id=f"pci:{address}",
            name=name or f"Intel GPU {pci_id}",
            vendor="Intel",
            kind=GpuKind.GPU,
            backend=self.name,
            pci_bus_id=address.rjust(len("00000000:00:00.0"), "0"),
            details={"Kernel driver": _driver_of(device_dir), "PCI id": pci_id},
            drives_display=drives_display(device_dir),
        )

    def open_card(self, info: GpuInfo, device_dir: Path) -> IntelCard:
        """See ``DrmBackend.open_card``."""
        return IntelCard(
            info, device_dir, FdinfoScanner(self.root / "proc", self.clock_s), self.clock_s
        )


class IntelCard:
    """One awake GPU.

    Attributes:
        info: With its greatest clock.
    """

    def __init__(
        self,
        info: GpuInfo,
        device_dir: Path,
        busy: FdinfoScanner,
        clock_s: Callable[[], float],
    ) -> None:
        """Read what does not change.

        Args:
            info: From ``identify``.
            device_dir: ``/sys/bus/pci/devices/<address>``.
            busy: Measures its engines where its driver does not count idle time; apart from the
                one that lists processes, whose looks come at their own pace.
            clock_s: For rates.
        """
        self.info = replace(info, limits=_limits(device_dir))
        # Only cards of their own register sensors.
        self.is_integrated = ":00:" in device_dir.name and not any(device_dir.glob("hwmon/hwmon*"))
        self._device_dir = device_dir
        self._busy = busy
        self._sensors = IntelSensors(
            device_dir, _driver_of(device_dir), self.is_integrated, clock_s
        )

    def sample(self) -> Sample:
        """Read all metrics."""
        return Sample(self.info.id, self._readings(), limited_by=self._sensors.limited_by())

    def close(self) -> None:
        """Keep no descriptor of the GPU."""
        self._sensors.close()

    def _readings(self) -> dict[str, Reading]:
        sensors = self._sensors
        energy_j = sensors.energy_j()
        generation, width = sensors.link()
        readings: dict[str, Reading] = {
            **dict.fromkeys(METRIC_BY_KEY, _NOT_BY_INTEL),
            "utilization_gpu_percent": self._utilization_percent(),
            "power_draw_w": sensors.power_w(energy_j),
            "power_limit_w": sensors.power_limit_w(),
            "power_limit_default_w": sensors.power_limit_default_w(),
            "energy_j": energy_j,
            "temperature_gpu_c": sensors.temperature_c(),
            "temperature_memory_c": sensors.temperature_memory_c(),
            "memory_used_bytes": _NEEDS_DEVICE,
            "memory_total_bytes": _NEEDS_DEVICE,
            "clock_graphics_mhz": sensors.clock_mhz(),
            "voltage_mv": sensors.voltage_mv(),
            "fan_speed_rpm": sensors.fan_rpm(),
            "pcie_link_generation": generation,
            "pcie_link_width": width,
        }
        if self.is_integrated:
            readings.update(_INTEGRATED_READINGS)
        return readings

    def _utilization_percent(self) -> Reading:
        """From idle time, which costs one file; where it is not counted, from all processes."""
        if self._sensors.counts_idle_time:
            return self._sensors.utilization_percent()
        uses = self._busy.scan(device_nodes(self._device_dir))
        if self._busy.hidden_reason:
            # What the visible ones do would be a number that is too small.
            return Unavailable(self._busy.hidden_reason)
        return busiest_engine_percent(uses)


def _driver_of(device_dir: Path) -> str:
    return (device_dir / "driver").resolve().name


def _limits(device_dir: Path) -> dict[str, float]:
    most_mhz = clock_most_mhz(device_dir)
    return {} if isinstance(most_mhz, Unavailable) else {"clock_graphics_mhz": most_mhz}
