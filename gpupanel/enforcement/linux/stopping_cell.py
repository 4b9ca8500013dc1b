# ruff: noqa: E402 - what follows exists on Linux alone, and mypy checks it there alone
"""A cell of signals, where there are no control groups for us: best effort.

Anybody with the same rights can send SIGCONT, a child whose parent ended is not found, and a stop
takes milliseconds where a freeze takes microseconds. Whoever is stopped by somebody else is left
stopped.
"""

from __future__ import annotations

import sys

assert sys.platform == "linux"

import os
import signal
from collections.abc import Collection

from gpupanel.enforcement.cell import Means, ProcessKey, Trace
from gpupanel.enforcement.linux import process, release
from gpupanel.enforcement.linux.process import Process
from gpupanel.enforcement.linux.processor_time import ProcessorTime
from gpupanel.enforcement.tree import descendants
from gpupanel.model.errors import HoldFailed

_STOPPED = "T"
_MOST_ROUNDS = 8
"""Whoever forks while its parent is being stopped is found in the next round."""


class StoppingCell:
    """See ``gpupanel.enforcement.cell.Cell``; members are looked for at each freeze."""

    def __init__(self, means: Means) -> None:
        self.means = means
        self._members: dict[ProcessKey, int] = {}
        self._stopped: set[ProcessKey] = set()
        self._time = ProcessorTime()

    @property
    def trace(self) -> Trace:
        """See ``Cell``; children that ``freeze`` finds are below those that it names."""
        return release.signals_trace(self._members.keys())

    def add(self, processes: Collection[ProcessKey]) -> None:
        """See ``Cell``."""
        for key in processes:
            one = process.alive(key)
            if one is None or key in self._members or process.is_spared(one):
                continue
            if not self._enter(one):
                raise HoldFailed(f"pid {one.pid} belongs to another user: we may not stop it")
            self._time.enter(one)

    def members(self) -> frozenset[ProcessKey]:
        """See ``Cell``."""
        self._look()
        return frozenset(self._members)

    def freeze(self) -> None:
        """See ``Cell``."""
        told: set[ProcessKey] = set()
        for _ in range(_MOST_ROUNDS):
            fresh = [one for one in self._look() if one.key not in told and one.state != _STOPPED]
            if not fresh:
                return
            for one in fresh:
                told.add(one.key)
                self._stop(one.key)

    def thaw(self) -> None:
        """See ``Cell``."""
        refused = []
        for key in list(self._stopped):
            try:
                process.send(self._members[key], signal.SIGCONT)
            except PermissionError:
                refused.append(str(key[0]))
            else:
                self._stopped.discard(key)
        if refused:
            raise HoldFailed(f"pid {', '.join(refused)} may not be continued by us any more")

    def cpu_s(self) -> float:
        """See ``Cell``."""
        living = (process.alive(key) for key in self._members)
        return self._time.seconds(one for one in living if one)

    def kill(self) -> None:
        """See ``Cell``."""
        self.freeze()
        for descriptor in self._members.values():
            process.send(descriptor, signal.SIGKILL)

    def close(self) -> None:
        """See ``Cell``."""
        try:
            self.thaw()
        finally:
            for key in list(self._members):
                self._forget(key)

    def _look(self) -> list[Process]:
        """Take in the children of members, forget who ended."""
        living = {one.key: one for one in process.living()}
        for key in self._members.keys() - living.keys():
            self._forget(key)
        for key in descendants(self._members, living.values()) - self._members.keys():
            self._enter(living[key])
        return [living[key] for key in self._members]

    def _enter(self, one: Process) -> bool:
        """Whether we may stop it: a child with more rights than its parent is left out."""
        descriptor = process.open_process(one.key)
        if descriptor is None:
            return True  # it ended, which is as good
        try:
            process.send(descriptor, 0)
        except PermissionError:
            os.close(descriptor)
            return False
        self._members[one.key] = descriptor
        return True

    def _stop(self, key: ProcessKey) -> None:
        try:
            if process.send(self._members[key], signal.SIGSTOP):
                self._stopped.add(key)
        except PermissionError:
            raise HoldFailed(f"pid {key[0]} may not be stopped by us any more") from None

    def _forget(self, key: ProcessKey) -> None:
        os.close(self._members.pop(key))
        self._stopped.discard(key)
