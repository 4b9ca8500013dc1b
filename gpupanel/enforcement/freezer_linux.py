# ruff: noqa: E402 - what follows exists on Linux alone, and mypy checks it there alone
"""Picks the best means that this Linux and our rights allow, and says which."""

from __future__ import annotations

import sys

assert sys.platform == "linux"

import os
import re

from gpupanel.enforcement.cell import Cell, Means
from gpupanel.enforcement.linux.cgroup_cell import CgroupCell
from gpupanel.enforcement.linux.hierarchy import find
from gpupanel.enforcement.linux.stopping_cell import StoppingCell
from gpupanel.enforcement.linux.systemd import Systemd
from gpupanel.model.errors import HoldFailed

_NAME = re.compile(r"[A-Za-z0-9-]{1,64}")

_V2 = Means("cgroup v2 freezer")
_V1 = Means("cgroup v1 freezer")
_V2_OF_USER = Means(
    "cgroup v2 freezer of the user's own systemd (best effort: the user's programs can undo it)",
    is_best_effort=True,
)


class LinuxFreezer:
    """See ``gpupanel.enforcement.cell.Freezer``. Root holds anybody, a user his own processes."""

    def cell(self, name: str) -> Cell:
        """See ``Freezer``."""
        if not _NAME.fullmatch(name):
            raise HoldFailed(f"{name!r} cannot be the name of a cell")
        return self._roots(name) if os.geteuid() == 0 else self._users(name)

    def _roots(self, name: str) -> Cell:
        systemd = Systemd(is_users=False)
        unified = find(2)
        if unified and os.path.exists(f"{unified.mount}/cgroup.procs"):
            return CgroupCell(name, unified, _V2, None if systemd.missing() else systemd)
        freezer = find(1)
        if freezer:
            return CgroupCell(name, freezer, _V1)
        return _stopping("there is no control group hierarchy that freezes")

    def _users(self, name: str) -> Cell:
        systemd = Systemd(is_users=True)
        unified = find(2)
        why = systemd.missing() if unified else "cgroup v2 is not mounted"
        if unified and not why:
            return CgroupCell(name, unified, _V2_OF_USER, systemd)
        return _stopping(why)


def _stopping(why: str) -> Cell:
    if not hasattr(os, "pidfd_open"):
        raise HoldFailed(f"{why}, and this Python has no descriptors of processes")
    return StoppingCell(
        Means(f"SIGSTOP (best effort: any program of the user can undo it): {why}", True)
    )
