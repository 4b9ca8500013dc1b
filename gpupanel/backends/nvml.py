"""NVIDIA GPUs through NVML, on Linux and Windows: which there are, and whether they may be asked.

No call of the tick blocks: nvmlDeviceGetPcieThroughput, which sleeps 20 ms, is never used. A
sleeping GPU is left alone, an idle one let go of; a lost one is reported and looked for again.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from gpupanel.backends.base import ProbeResult, ProbeState, unavailable_sample
from gpupanel.backends.linux.proc import identity
from gpupanel.backends.linux.sleep import PCI_DEVICES, SleepGate
from gpupanel.backends.nvidia.nvml_details import described
from gpupanel.backends.nvidia.nvml_events import EventWatch, OnEvent
from gpupanel.backends.nvidia.nvml_library import FAULTS, Library
from gpupanel.backends.nvidia.nvml_processes import Identify, ProcessLists
from gpupanel.backends.nvidia.nvml_readings import Reader
from gpupanel.backends.nvidia.nvml_rest import Rest
from gpupanel.model.errors import BackendError, DriverMissing, NotSupported
from gpupanel.model.gpu import GpuId, GpuInfo, GpuState, ProcessSample, Sample

_DRIVER_FILES = ("/proc/driver/nvidia/version", "/dev/dxg")
"""One of them exists while a Linux kernel has the driver; the second is WSL's."""

_REINIT_INTERVAL_S = 10.0
"""Between two attempts to start NVML over; the other GPUs of the machine feel each."""

_LOOK_INTERVAL_S = 30.0
"""Between two looks for GPUs that came or went, and for whether they can sleep."""

_NVIDIA = "0x10de"
_DISPLAY_CLASS = "0x03"
_NOT_THERE = {FAULTS[6][1], FAULTS[28][1]}

_REMOVED = "the GPU was removed"
_LET_GO = "left alone, so that it can fall asleep"

_Place = str | int
"""Where to look for a GPU: a PCI address of sysfs; NVML's index where there is no sysfs."""


@dataclass(slots=True)
class _Device:
    """One GPU that was there once.

    Attributes:
        bus_id: As NVML spells it, to find the GPU again.
        gate: None where the system has no power state for it.
        can_sleep: Whether the gate must be asked at all.
        is_open: Whether its handle holds; not while it is lost, let go of, or NVML was shut down.
        lost_since_unix_s: None while it is not lost.
    """

    info: GpuInfo
    bus_id: str
    place: _Place
    gate: SleepGate | None
    reader: Reader
    processes: ProcessLists
    can_sleep: bool = False
    is_open: bool = False
    is_removed: bool = False
    lost_since_unix_s: float | None = None
    rest: Rest = field(default_factory=Rest)


