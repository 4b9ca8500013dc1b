"""NVIDIA GPUs through NVML, on Linux and Windows: which there are, and whether they may be asked.

No call of the tick blocks: nvmlDeviceGetPcieThroughput, which sleeps 20 ms, is never used. A
sleeping GPU is left alone, an idle one let go of; a lost one is reported and looked for again.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from gpupanel.backends.base import ProbeResult, ProbeState, unavailable_sample
from gpupanel.backends.linux.proc import identity
from gpupanel.backends.linux.sleep import PCI_DEVICES
from gpupanel.backends.nvidia.nvml_cards import PciCards
from gpupanel.backends.nvidia.nvml_details import described
from gpupanel.backends.nvidia.nvml_events import EventWatch, OnEvent
from gpupanel.backends.nvidia.nvml_library import FAULTS, Library
from gpupanel.backends.nvidia.nvml_processes import Identify, ProcessLists
from gpupanel.backends.nvidia.nvml_readings import Reader
from gpupanel.backends.rest import LEFT_ALONE, Rest
from gpupanel.backends.sleep import SleepGate
from gpupanel.model.errors import BackendError, DriverMissing, NotSupported
from gpupanel.model.gpu import GpuId, GpuInfo, GpuState, ProcessSample, Sample

_DRIVER_FILES = ("/proc/driver/nvidia/version", "/dev/dxg")
"""One of them exists while a Linux kernel has the driver; the second is WSL's."""

_REINIT_INTERVAL_S = 10.0
"""Between two attempts to start NVML over; the other GPUs of the machine feel each."""

_FALL_ASLEEP_S = 30.0
"""What the driver takes at most once nobody holds it."""

_TIMES_IN_VAIN = 3
"""How often NVML is started over for a card that it does not know: the driver may not be ready, or
the card is another container's."""

