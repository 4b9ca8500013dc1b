# ruff: noqa: E402 - what follows exists on Linux alone, and mypy checks it there alone
"""Processor time of processes that come and go, where no control group counts it."""

from __future__ import annotations

import sys

assert sys.platform == "linux"

import os
from collections.abc import Iterable

from gpupanel.enforcement.cell import ProcessKey
from gpupanel.enforcement.linux.process import Process


class ProcessorTime:
    """Adds up what the members of a cell used; never falls.

    A member's time passes to its parent when that waits for it. What a member used between the
    last look and its end is lost where nobody waits for it, as under a parent that ignores SIGCHLD.
    """

    def __init__(self) -> None:
        self._ticks = 0
        self._seen: dict[ProcessKey, tuple[int, int]] = {}

    def enter(self, process: Process) -> None:
        """Count from now on: what it used before is not the cell's."""
        self._seen.setdefault(process.key, (process.ticks, process.waited_ticks))

    def seconds(self, members: Iterable[Process]) -> float:
        """The time of all members until now, who left included."""
        now = {one.key: (one.ticks, one.waited_ticks) for one in members}
        inherited = 0
        for key, (ticks, waited) in now.items():
            ticks_before, waited_before = self._seen.get(key, (0, 0))
            self._ticks += ticks - ticks_before
            inherited += waited - waited_before
        # Whoever left was counted already when it was seen last; a parent that waited has it too.
        counted = sum(sum(self._seen[key]) for key in self._seen.keys() - now.keys())
        self._ticks += max(0, inherited - counted)
        self._seen = now
        return self._ticks / os.sysconf("SC_CLK_TCK")
