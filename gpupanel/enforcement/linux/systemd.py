# ruff: noqa: E402 - what follows exists on Linux alone, and mypy checks it there alone
"""Scopes of systemd: control groups that it made for us, and that it leaves alone.

systemd is the only one who may make groups among its slices. It is asked through its own
``busctl``, by absolute path and without our environment; freezing the scope is then one write.
"""

from __future__ import annotations

import sys

assert sys.platform == "linux"

import os
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from gpupanel.enforcement.linux.hierarchy import OURS, Hierarchy
from gpupanel.enforcement.linux.release import SCOPE
from gpupanel.model.errors import HoldFailed

OWN_SLICE = "gpupanel.slice"
"""Where there is no slice whose limits hold for the processes."""

_BUSCTL = ("/usr/bin/busctl", "/bin/busctl")
_TIMEOUT_S = 1.5
"""Shorter than the patience of the dead-man, who would let everybody go."""

_LOOK_AGAIN_S = 0.001
_MANAGER = (
    "org.freedesktop.systemd1",
    "/org/freedesktop/systemd1",
    "org.freedesktop.systemd1.Manager",
)


class Systemd:
    """The manager of the system, or of the user who asks.

    Attributes:
        is_users: It is the user's own, who can undo what it does.
    """

    def __init__(self, is_users: bool) -> None:
        self.is_users = is_users
        self._runtime = f"/run/user/{os.getuid()}" if is_users else "/run"

    def missing(self) -> str:
        """Why it cannot be asked; empty where it can."""
        bus = "bus" if self.is_users else "dbus/system_bus_socket"
        if not os.path.isdir("/run/systemd/system"):
            return "systemd does not run here"
        if not any(map(os.path.exists, _BUSCTL)):
            return "systemd's busctl is not installed"
        if not os.path.exists(f"{self._runtime}/{bus}"):
            return f"there is no message bus at {self._runtime}/{bus}"
        return ""

    def make_scope(self, hierarchy: Hierarchy, name: str, slice_: str, pids: Sequence[int]) -> str:
        """Put processes into a scope of their own.

        Args:
            hierarchy: Where to look for its group.
            name: Of the cell.
            slice_: The unit whose limits go on to hold for them.
            pids: At least one.

        Returns:
            Its group.

        Raises:
            HoldFailed: systemd refuses, is too slow, or they ended meanwhile.
        """
        unit = f"{OURS}{name}{SCOPE}"
        properties = (
            *("Description", "s", "Processes whose GPU time gpupanel limits"),
            *("Slice", "s", slice_),
            *("CollectMode", "s", "inactive-or-failed"),
            # A scope that is not delegated takes nobody in later; root needs not to ask for that.
            *("Delegate", "b", str(self.is_users).lower()),
            *("PIDs", "au", str(len(pids)), *map(str, pids)),
        )
        self._call("StartTransientUnit", "ssa(sv)a(sa(sv))", unit, "fail", "5", *properties, "0")
        # The call returns before the job is done, in two milliseconds as a rule.
        deadline_s = time.monotonic() + _TIMEOUT_S
        while time.monotonic() < deadline_s:
            for pid in pids:
                group = hierarchy.group_of(pid) or ""
                if group.endswith(f"/{unit}"):
                    return group
            time.sleep(_LOOK_AGAIN_S)
        raise HoldFailed(f"systemd made no {unit} within {_TIMEOUT_S} s")

    def attach(self, group: str, pids: Sequence[int]) -> None:
        """Put more processes into a scope: a user may not move them between managers himself.

        Raises:
            HoldFailed: systemd refuses, or is too slow.
        """
        unit = group.rpartition("/")[2]
        self._call("AttachProcessesToUnit", "ssau", unit, "", str(len(pids)), *map(str, pids))

    def _call(self, method: str, *arguments: str) -> None:
        busctl = next(filter(os.path.exists, _BUSCTL), _BUSCTL[0])
        which = "--user" if self.is_users else "--system"
        command = [busctl, which, f"--timeout={_TIMEOUT_S}", "--quiet", "call", *_MANAGER]
        environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "XDG_RUNTIME_DIR": self._runtime}
        try:
            done = subprocess.run(
                [*command, method, *arguments],
                env=environment,
                cwd=Path("/"),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                timeout=_TIMEOUT_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as reason:
            raise HoldFailed(f"systemd cannot be asked: {reason}") from None
        if done.returncode != 0:
            reason_text = done.stderr.decode("utf-8", "replace").strip()
            raise HoldFailed(f"systemd refuses: {reason_text}")
