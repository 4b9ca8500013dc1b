"""GPU time on NVIDIA's driver, which notes per cent of each process at times of its own.

Nothing is noted of who did nothing, and nothing tells how long the driver's period is: that is
learnt from the notes on those who work without a pause, as everybody does before a cap begins. One
who pauses in step with the driver from its first note on seems to do so, and counts too much until
it works through a period.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

from gpupanel.backends.nvidia.nvml_library import Library
from gpupanel.backends.nvidia.nvml_use import AHEAD_US, Use, UseNotes
from gpupanel.enforcement.cell import Cell, ProcessKey
from gpupanel.model.errors import BackendError, HoldFailed
from gpupanel.model.gpu import GpuInfo

_FIRST_PERIOD_US = 1_000_000 / 6
"""Between two notes where that is not learnt yet; the driver's own is a sixth to a whole second."""

_LONGEST_PERIOD_US = 1_500_000
_GAPS, _ENOUGH_GAPS = 32, 4
"""A quarter of the last gaps is no longer than the period, unless everybody pauses."""

_LATE_S = 3.0
"""Notes on a process come until so long after its end; later its pid may be another's."""

_PAUSE = 1.5
"""A gap this many times longer than the rest was a pause: nothing is noted of who does nothing."""


class NvmlMeter:
    """Per cent of the SMs, times the time that each note stands for.

    Attributes:
        capacity: GPUs.
    """

    def __init__(
        self,
        gpus: Sequence[GpuInfo],
        library: Library | None = None,
        clock_unix_s: Callable[[], float] = time.time,
    ) -> None:
        """Start NVML for this alone; it counts its users.

        Args:
            gpus: By their NVML ids.
            library: NVML, not started.
            clock_unix_s: The driver's notes are dated by it.

        Raises:
            HoldFailed: NVML does not start, or does not know a GPU.
        """
        self.capacity = float(len(gpus))
        self._nvml = library or Library()
        self._clock_unix_s = clock_unix_s
        self._since_us: dict[int, float] = {}
        self._lived_s: dict[int, float] = {}
        try:
            self._nvml.start()
            self._logs = [
                _Log(UseNotes(self._nvml, self._nvml.ask("nvmlDeviceGetHandleByUUID", gpu.id),
                              clock_unix_s), self._now_us())
                for gpu in gpus
            ]  # fmt: skip
        except BackendError as error:
            self._nvml.stop()
            raise HoldFailed(f"GPU time cannot be counted: {error}") from error

    def admit(self, processes: Collection[ProcessKey], whole_life: bool) -> None:
        """See ``Meter.admit``; of a whole life, what the driver still knows: seconds."""
        pids = {pid for pid, _ in processes}
        if whole_life:
            for log in self._logs:
                log.recall(pids - self._since_us.keys())
        since_us = float("-inf") if whole_life else self._now_us()
        for pid in pids:
            self._since_us.setdefault(pid, since_us)

    def used_s(self, cell: Cell, now_s: float) -> float:
        """See ``Meter.used_s``; a second late at most, as the driver's notes are."""
        for pid, _ in cell.members():
            self._since_us.setdefault(pid, float("-inf"))
            self._lived_s[pid] = now_s
        for pid in tuple(self._since_us):
            if now_s - self._lived_s.setdefault(pid, now_s) > _LATE_S:
                del self._since_us[pid], self._lived_s[pid]
        self._follow_the_clock()
        for log in self._logs:
            log.read(self._since_us)
        return sum(log.used_s for log in self._logs)

    def close(self) -> None:
        """See ``Meter.close``."""
        self._nvml.stop()

    def _follow_the_clock(self) -> None:
        """If it was set back, notes from now on would be older than those that were read."""
        now_us = self._now_us()
        for log in self._logs:
            if log.seen_us > now_us + AHEAD_US:
                log.seen_us = now_us
                log.last_us.clear()
                self._since_us = {pid: min(us, now_us) for pid, us in self._since_us.items()}

    def _now_us(self) -> float:
        return self._clock_unix_s() * 1e6


@dataclass(slots=True)
class _Log:
    """The notes of one GPU, added up.

    Attributes:
        seen_us: Of the newest note that was read.
        used_s: Of the processes that count; never falls.
        last_us: By pid, of everybody's newest note.
        gaps_us: Between the notes of one process, the last ones of all processes.
        period_us: The driver's, as far as it is learnt; only ever gets shorter.
    """

    notes: UseNotes
    seen_us: float
    used_s: float = 0.0
    last_us: dict[int, int] = field(default_factory=dict)
    gaps_us: deque[int] = field(default_factory=lambda: deque(maxlen=_GAPS))
    period_us: float = _LONGEST_PERIOD_US

    def read(self, since_us: dict[int, float]) -> None:
        """Add what is new of the pids in ``since_us``, each from its time on.

        Raises:
            HoldFailed: The driver would not say.
        """
        for use in self._asked(int(self.seen_us)):
            span_us = self._span_us(use)
            self.seen_us = max(self.seen_us, use.time_us)
            began_us = since_us.get(use.pid)
            if began_us is not None:
                counted_us = min(span_us, use.time_us - began_us)
                self.used_s += max(0.0, counted_us) * _share(use) / 1e6

    def recall(self, pids: Collection[int]) -> None:
        """Add what was noted of ``pids`` before the newest note that was read.

        Raises:
            HoldFailed: The driver would not say.
        """
        own = [use for use in self._asked(0) if use.pid in pids and use.time_us <= self.seen_us]
        before: dict[int, int] = {}
        for use in own:
            gap_us = use.time_us - before.get(use.pid, 0)
            before[use.pid] = use.time_us
            self.used_s += min(gap_us, self.period_us, _FIRST_PERIOD_US) * _share(use) / 1e6

    def _asked(self, since_us: int) -> list[Use]:
        try:
            found = self.notes.since(since_us)
        except BackendError as error:
            raise HoldFailed(f"GPU time cannot be counted: {error}") from error
        return sorted(
            (use for use in found if use.time_us > since_us and max(use.percents) <= 100),
            key=lambda use: use.time_us,
        )

    def _span_us(self, use: Use) -> float:
        """The time that a note stands for: since the last of its process, unless that paused."""
        last_us = self.last_us.get(use.pid)
        self.last_us[use.pid] = use.time_us
        if last_us is None:
            return min(self.period_us, _FIRST_PERIOD_US)
        gap_us = use.time_us - last_us
        if 0 < gap_us <= _LONGEST_PERIOD_US:
            self.gaps_us.append(gap_us)
        if len(self.gaps_us) >= _ENOUGH_GAPS:
            quarter_us = float(sorted(self.gaps_us)[len(self.gaps_us) // 4])
            self.period_us = min(self.period_us, quarter_us)
        return gap_us if gap_us <= _PAUSE * self.period_us else self.period_us


def _share(use: Use) -> float:
    return use.percents[0] / 100
