"""Holding a process tree on Windows 11, by state changes that Windows undoes when we die.

Children are found by their parent's number and the order of their starts, at each freeze; one whose
parent has ended is not found, and a program that knows how can start a thread that no state change
holds. What thinks here is pure, the calls are in ``windows/``. Never run on Windows so far.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass

from gpupanel.enforcement.cell import Cell, Means, ProcessKey, Trace
from gpupanel.enforcement.tree import descendants
from gpupanel.enforcement.windows.win32_process_state import (
    GPU_IDLE,
    GPU_NORMAL,
    Process,
    ProcessState,
)
from gpupanel.model.errors import HoldFailed

MEANS = Means(
    "Windows process state change (best effort: a child whose parent has ended is not found)", True
)

_SAME_START = 20
"""Two microseconds of FILETIME: other ways to the start of a process go through floating point."""

_SYSTEM_PIDS = frozenset({0, 4})


@dataclass(slots=True)
class _Held:
    """One member, and its handles."""

    process: int
    change: int
    used_before: int


class WindowsFreezer:
    """See ``gpupanel.enforcement.cell.Freezer``."""

    def __init__(self, state: ProcessState) -> None:
        self._state = state

    def cell(self, name: str) -> Cell:
        """See ``Freezer``; the name is for other systems."""
        del name
        return WindowsCell(self._state)


class WindowsCell:
    """See ``gpupanel.enforcement.cell.Cell``."""

    def __init__(self, state: ProcessState) -> None:
        self.means = MEANS
        self._state = state
        self._members: dict[ProcessKey, _Held] = {}
        self._former = 0

    @property
    def trace(self) -> Trace:
        """See ``Cell``: there is nothing that anybody must undo for us."""
        return {"kind": "handles"}

    def add(self, processes: Collection[ProcessKey]) -> None:
        """See ``Cell``."""
        for key in processes:
            if key[0] in _SYSTEM_PIDS:
                raise HoldFailed(f"pid {key[0]} is part of the system and is never held")
            if key not in self._members and key[0] != os.getpid():
                self._enter(key)

    def members(self) -> frozenset[ProcessKey]:
        """See ``Cell``."""
        self._look()
        return frozenset(self._members)

    def freeze(self) -> None:
        """See ``Cell``."""
        self._look()
        for held in self._members.values():
            self._state.suspend(held.change, held.process)

    def thaw(self) -> None:
        """See ``Cell``; whoever cannot be resumed is let go of by closing the state change."""
        for key, held in list(self._members.items()):
            try:
                self._state.resume(held.change, held.process)
            except HoldFailed:
                self._forget(key)

    def cpu_s(self) -> float:
        """See ``Cell``; a handle tells the time of a process that ended, too."""
        return (self._former + sum(map(self._used, self._members.values()))) / 1e7

    def kill(self) -> None:
        """See ``Cell``."""
        self.freeze()
        for held in self._members.values():
            self._state.terminate(held.process)

    def close(self) -> None:
        """See ``Cell``."""
        for key in list(self._members):
            self._forget(key)

    def _look(self) -> None:
        for key, held in list(self._members.items()):
            if self._state.has_ended(held.process):
                self._forget(key)
        everybody = [self._known(one) for one in self._state.living() if one.pid != os.getpid()]
        for key in descendants(self._members, everybody) - self._members.keys():
            with suppress(HoldFailed):  # a child with more rights than its parent
                self._enter(key, used_before=0)

    def _known(self, one: Process) -> Process:
        """Under the start by which it was put in, if it is one of the members."""
        for pid, started in self._members:
            if pid == one.pid and abs(started - one.started) <= _SAME_START:
                return one._replace(started=started)
        return one

    def _enter(self, key: ProcessKey, used_before: int | None = None) -> None:
        process = self._state.open(key[0])
        if process is None:
            return
        times = self._state.times(process)
        if abs(times.started - key[1]) > _SAME_START or self._state.has_ended(process):
            self._state.close(process)
            return
        try:
            change = self._state.state_change(process)
        except HoldFailed:
            self._state.close(process)
            raise
        # An extra for those who share the GPU; no cap, so that it is no fault where it fails.
        self._state.set_gpu_priority(process, GPU_IDLE)
        self._members[key] = _Held(
            process, change, times.used if used_before is None else used_before
        )

    def _forget(self, key: ProcessKey) -> None:
        """Closing the state change lets it run."""
        held = self._members.pop(key)
        self._former += self._used(held)
        self._state.close(held.change)
        self._state.set_gpu_priority(held.process, GPU_NORMAL)
        self._state.close(held.process)

    def _used(self, held: _Held) -> int:
        return max(0, self._state.times(held.process).used - held.used_before)


if sys.platform == "win32":

    def windows_freezer() -> WindowsFreezer:
        """With the libraries of this Windows.

        Raises:
            HoldFailed: It is older than Windows 11.
        """
        import ctypes

        windll = ctypes.windll
        return WindowsFreezer(ProcessState(windll.kernel32, windll.ntdll, windll.gdi32))
