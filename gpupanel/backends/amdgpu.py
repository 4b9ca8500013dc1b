"""AMD GPUs on Linux, from the files of the amdgpu driver: sysfs, hwmon and gpu_metrics.

No render node is opened and no library is loaded, for both wake a sleeping card. ``pcie_bw``,
which counts for a second before it answers, is never read.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from gpupanel.backends.base import ProbeResult, ProbeState, unavailable_sample
from gpupanel.backends.linux.amdgpu_card import AmdgpuCard
from gpupanel.backends.linux.drm_fdinfo import FdinfoScanner
from gpupanel.backends.linux.drm_processes import device_nodes, process_samples
from gpupanel.backends.linux.pci import devices_of
from gpupanel.backends.linux.rest import LEFT_ALONE, Rest
from gpupanel.backends.linux.sleep import SleepGate
from gpupanel.backends.linux.sysfs import read_text
from gpupanel.model.gpu import GpuId, GpuInfo, GpuState, ProcessSample, Sample

_IDLE_S = 60.0
_MARGIN_S = 2.0
_USUAL_DELAY_MS = 5000

_LEFT_ALONE = "idle, and left alone so that it can fall asleep"

_GONE = "the GPU fell off the bus, or its driver was removed"


class AmdgpuBackend:
    """The GPUs that the amdgpu driver holds.

    Attributes:
        name: As in the ``sources`` of METRICS.
    """

    name = "amdgpu"

    def __init__(
        self,
        root: Path = Path("/"),
        clock_s: Callable[[], float] = time.monotonic,
        clock_unix_s: Callable[[], float] = time.time,
    ) -> None:
        self._root = root
        self._clock_s = clock_s
        self._clock_unix_s = clock_unix_s
        self._slots: dict[GpuId, _Slot] = {}
        self._scanner = FdinfoScanner(root / "proc", clock_s)

    def probe(self) -> ProbeResult:
        """See ``Backend.probe``; lists one folder on a machine without AMD GPUs."""
        self.close()
        addresses = devices_of("amdgpu", self._root)
        if not addresses:
            missing = "is not loaded" if addresses is None else "holds no GPU"
            return ProbeResult(self.name, ProbeState.ABSENT, f"the amdgpu driver {missing}")
        for address in addresses:
            slot = _Slot(address, self._root, self._clock_s, self._clock_unix_s)
            self._slots[slot.info.id] = slot
        return ProbeResult(self.name, ProbeState.OK)

    def gpus(self) -> tuple[GpuInfo, ...]:
        """See ``Backend.gpus``; a card that slept is known in full after its first sample."""
        return tuple(slot.info for slot in self._slots.values())

    def sample(self, gpu_id: GpuId) -> Sample:
        """See ``Backend.sample``; a sleeping card is asked for its power state only.

        A card that could sleep and has had no work for a while is left alone for some seconds.

        Raises:
            KeyError: ``gpu_id`` is none of ``gpus()``.
        """
        return self._slots[gpu_id].sample()

    def processes(self) -> tuple[ProcessSample, ...]:
        """See ``Backend.processes``; those of a card that sleeps or rests are left alone."""
        now_s = self._clock_s()
        awake = {slot.address: slot for slot in self._slots.values() if slot.is_awake(now_s)}
        return process_samples(
            self._scanner.scan({node for slot in awake.values() for node in slot.nodes()}),
            {address: slot.info.id for address, slot in awake.items()},
            lambda gpu_id: self._slots[gpu_id].is_integrated,
        )

    @property
    def hidden_processes_reason(self) -> str:
        """See ``Backend.hidden_processes_reason``."""
        return self._scanner.hidden_reason

    def close(self) -> None:
        """See ``Backend.close``."""
        for slot in self._slots.values():
            slot.close()
        self._slots = {}


class _Slot:
    """One PCI address: its card, which may sleep, be lost and come back."""

    def __init__(
        self,
        address: str,
        root: Path,
        clock_s: Callable[[], float],
        clock_unix_s: Callable[[], float],
    ) -> None:
        self.address = address
        self._device_dir = root / "sys/bus/pci/devices" / address
        self._clock_s = clock_s
        self._clock_unix_s = clock_unix_s
        self._gate = SleepGate(self._device_dir, clock_unix_s)
        self._rest = Rest(self._device_dir, self._gate)
        self._card: AmdgpuCard | None = None
        self._lost_since_unix_s: float | None = None
        self._root = root
        self.info = AmdgpuCard.identify(address, self._device_dir, root, _kernel_release(root))
        if not self._gate.is_asleep():
            self._open()

    def sample(self) -> Sample:
        """The card now, whatever its state."""
        if self._gate.is_asleep():
            self._rest.end()
            return self._gate.asleep_sample(self.info.id)
        now_s = self._clock_s()
        if self._rest.is_on(now_s):
            return unavailable_sample(self.info.id, LEFT_ALONE)
        if self._card is None and not self._open():
            return self._lost_sample()
        assert self._card is not None
        sample = self._card.sample()
        if sample.state is GpuState.ASLEEP:
            return self._gate.asleep_sample(self.info.id)
        if _is_blank(sample) and not self._has_driver():
            self.close()
            return self._lost_sample()
        self._rest.consider(now_s, sample.readings["utilization_gpu_percent"])
        return sample

    @property
    def is_integrated(self) -> bool:
        """Whether it works in system memory; False while that is not known."""
        return self._card is not None and self._card.is_integrated

    def is_awake(self, now_s: float) -> bool:
        """Whether it may be looked at; reads the power state."""
        return not self._gate.is_asleep() and not self._rest.is_on(now_s)

    def nodes(self) -> tuple[str, ...]:
        """The names of its device files."""
        return device_nodes(self._device_dir)

    def close(self) -> None:
        """Let go of every file."""
        if self._card is not None:
            self._card.close()
            self._card = None

    def _open(self) -> bool:
        if not self._has_driver():
            return False
        self._card = AmdgpuCard(self.info, self._device_dir, self._clock_s)
        self.info = self._card.info
        self._lost_since_unix_s = None
        return True

    def _has_driver(self) -> bool:
        return (self._device_dir / "driver").exists()

    def _lost_sample(self) -> Sample:
        if self._lost_since_unix_s is None:
            self._lost_since_unix_s = self._clock_unix_s()
        lost = unavailable_sample(self.info.id, _GONE, GpuState.LOST)
        return replace(lost, state_since_unix_s=self._lost_since_unix_s)


def _is_blank(sample: Sample) -> bool:
    return not any(isinstance(reading, int | float) for reading in sample.readings.values())


def _kernel_release(root: Path) -> str | None:
    """The version of amdgpu, which is a part of the kernel."""
    try:
        return read_text(f"{root}/proc/sys/kernel/osrelease")
    except OSError:
        return None
