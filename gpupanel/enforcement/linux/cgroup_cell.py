# ruff: noqa: E402 - what follows exists on Linux alone, and mypy checks it there alone
"""A cell of control groups: who is in it cannot leave, nor run again by a signal.

Processes stay below the deepest folder that only root may change (``Hierarchy.stronghold``): a
container's device filter, a service's and a user's limits go on to hold for them. Among systemd's
slices that is a scope that systemd makes; anywhere else a folder of ours.
"""

from __future__ import annotations

import sys

assert sys.platform == "linux"

import os
from collections.abc import Collection
from contextlib import suppress

from gpupanel.enforcement.cell import Means, ProcessKey, Trace
from gpupanel.enforcement.linux import process, release
from gpupanel.enforcement.linux.group import Group
from gpupanel.enforcement.linux.hierarchy import GONE, OURS, Hierarchy
from gpupanel.enforcement.linux.process import Process
from gpupanel.enforcement.linux.processor_time import ProcessorTime
from gpupanel.enforcement.linux.systemd import OWN_SLICE, Systemd
from gpupanel.model.errors import HoldFailed

_SLICE = ".slice"
_MOST_HOMES = 256
"""Homes of the dead are kept so long: those who were born in the cell go where they came from."""


class CgroupCell:
    """See ``gpupanel.enforcement.cell.Cell``."""

    def __init__(
        self, name: str, hierarchy: Hierarchy, means: Means, systemd: Systemd | None = None
    ) -> None:
        """An empty cell; nothing is made before somebody is put in.

        Args:
            name: See ``Freezer.cell``.
            hierarchy: Whose freezer it uses.
            means: What it says of itself.
            systemd: Makes scopes; None where there is no systemd.
        """
        self.means = means
        self._name = name
        self._hierarchy = hierarchy
        self._systemd = systemd
        self._groups: dict[str, Group] = {}
        self._homes: dict[ProcessKey, str] = {}
        self._former_s = 0.0
        self._most_s = 0.0
        self._summed = ProcessorTime()

    @property
    def trace(self) -> Trace:
        """See ``Cell``."""
        return release.cgroup_trace(self._hierarchy.version, list(self._groups), self._homes)

    def add(self, processes: Collection[ProcessKey]) -> None:
        """See ``Cell``."""
        self._forget_gone()
        coming: dict[str, list[Process]] = {}
        for key in processes:
            one = process.alive(key)
            home = self._hierarchy.group_of(key[0]) if one else None
            if one is None or home is None or home in self._groups or process.is_spared(one):
                continue
            self._homes.setdefault(key, home)
            coming.setdefault(self._stronghold(home), []).append(one)
        for stronghold, arriving in coming.items():
            try:
                self._take_in(stronghold, arriving)
            except OSError as error:
                raise HoldFailed(_fault(arriving, error)) from None

    def members(self) -> frozenset[ProcessKey]:
        """See ``Cell``."""
        return frozenset(one.key for one in self._living())

    def freeze(self) -> None:
        """See ``Cell``."""
        for group in self._groups.values():
            try:
                group.freeze()
            except OSError as error:
                raise HoldFailed(f"{group.path} cannot be frozen: {error.strerror}") from None

    def thaw(self) -> None:
        """See ``Cell``; every group is tried."""
        faults = []
        for group in self._groups.values():
            try:
                group.thaw()
            except OSError as error:
                faults.append(f"{group.path} cannot be thawed: {error.strerror}")
        if faults:
            raise HoldFailed("; ".join(faults))

    def cpu_s(self) -> float:
        """See ``Cell``."""
        usage = [group.usage_s() for group in self._groups.values()]
        counted = [one for one in usage if one is not None]
        if len(counted) < len(usage):
            return self._summed.seconds(self._living())
        self._most_s = max(self._most_s, self._former_s + sum(counted))
        return self._most_s

    def kill(self) -> None:
        """See ``Cell``."""
        for group in self._groups.values():
            try:
                group.kill()
            except OSError as error:
                if error.errno not in GONE:
                    raise HoldFailed(f"{group.path} cannot be ended: {error.strerror}") from None

    def close(self) -> None:
        """See ``Cell``."""
        try:
            release.restore(self.trace)
        finally:
            for group in self._groups.values():
                group.close()
            self._groups.clear()

    def _living(self) -> list[Process]:
        return [one for group in self._groups.values() for one in group.members()]

    def _stronghold(self, home: str) -> str:
        """In user scope the manager of the user has one place for all."""
        is_users = self._systemd is not None and self._systemd.is_users
        return OWN_SLICE if is_users else self._hierarchy.stronghold(home)

    def _take_in(self, stronghold: str, arriving: list[Process]) -> None:
        """Into the group below that stronghold, which is made for the first of them.

        Raises:
            OSError, HoldFailed: It does not work.
        """
        wanted = [path for path in self._groups if self._is_below(path, stronghold)]
        path = wanted[0] if wanted else self._made(stronghold, arriving)
        if path not in self._groups:
            self._groups[path] = Group(self._hierarchy, path)
        if wanted and self._systemd and self._systemd.is_users:
            self._systemd.attach(path, [one.pid for one in arriving])
            return
        for one in arriving:
            self._move(one, path)

    def _is_below(self, path: str, stronghold: str) -> bool:
        above = path.rpartition("/")[0]
        return above == stronghold or above.endswith(f"/{stronghold}")

    def _made(self, stronghold: str, arriving: list[Process]) -> str:
        slice_ = stronghold.rpartition("/")[2]
        if self._systemd and slice_.endswith(_SLICE):
            pids = [one.pid for one in arriving]
            try:
                return self._systemd.make_scope(self._hierarchy, self._name, slice_, pids)
            except HoldFailed as reason:
                if self._systemd.is_users:
                    raise
                self.means = Means(f"{self.means.label}, in a group of its own: {reason}")
        path = f"{stronghold}/{OURS}{self._name}"
        with suppress(FileExistsError):
            os.mkdir(self._hierarchy.folder(path), 0o755)
        return path

    def _move(self, one: Process, path: str) -> None:
        """Put one in; its pid may have become another's between the look and the move."""
        descriptor = process.open_process(one.key)
        if descriptor is None:
            return
        try:
            if not self._hierarchy.move(one.pid, path):
                return
            if process.has_exited(descriptor):
                self._send_back(one.pid, path)
            else:
                self._summed.enter(one)
        finally:
            os.close(descriptor)

    def _send_back(self, pid: int, path: str) -> None:
        """Whoever got the pid of one that ended, to where its parent is."""
        stranger = process.read(pid)
        home = self._hierarchy.group_of(stranger.parent) if stranger else None
        if stranger and home and self._hierarchy.group_of(pid) == path:
            self._hierarchy.move(pid, home)

    def _forget_gone(self) -> None:
        """Groups that systemd removed when the last one in them ended, and homes of the dead."""
        for path, group in list(self._groups.items()):
            if not os.path.isdir(self._hierarchy.folder(path)):
                self._former_s += group.usage_s() or 0.0
                group.close()
                del self._groups[path]
        if len(self._homes) > _MOST_HOMES:
            self._homes = {key: home for key, home in self._homes.items() if process.alive(key)}


def _fault(arriving: list[Process], error: OSError) -> str:
    pids = ", ".join(str(one.pid) for one in arriving)
    return f"pid {pids} cannot be put into a control group: {error.strerror}"
