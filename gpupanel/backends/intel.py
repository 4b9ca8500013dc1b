"""Intel GPUs on Linux: the i915 and xe drivers, through sysfs and fdinfo.

Nothing here opens a GPU: what only its device file tells (memory in use) is said to be unknown.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from gpupanel.backends.base import ProbeResult, ProbeState, unavailable_sample
from gpupanel.backends.linux.drm_fdinfo import FdinfoScanner
from gpupanel.backends.linux.drm_processes import (
    busiest_engine_percent,
    device_nodes,
    process_samples,
)
from gpupanel.backends.linux.intel_sensors import IntelSensors, clock_most_mhz
from gpupanel.backends.linux.pci import device_id, devices_of, listed_name
from gpupanel.backends.linux.rest import LEFT_ALONE, Rest
from gpupanel.backends.linux.sleep import SleepGate
from gpupanel.model.gpu import (
    GpuId,
    GpuInfo,
    GpuKind,
    GpuState,
    ProcessSample,
    Reading,
    Sample,
    Unavailable,
)
from gpupanel.model.metrics import METRIC_BY_KEY

_DRIVERS = ("i915", "xe")

_GONE = "the GPU was removed, or its driver was unloaded"
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


@dataclass(slots=True)
class _Card:
    """One GPU.

    Attributes:
        busy: Measures its engines where its driver does not count idle time; apart from the one
            that lists processes, whose looks come at their own pace.
        sensors: None while it sleeps: no descriptor of a sleeping GPU is kept.
    """

    info: GpuInfo
    device_dir: Path
    driver: str
    is_integrated: bool
    gate: SleepGate
    pause: Rest
    busy: FdinfoScanner
    sensors: IntelSensors | None = None

    def let_go(self) -> None:
        """Keep no descriptor of the GPU."""
        if self.sensors is not None:
            self.sensors.close()
            self.sensors = None


class IntelBackend:
    """All GPUs of i915 and xe.

    Attributes:
        name: As in the ``sources`` of METRICS.
    """

    name = "intel"

    def __init__(
        self, root: Path = Path("/"), clock_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._root = root
        self._clock_s = clock_s
        self._cards: dict[GpuId, _Card] = {}
        self._scanner = FdinfoScanner(root / "proc", clock_s)

    @property
    def hidden_processes_reason(self) -> str:
        """How many processes the last ``processes()`` could not look into; empty for none."""
        return self._scanner.hidden_reason

    def probe(self) -> ProbeResult:
        """See ``Backend.probe``; reads only what does not wake a sleeping GPU."""
        self.close()
        for driver in _DRIVERS:
            for address in devices_of(driver, self._root) or ():
                busy = FdinfoScanner(self._root / "proc", self._clock_s)
                card = _card(self._root, address, driver, busy)
                self._cards[card.info.id] = card
        if not self._cards:
            return ProbeResult(self.name, ProbeState.ABSENT, "no GPU is driven by i915 or xe")
        return ProbeResult(self.name, ProbeState.OK)

    def gpus(self) -> tuple[GpuInfo, ...]:
        """See ``Backend.gpus``."""
        return tuple(card.info for card in self._cards.values())

    def sample(self, gpu_id: GpuId) -> Sample:
        """See ``Backend.sample``; one that could sleep and idles is left alone for a while."""
        card = self._cards[gpu_id]
        now_s = self._clock_s()
        if card.gate.is_asleep():
            card.let_go()
            card.pause.end()
            return card.gate.asleep_sample(gpu_id)
        if card.pause.is_on(now_s):
            card.let_go()
            return unavailable_sample(gpu_id, LEFT_ALONE)
        if not (card.device_dir / "driver").exists():
            card.let_go()
            return unavailable_sample(gpu_id, _GONE, GpuState.LOST)
        if card.sensors is None:
            card.sensors = IntelSensors(
                card.device_dir, card.driver, card.is_integrated, self._clock_s
            )
        readings = self._readings(card, card.sensors)
        card.pause.consider(now_s, readings["utilization_gpu_percent"])
        return Sample(gpu_id, readings, limited_by=card.sensors.limited_by())

    def processes(self) -> tuple[ProcessSample, ...]:
        """See ``Backend.processes``; xe wakes a GPU to read its clients, so some are left alone."""
        now_s = self._clock_s()
        awake = [
            card
            for card in self._cards.values()
            if not card.gate.is_asleep() and not card.pause.is_on(now_s)
        ]
        return process_samples(
            self._scanner.scan({node for card in awake for node in device_nodes(card.device_dir)}),
            {card.device_dir.name: card.info.id for card in awake},
            lambda gpu_id: self._cards[gpu_id].is_integrated,
        )

    def close(self) -> None:
        """See ``Backend.close``."""
        for card in self._cards.values():
            card.let_go()
        self._cards = {}

    def _readings(self, card: _Card, sensors: IntelSensors) -> dict[str, Reading]:
        energy_j = sensors.energy_j()
        generation, width = sensors.link()
        readings: dict[str, Reading] = {
            **dict.fromkeys(METRIC_BY_KEY, _NOT_BY_INTEL),
            "utilization_gpu_percent": self._utilization_percent(card, sensors),
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
        if card.is_integrated:
            readings.update(_INTEGRATED_READINGS)
        return readings

    def _utilization_percent(self, card: _Card, sensors: IntelSensors) -> Reading:
        """From idle time, which costs one file; where it is not counted, from all processes."""
        if sensors.counts_idle_time:
            return sensors.utilization_percent()
        uses = card.busy.scan(device_nodes(card.device_dir))
        if card.busy.hidden_reason:
            # What the visible ones do would be a number that is too small.
            return Unavailable(card.busy.hidden_reason)
        return busiest_engine_percent(uses)


def _card(root: Path, address: str, driver: str, busy: FdinfoScanner) -> _Card:
    device_dir = root / "sys/bus/pci/devices" / address
    gate = SleepGate(device_dir)
    # Only cards of their own register sensors.
    is_integrated = ":00:" in address and not any(device_dir.glob("hwmon/hwmon*"))
    identity = device_id(device_dir)
    pci_id = ":".join(identity) if identity else "of an unknown kind"
    name = listed_name(identity, root) if identity else None
    info = GpuInfo(
        id=f"pci:{address}",
        name=name or f"Intel GPU {pci_id}",
        vendor="Intel",
        kind=GpuKind.GPU,
        backend=IntelBackend.name,
        pci_bus_id=address.rjust(len("00000000:00:00.0"), "0"),
        limits={} if gate.is_asleep() else _limits(device_dir),
        details={"Kernel driver": driver, "PCI id": pci_id},
    )
    return _Card(info, device_dir, driver, is_integrated, gate, Rest(device_dir, gate), busy)


def _limits(device_dir: Path) -> dict[str, float]:
    most_mhz = clock_most_mhz(device_dir)
    return {} if isinstance(most_mhz, Unavailable) else {"clock_graphics_mhz": most_mhz}
