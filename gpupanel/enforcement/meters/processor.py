"""Time of the processor as an OpenCL device: all of its cores together are one device."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection

from gpupanel.backends.linux.proc import processor_s
from gpupanel.enforcement.cell import Cell, ProcessKey


class ProcessorMeter:
    """Counts every second of processor time in the cell, whatever it is spent on.

    Attributes:
        capacity: 1: all cores busy for a second are one second.
    """

    capacity = 1.0

    def __init__(
        self,
        cores: int | None = None,
        processor_s: Callable[[int], float | None] = processor_s,
    ) -> None:
        """Count nothing yet.

        Args:
            cores: Of the machine; asked of the system if left out.
            processor_s: Processor time of a pid since its start; None where it is gone.
        """
        self._cores = cores or os.cpu_count() or 1
        self._processor_s = processor_s
        self._before_s = 0.0
        self._greatest_s = 0.0

    def admit(self, processes: Collection[ProcessKey], whole_life: bool) -> None:
        """See ``Meter.admit``; the cell itself counts from the moment that they are in it."""
        if whole_life:
            self._before_s += sum(self._processor_s(pid) or 0.0 for pid, _ in processes)

    def used_s(self, cell: Cell, now_s: float) -> float:
        """See ``Meter.used_s``."""
        del now_s
        used_s = (self._before_s + cell.cpu_s()) / self._cores
        self._greatest_s = max(self._greatest_s, used_s)
        return self._greatest_s

    def close(self) -> None:
        """See ``Meter.close``."""
