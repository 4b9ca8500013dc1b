"""What the backends of Linux's DRM drivers share: cards that come, sleep, rest, are lost and go.

A card is known by its PCI address. Whether its driver is there, and is still the same one, is told
by the folder ``drm`` of its device: the kernel makes it last and anew each time it loads a driver.
"""

from __future__ import annotations

import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from gpupanel.backends.base import ProbeResult, ProbeState, unavailable_sample
from gpupanel.backends.linux.drm_fdinfo import FdinfoScanner
from gpupanel.backends.linux.drm_processes import device_nodes, process_samples
from gpupanel.backends.linux.pci import devices_of
from gpupanel.backends.linux.sleep import PciPower
from gpupanel.backends.linux.sysfs import read_text
from gpupanel.backends.rest import LEFT_ALONE, Rest
from gpupanel.backends.sleep import SleepGate
from gpupanel.model.gpu import GpuId, GpuInfo, GpuState, ProcessSample, Reading, Sample, Unavailable

_IDLE_PERCENT = 1.0
"""Idle time is counted in milliseconds, and reading it is work for some GPUs."""

_MARGIN_S = 5.0

_GONE = "the GPU fell off the bus, or its driver was unloaded"
_RELOADED = "the driver was loaded again; reading starts over"


class Card(Protocol):
    """The files of one awake card, kept open."""

    @property
    def info(self) -> GpuInfo:
        """As complete as it gets."""

    @property
    def is_integrated(self) -> bool:
        """Whether it works in system memory."""

    def sample(self) -> Sample:
        """Read all metrics; ASLEEP where the driver says that it would have to wake the card."""

    def close(self) -> None:
        """Let go of every kept descriptor."""


class DrmBackend(ABC):
    """The cards of some drivers. One thread at a time, but for ``gpus``.

    Attributes:
        name: As in the ``sources`` of METRICS.
        drivers: As the kernel calls them.
    """

    name: str
    drivers: tuple[str, ...]

    def __init__(
        self,
        root: Path = Path("/"),
        clock_s: Callable[[], float] = time.monotonic,
        clock_unix_s: Callable[[], float] = time.time,
    ) -> None:
        self.root = root
        self.clock_s = clock_s
        self._clock_unix_s = clock_unix_s
        self._slots: Mapping[GpuId, _Slot] = {}
        self._scanner = FdinfoScanner(root / "proc", clock_s)

    @abstractmethod
    def identify(self, device_dir: Path) -> GpuInfo:
        """What can be told of a card without waking it."""

    @abstractmethod
    def open_card(self, info: GpuInfo, device_dir: Path) -> Card:
        """Read what does not change of a card that is awake."""

    def probe(self) -> ProbeResult:
        """See ``Backend.probe``; lists a folder for each driver, wakes nothing."""
        self.close()
        return self.look_again()

    def look_again(self) -> ProbeResult:
        """See ``HotPlug.look_again``; a card without its driver stays, as a lost one."""
        slots = {}
        for gpu_id, slot in self._slots.items():
            if slot.device_dir.exists():
                slots[gpu_id] = slot
            else:
                slot.close()
        held = [devices_of(driver, self.root) for driver in self.drivers]
        for address in (address for addresses in held for address in addresses or ()):
            device_dir = self.root / "sys/bus/pci/devices" / address
            # A driver that still starts has no such folder: the card is met when it is ready.
            if f"pci:{address}" not in slots and _driver_life(device_dir) is not None:
                slot = _Slot(self, device_dir, self._clock_unix_s)
                slots[slot.info.id] = slot
        self._slots = slots
        if slots:
            return ProbeResult(self.name, ProbeState.OK)
        loaded = [name for name, found in zip(self.drivers, held, strict=True) if found is not None]
        reason = (
            f"no GPU is driven by {' or '.join(loaded)}"
            if loaded
            else f"no {' or '.join(self.drivers)} driver is loaded"
        )
        return ProbeResult(self.name, ProbeState.ABSENT, reason)

    def gpus(self) -> tuple[GpuInfo, ...]:
        """See ``Backend.gpus``; a card that slept is known in full after its first sample."""
        return tuple(slot.info for slot in self._slots.values())

    def sample(self, gpu_id: GpuId) -> Sample:
        """See ``Backend.sample``; a sleeping card is asked for its power state only.

        A card that could sleep and has had no work for a while is left alone for some seconds.

        Raises:
            KeyError: ``gpu_id`` is none of ``gpus()``.
        """
        return self._slots[gpu_id].sample(self.clock_s())

    def processes(self) -> tuple[ProcessSample, ...]:
        """See ``Backend.processes``; xe wakes a GPU to tell of its clients: some are left alone."""
        now_s = self.clock_s()
        awake = {
            slot.device_dir.name: slot for slot in self._slots.values() if slot.is_awake(now_s)
        }
        return process_samples(
            self._scanner.scan(
                {node for slot in awake.values() for node in device_nodes(slot.device_dir)}
            ),
            {address: slot.info.id for address, slot in awake.items()},
            lambda gpu_id: self._slots[gpu_id].is_integrated,
        )

    @property
    def hidden_processes_reason(self) -> str:
        """See ``Backend.hidden_processes_reason``."""
        return self._scanner.hidden_reason

    def gates(self) -> Mapping[str, SleepGate]:
        """See ``Sleepers.gates``."""
        return {gpu_id: slot.gate for gpu_id, slot in self._slots.items()}

    def close(self) -> None:
        """See ``Backend.close``."""
        for slot in self._slots.values():
            slot.close()
        self._slots = {}


