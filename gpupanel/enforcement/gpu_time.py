"""How much GPU time the processes in a cell have used: what the cap is kept by.

A second of GPU time is a second in which one whole device worked for them. Devices add up, so a
group on two GPUs may use two of them in one second. What the drivers count differs, and is said
in each file of ``meters``; it is the same before and after a hold begins, which is what a share of
an uncapped rate needs.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Mapping, Sequence

from gpupanel.enforcement.cell import Cell, ProcessKey
from gpupanel.enforcement.meter import Meter
from gpupanel.enforcement.meters.drm import DrmMeter
from gpupanel.enforcement.meters.nvml import NvmlMeter
from gpupanel.enforcement.meters.processor import ProcessorMeter
from gpupanel.enforcement.meters.wddm import WddmMeter
from gpupanel.model.errors import HoldFailed
from gpupanel.model.gpu import GpuInfo


class _Several:
    """The meters of different driver stacks, as one."""

    def __init__(self, meters: Sequence[Meter]) -> None:
        self._meters = meters
        self.capacity = sum(meter.capacity for meter in meters)

    def admit(self, processes: Collection[ProcessKey], whole_life: bool) -> None:
        for meter in self._meters:
            meter.admit(processes, whole_life)

    def used_s(self, cell: Cell, now_s: float) -> float:
        return sum(meter.used_s(cell, now_s) for meter in self._meters)

    def close(self) -> None:
        for meter in self._meters:
            meter.close()


_MAKERS: Mapping[str, Callable[[Sequence[GpuInfo]], Meter]] = {
    "host": lambda gpus: ProcessorMeter(),
    "amdgpu": DrmMeter,
    "intel": DrmMeter,
    # On Windows, NVML counts no process of a card that draws; Windows itself counts all.
    "nvml": WddmMeter if sys.platform == "win32" else NvmlMeter,
    "wddm": WddmMeter,
}
"""By the name of the driver stack."""


def meter_for(gpus: Sequence[GpuInfo]) -> Meter:
    """What counts the time that processes use of ``gpus``, all of them together.

    Args:
        gpus: At least one.

    Raises:
        HoldFailed: The time of one of them cannot be counted, and why.
    """
    by_backend: dict[str, list[GpuInfo]] = {}
    for gpu in gpus:
        by_backend.setdefault(gpu.backend, []).append(gpu)
    meters: list[Meter] = []
    try:
        for backend, own in by_backend.items():
            if backend not in _MAKERS:
                raise HoldFailed(f"nobody counts GPU time through the driver stack {backend}")
            meters.append(_MAKERS[backend](own))
    except HoldFailed:
        for meter in meters:
            meter.close()
        raise
    return meters[0] if len(meters) == 1 else _Several(meters)