_NOT_THERE = {FAULTS[6][1], FAULTS[28][1]}

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
        self._pci = PciCards(pci_devices or PCI_DEVICES, clock_unix_s)
        self._nvml = Library()
        self._devices: Mapping[GpuId, _Device] = {}
        self._places: tuple[_Place, ...] = ()
        self._in_vain: dict[str, int] = {}
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
            result = self._probed(self._meet())
        except BackendError:
            self.close()
            raise
        self._in_vain = dict.fromkeys(self._in_vain, _TIMES_IN_VAIN)
        return result

    def gpus(self) -> tuple[GpuInfo, ...]:
        """See ``Backend.gpus``."""
        return tuple(device.info for device in self._devices.values())

    def sample(self, gpu_id: GpuId) -> Sample:
        """See ``Backend.sample``; a lost GPU is a sample of reasons and looked for next time.

        Raises:
            KeyError: ``gpu_id`` is none of ``gpus()``.
        """
        device = self._devices[gpu_id]
        now_s = self._clock_s()
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

    def look_again(self) -> ProbeResult:
        """See ``HotPlug.look_again``; starts NVML, where it was let go of, for a new card only."""
        cards = self._pci.addresses()
        self._devices = {
            gpu_id: device
            for gpu_id, device in self._devices.items()
            if device.place in cards or isinstance(device.place, int)
        }
        self._in_vain = {card: times for card, times in self._in_vain.items() if card in cards}
        for device in self._devices.values():
            if device.gate is not None and not device.can_sleep:
                device.can_sleep = device.gate.can_sleep()
        if self._outage:
            return self._probed([self._outage])
        try:
            return self._probed(self._meet_new(cards))
        except BackendError as fault:
            # NVML itself fails: so will the readings that follow, and say why.
            return ProbeResult(self.name, ProbeState.OK, str(fault))

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
        self._devices, self._places = {}, ()
        self._nvml.stop()

    def gates(self) -> Mapping[str, SleepGate]:
        """See ``Sleepers.gates``."""
        ids = {device.place: gpu_id for gpu_id, device in self._devices.items()}
        return {
            ids.get(address, f"pci:{address}"): gate for address, gate in self._pci.gates.items()
        }

    def _left_alone(self, device: _Device, now_s: float) -> Sample | None:
        """What to say of a GPU that must not be asked now; None of one that may."""
        if device.gate is None or not device.can_sleep:
            return None
        if device.gate.is_asleep():
            device.rest.end()
            return device.gate.asleep_sample(device.info.id)
        return unavailable_sample(device.info.id, LEFT_ALONE) if device.rest.is_on(now_s) else None

    def _probed(self, silent: Sequence[str]) -> ProbeResult:
        if self._devices:
            self._watch_again()
            return ProbeResult(self.name, ProbeState.OK, "; ".join(silent))
        self.close()
        if silent:
            return ProbeResult(self.name, ProbeState.FAILED, "; ".join(silent))
        return ProbeResult(self.name, ProbeState.ABSENT, "the NVIDIA driver sees no GPU")

    def _meet_new(self, cards: Sequence[str]) -> list[str]:
        """As ``_meet``; NVML may know only the cards that were there when it started.

        Raises:
            BackendError: NVML fails.
        """
        if not self._nvml.is_started:
            met = {device.place for device in self._devices.values()}
            new = [card for card in cards if card not in met and card not in self._in_vain]
            if all(self._pci.gate(card).is_asleep() for card in new):
                return []
            self._start_over()
        silent = self._meet()
        unknown = any(
            times < _TIMES_IN_VAIN and self._pci.is_held(card)
            for card, times in self._in_vain.items()
        )
        if unknown and not self._is_watching():
            self._start_over()
            silent = self._meet()
        return silent

    def _meet(self) -> list[str]:
        """Add the GPUs that are new and awake to ``_devices``; returns what the others say."""
        silent = []
        cards = self._pci.addresses()
        places: tuple[_Place, ...] = cards or tuple(range(self._nvml.ask("nvmlDeviceGetCount")))
        # An index is a name for a GPU only as long as none came or went.
        is_same, self._places = places == self._places, places
        known = {device.place for device in self._devices.values()}
        seen = set()
        for place in places:
            gate = self._pci.gate(place) if isinstance(place, str) else None
            if place in known and (gate is not None or is_same):
                continue
            if gate is not None and gate.is_asleep():
                silent.append(f"the GPU at {place} is asleep and left alone")
                continue
            try:
                seen.add(self._add(place, gate))
            except BackendError as fault:
                # The system's list has cards of other drivers and of other containers too.
                if isinstance(place, str) and str(fault) in _NOT_THERE:
                    self._in_vain[place] = self._in_vain.get(place, 0) + 1
                else:
                    silent.append(f"GPU {place}: {fault}")
        if not is_same and not cards:
            self._devices = {i: one for i, one in self._devices.items() if i in seen}
        return silent

    def _add(self, place: _Place, gate: SleepGate | None) -> GpuId:
        """Describe the GPU there, unless it is known.

        Raises:
            BackendError: It does not answer.
        """
        by_bus = isinstance(place, str)
        function = "nvmlDeviceGetHandleByPciBusId" if by_bus else "nvmlDeviceGetHandleByIndex"
        handle = self._nvml.ask(function, place.encode() if isinstance(place, str) else place)
        gpu_id: GpuId = self._nvml.ask("nvmlDeviceGetUUID", handle)
        known = self._devices.get(gpu_id)
        if known is not None:
            known.place, known.gate = place, gate
            return gpu_id
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
        self._devices = {**self._devices, gpu_id: device}
        return gpu_id

    def _open(self, device: _Device, handle: object) -> None:
        device.reader.bind(self._nvml, handle)
        device.processes.bind(self._nvml, handle)
        device.is_open = True

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
            device.rest.end()
            return
        device.rest.idle(now_s)
        sleepers = [one for one in self._devices.values() if one.can_sleep and one.is_open]
        if not all(one.rest.is_due(now_s) for one in sleepers):
            return
        if busy := [one for one in sleepers if _has_processes(one)]:
            for one in busy:
                one.rest.end()
            return
        if self._watch is not None:
            self._watch.stop()
        for one in sleepers:
            one.rest.begin(now_s, _FALL_ASLEEP_S)
        for one in self._devices.values():
            one.is_open = False
        self._nvml.stop()


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