class _Slot:
    """One PCI address: its card, which may sleep, be lost and come back."""

    def __init__(
        self, backend: DrmBackend, device_dir: Path, clock_unix_s: Callable[[], float]
    ) -> None:
        self.device_dir = device_dir
        self._backend = backend
        self._clock_unix_s = clock_unix_s
        self._power = PciPower(device_dir)
        self.gate = SleepGate(self._power, clock_unix_s)
        self._rest = Rest()
        self._card: Card | None = None
        self._lost_since_unix_s: float | None = None
        self._driver_life = _driver_life(device_dir)
        self.info = backend.identify(device_dir)
        if not self.gate.is_asleep():
            self._open()

    def sample(self, now_s: float) -> Sample:
        """The card now, whatever its state."""
        if self.gate.is_asleep():
            # No descriptor of a sleeping card is kept.
            self.close()
            self._rest.end()
            return self.gate.asleep_sample(self.info.id)
        if self._rest.is_on(now_s):
            return unavailable_sample(self.info.id, LEFT_ALONE)
        if lost := self._lost():
            return lost
        sample = (self._card or self._open()).sample()
        if sample.state is GpuState.ASLEEP:
            return self.gate.asleep_sample(self.info.id)
        self._consider_rest(now_s, sample.readings["utilization_gpu_percent"])
        return sample

    @property
    def is_integrated(self) -> bool:
        """Whether it works in system memory; False while that is not known."""
        return self._card is not None and self._card.is_integrated

    def is_awake(self, now_s: float) -> bool:
        """Whether it may be looked at; reads the power state."""
        return not self.gate.is_asleep() and not self._rest.is_on(now_s)

    def close(self) -> None:
        """Let go of every file."""
        if self._card is not None:
            self._card.close()
            self._card = None

    def _open(self) -> Card:
        self._card = self._backend.open_card(self.info, self.device_dir)
        self.info = self._card.info
        return self._card

    def _lost(self) -> Sample | None:
        """While its driver is away; and once where another one came between two looks."""
        life, before = _driver_life(self.device_dir), self._driver_life
        self._driver_life = life
        if life is not None and life != before:
            self.info = self._backend.identify(self.device_dir)
        if life is not None and before in {life, None}:
            self._lost_since_unix_s = None
            return None
        self.close()
        if self._lost_since_unix_s is None:
            self._lost_since_unix_s = self._clock_unix_s()
        reason = _GONE if life is None else _RELOADED
        lost = unavailable_sample(self.info.id, reason, GpuState.LOST)
        return replace(lost, state_since_unix_s=self._lost_since_unix_s)

    def _consider_rest(self, now_s: float, utilization_percent: Reading) -> None:
        """Begin a pause after a time without work; an unknown utilization may be work.

        A card that shows a picture, or that the system keeps awake, is read all the time.
        """
        busy = isinstance(utilization_percent, Unavailable) or utilization_percent >= _IDLE_PERCENT
        if busy or not self.gate.can_sleep() or self._shows_a_picture():
            self._rest.end()
            return
        self._rest.idle(now_s)
        if self._rest.is_due(now_s):
            self._rest.begin(now_s, self._power.sleep_delay_s() + _MARGIN_S)

    def _shows_a_picture(self) -> bool:
        for connector in self.device_dir.glob("drm/card*/card*-*/enabled"):
            try:
                if read_text(str(connector)) == "enabled":
                    return True
            except OSError:
                continue  # unplugged while we looked
        return False


def _driver_life(device_dir: Path) -> int | None:
    """Another number each time that the driver takes the card; None while none holds it."""
    try:
        return os.stat(f"{device_dir}/drm").st_ino
    except OSError:
        return None