class NvmlBackend:
    """The NVIDIA GPUs that NVML lists.

    Attributes:
        name: As in the ``sources`` of METRICS.
    """

    name = "nvml"
    hidden_processes_reason = ""

    def __init__(
        self,
        clock_s: Callable[[], float] = time.monotonic,
        pci_devices: Path | None = None,
        identify: Identify = identity,
        clock_unix_s: Callable[[], float] = time.time,
    ) -> None:
        self._clock_s = clock_s
        self._clock_unix_s = clock_unix_s
        self._identify = identify
        self._pci = _PciCards(pci_devices or PCI_DEVICES)
        self._nvml = Library()
        self._devices: dict[GpuId, _Device] = {}
        self._places: tuple[_Place, ...] = ()
        self._look_at_s = 0.0
        self._not_loaded = False
        self._reinit_at_s = float("-inf")
        self._outage = ""
        self._on_event: OnEvent | None = None
        self._watch: EventWatch | None = None

    def probe(self) -> ProbeResult:
        """See ``Backend.probe``; GPUs that sleep are left alone and found when they wake.

        Raises:
            BackendError: The driver is there and does not work, or nvidia-ml-py is missing.
        """
        cards = self._pci.addresses()
        if cards and all(self._pci.gate(card).is_asleep() for card in cards):
            reason = "; ".join(f"the GPU at {card} is asleep and left alone" for card in cards)
            return ProbeResult(self.name, ProbeState.ABSENT, reason)
        # nvmlInit makes the kernel load the driver: tried once, then only when it is loaded.
        if self._not_loaded and not _driver_is_loaded():
            return ProbeResult(self.name, ProbeState.ABSENT, FAULTS[9][1])
        try:
            self._nvml.start()
        except DriverMissing as missing:
            self._not_loaded = str(missing) == FAULTS[9][1]
            return ProbeResult(self.name, ProbeState.ABSENT, str(missing))
        try:
            return self._probed(self._meet())
        except BackendError:
            self.close()
            raise

    def gpus(self) -> tuple[GpuInfo, ...]:
        """See ``Backend.gpus``."""
        return tuple(device.info for device in self._devices.values() if not device.is_removed)

    def sample(self, gpu_id: GpuId) -> Sample:
        """See ``Backend.sample``; a lost GPU is a sample of reasons and looked for next time.

        Raises:
            KeyError: ``gpu_id`` is none of ``gpus()``.
        """
        device = self._devices[gpu_id]
        now_s = self._clock_s()
        if now_s >= self._look_at_s:
            self._look_again(now_s)
        unasked = self._left_alone(device, now_s)
        if unasked is not None:
            return unasked
        try:
            if not device.is_open:
                self._recover(device, now_s)
            sample = device.reader.sample(now_s)
        except BackendError as fault:
            device.is_open = False
            return self._lost(device, str(fault))
        device.lost_since_unix_s = None
        if device.can_sleep:
            self._rest(device, sample, now_s)
        return sample

    def processes(self) -> tuple[ProcessSample, ...]:
        """See ``Backend.processes``; of GPUs that are awake and open."""
        found: list[ProcessSample] = []
        for device in self._devices.values():
            if self._may_ask(device):
                try:
                    found += device.processes.read()
                except BackendError:
                    # Lost, as its next sample says; or no right to the list, which has no rows.
                    continue
        return tuple(found)

    def watch(self, on_event: OnEvent) -> None:
        """Hand Xid, ECC and clock events to ``on_event``, on a thread of its own; on Linux."""
        self._on_event = on_event
        self._watch_again()

    def close(self) -> None:
        """See ``Backend.close``; waits at most half a second for the thread of events."""
        if self._watch is not None:
            self._watch.stop()
            self._watch.join()
            self._watch = None
        self._devices = {}
        self._nvml.stop()

    def _left_alone(self, device: _Device, now_s: float) -> Sample | None:
        """What to say of a GPU that must not be asked now; None of one that may."""
        if device.is_removed:
            return self._lost(device, _REMOVED)
        if device.gate is None or not device.can_sleep:
            return None
        if device.gate.is_asleep():
            device.rest.asleep()
            return device.gate.asleep_sample(device.info.id)
        device.rest.awake(now_s)
        return unavailable_sample(device.info.id, _LET_GO) if device.rest.is_let_go else None

    def _probed(self, silent: Sequence[str]) -> ProbeResult:
        if self._devices:
            self._look_at_s = self._clock_s() + _LOOK_INTERVAL_S
            self._watch_again()
            return ProbeResult(self.name, ProbeState.OK, "; ".join(silent))
        self.close()
        if silent:
            return ProbeResult(self.name, ProbeState.FAILED, "; ".join(silent))
        return ProbeResult(self.name, ProbeState.ABSENT, "the NVIDIA driver sees no GPU")

    def _meet(self) -> list[str]:
        """Add the GPUs that are new and awake to ``_devices``; returns what the others say."""
        silent = []
        places: tuple[_Place, ...] = self._pci.addresses()
        if not places:
            places = tuple(range(self._nvml.ask("nvmlDeviceGetCount")))
        # An index is a name for a GPU only as long as none came or went.
        is_same, self._places = places == self._places, places
        known = {device.place for device in self._devices.values() if not device.is_removed}
        for place in places:
            gate = self._pci.gate(place) if isinstance(place, str) else None
            if place in known and (gate is not None or is_same):
                continue
            if gate is not None and gate.is_asleep():
                silent.append(f"the GPU at {place} is asleep and left alone")
                continue
            try:
                self._add(place, gate)
            except BackendError as fault:
                # The system's list has cards of other drivers and of other containers too.
                if gate is None or str(fault) not in _NOT_THERE:
                    silent.append(f"GPU {place}: {fault}")
        return silent

    def _add(self, place: _Place, gate: SleepGate | None) -> None:
        """Describe the GPU there, unless it is known.

        Raises:
            BackendError: It does not answer.
        """
        by_bus = isinstance(place, str)
        function = "nvmlDeviceGetHandleByPciBusId" if by_bus else "nvmlDeviceGetHandleByIndex"
        handle = self._nvml.ask(function, place.encode() if isinstance(place, str) else place)
        gpu_id = self._nvml.ask("nvmlDeviceGetUUID", handle)
        known = self._devices.get(gpu_id)
        if known is not None:
            known.place, known.gate, known.is_removed = place, gate, False
            return
        info = described(self._nvml, handle, self.name)
        device = _Device(
            info=info,
            bus_id=self._nvml.ask("nvmlDeviceGetPciInfo", handle).busId,
            place=place,
            gate=gate,
            reader=Reader(gpu_id, info.limits.get("power_limit_w")),
            processes=ProcessLists(info, self._identify, self._clock_unix_s),
            can_sleep=gate is not None and gate.can_sleep(),
        )
        self._open(device, handle)
        self._devices[gpu_id] = device

    def _open(self, device: _Device, handle: object) -> None:
        device.reader.bind(self._nvml, handle)
        device.processes.bind(self._nvml, handle)
        device.is_open = True

    def _look_again(self, now_s: float) -> None:
        """Note GPUs that came or went."""
        self._look_at_s = now_s + _LOOK_INTERVAL_S
        for device in self._devices.values():
            if device.gate is not None and not device.can_sleep:
                device.can_sleep = device.gate.can_sleep()
        cards = self._pci.addresses()
        for device in self._devices.values():
            device.is_removed = isinstance(device.place, str) and device.place not in cards
            device.is_open = device.is_open and not device.is_removed
        if self._nvml.is_started and not self._outage:
            try:
                self._meet()
            except BackendError:
                # NVML itself failed: so will the reading that follows, and say why.
                return
            self._watch_again()

    def _may_ask(self, device: _Device) -> bool:
        """Whether it has a handle and is awake."""
        if not device.is_open:
            return False
        return not (device.can_sleep and device.gate is not None and device.gate.is_asleep())

    def _lost(self, device: _Device, reason: str) -> Sample:
        if device.lost_since_unix_s is None:
            device.lost_since_unix_s = self._clock_unix_s()
        sample = unavailable_sample(device.info.id, reason, GpuState.LOST)
        return replace(sample, state_since_unix_s=device.lost_since_unix_s)

    def _recover(self, device: _Device, now_s: float) -> None:
        """Get a handle again, at times by starting NVML over.

        Raises:
            BackendError: Not this time.
        """
        if device.lost_since_unix_s is not None and now_s >= self._reinit_at_s:
            # The thread's hold on NVML would keep the old state alive: it ends by itself soon.
            if self._is_watching():
                raise BackendError("the NVIDIA driver is being started over")
            self._reinit_at_s = now_s + _REINIT_INTERVAL_S
            self._start_over()
        elif not self._nvml.is_started and not self._outage:
            self._start_over()
        if self._outage:
            raise BackendError(self._outage)
        self._open(device, self._nvml.ask("nvmlDeviceGetHandleByPciBusId", device.bus_id.encode()))
        self._watch_again()

    def _is_watching(self) -> bool:
        """Whether the thread of events still holds NVML; asks it to end."""
        if self._watch is None:
            return False
        self._watch.stop()
        if self._watch.is_alive:
            return True
        self._watch = None
        return False

    def _start_over(self) -> None:
        """Shut NVML down and start it; every handle is void then."""
        for device in self._devices.values():
            device.is_open = False
        self._nvml.stop()
        try:
            self._nvml.start()
        except BackendError as fault:
            self._outage = str(fault)
        else:
            self._outage = ""

    def _watch_again(self) -> None:
        """Start the thread of events if somebody listens and none runs."""
        if sys.platform != "win32" and self._on_event is not None and self._nvml.is_started:
            if self._watch is not None and self._watch.is_alive:
                return
            opened = {one.info.id: one.bus_id for one in self._devices.values() if one.is_open}
            self._watch = EventWatch(opened, self._on_event, self._clock_unix_s)
            self._watch.start()

    def _rest(self, device: _Device, sample: Sample, now_s: float) -> None:
        """Let go of NVML once all GPUs that can sleep are idle; the others open it again."""
        if sample.readings["utilization_gpu_percent"] != 0:
            device.rest.used()
            return
        device.rest.idle(now_s)
        sleepers = [one for one in self._devices.values() if one.can_sleep and one.is_open]
        if not all(one.rest.is_due(now_s) for one in sleepers):
            return
        if busy := [one for one in sleepers if _has_processes(one)]:
            for one in busy:
                one.rest.used()
            return
        if self._watch is not None:
            self._watch.stop()
        for one in sleepers:
            one.rest.let_go(now_s)
        for one in self._devices.values():
            one.is_open = False
        self._nvml.stop()


