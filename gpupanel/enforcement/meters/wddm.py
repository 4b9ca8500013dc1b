"""GPU time on Windows: the running time of each process on each engine, of every vendor's GPU.

Never run on Windows so far: written from Microsoft's documentation and tested on doubles.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Sequence

from gpupanel.backends.wddm import Windows
from gpupanel.backends.windows.pdh import Counter, Instance, plain_kind, values_of
from gpupanel.backends.windows.win32_system import open_windows
from gpupanel.enforcement.cell import Cell, ProcessKey
from gpupanel.enforcement.meters.tally import Tally
from gpupanel.model.errors import BackendError, HoldFailed
from gpupanel.model.gpu import GpuInfo, Unavailable

_WORKING = ("3d", "compute", "cuda", "graphics", "highprioritycompute")
"""How the kinds of engines begin that compute and draw; copies and video do not count."""

_UNIT_S = 1e-7


class WddmMeter:
    """Adds up the engines that compute and draw.

    Attributes:
        capacity: GPUs.
    """

    def __init__(
        self,
        gpus: Sequence[GpuInfo],
        windows: Callable[[], Windows] = open_windows,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """Open the counters.

        Args:
            gpus: Those that Windows lists, by PCI address or device id, whoever reads them else.
            windows: Opens the system.
            clock_s: The clock of ``used_s``.

        Raises:
            HoldFailed: Windows does not list a GPU now, or this is not Windows.
        """
        self.capacity = float(len(gpus))
        self._clock_s = clock_s
        self._tally: Tally[tuple[ProcessKey, Instance]] = Tally()
        try:
            self._windows = windows()
            self._luids = frozenset(self._luid(gpu) for gpu in gpus)
        except BackendError as error:
            raise HoldFailed(f"GPU time cannot be counted: {error}") from error

    def admit(self, processes: Collection[ProcessKey], whole_life: bool) -> None:
        """See ``Meter.admit``."""
        if whole_life:
            return
        now_s = self._clock_s()
        for process, instance, running_s in self._running(processes):
            self._tally.begin((process, instance), running_s, now_s)

    def used_s(self, cell: Cell, now_s: float) -> float:
        """See ``Meter.used_s``."""
        for process, instance, running_s in self._running(cell.members()):
            self._tally.see((process, instance), running_s, now_s)
        self._tally.end_round(now_s)
        return self._tally.total

    def close(self) -> None:
        """See ``Meter.close``."""
        self._windows.close()

    def _luid(self, gpu: GpuInfo) -> int:
        for display in self._windows.displays():
            if gpu.id == display.device_id or (
                gpu.pci_bus_id is not None and gpu.pci_bus_id == display.pci_bus_id
            ):
                luid = self._windows.luid(display.device_id)
                if luid is not None:
                    return luid
        raise HoldFailed(f"Windows does not list {gpu.name} now, so its time cannot be counted")

    def _running(
        self, processes: Collection[ProcessKey]
    ) -> Iterator[tuple[ProcessKey, Instance, float]]:
        """Seconds of each process on each engine that counts.

        Raises:
            HoldFailed: The counters do not answer.
        """
        try:
            running = self._windows.collect()[Counter.ENGINE_TIME]
        except BackendError as error:
            raise HoldFailed(f"GPU time cannot be counted: {error}") from error
        if isinstance(running, Unavailable):
            raise HoldFailed(f"GPU time cannot be counted: {running.reason}")
        by_pid = {process[0]: process for process in processes}
        for instance, units in values_of(running).items():
            process = by_pid.get(instance.pid) if instance.pid is not None else None
            if process and instance.luid in self._luids and _is_working(instance):
                yield process, instance, units * _UNIT_S


def _is_working(instance: Instance) -> bool:
    return plain_kind(instance.engine_type).startswith(_WORKING)