class _PciCards:
    """The NVIDIA display cards in sysfs; empty where there is no sysfs.

    Vendor and class are read once for each address, so that looking again opens no file.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._is_ours: dict[str, bool] = {}
        self._gates: dict[str, SleepGate] = {}

    def addresses(self) -> tuple[str, ...]:
        """In order."""
        try:
            names = {entry.name for entry in self._root.iterdir()}
        except OSError:
            return ()
        known = self._is_ours
        self._is_ours = {name: known[name] if name in known else self._look(name) for name in names}
        return tuple(sorted(name for name, is_ours in self._is_ours.items() if is_ours))

    def gate(self, address: str) -> SleepGate:
        """Always the same for an address."""
        return self._gates.setdefault(address, SleepGate(self._root / address))

    def _look(self, name: str) -> bool:
        try:
            vendor = (self._root / name / "vendor").read_text(encoding="ascii", errors="replace")
            kind = (self._root / name / "class").read_text(encoding="ascii", errors="replace")
        except OSError:
            return False
        return vendor.strip() == _NVIDIA and kind.startswith(_DISPLAY_CLASS)


def _has_processes(device: _Device) -> bool:
    try:
        return bool(device.processes.pids())
    except NotSupported:
        return False
    except BackendError:
        # Not known whether anybody uses it: then it is used.
        return True


def _driver_is_loaded() -> bool:
    """Whether asking NVML can do no more than answer; touches no device."""
    return sys.platform == "win32" or any(Path(file).exists() for file in _DRIVER_FILES)
