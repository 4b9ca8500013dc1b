# ruff: noqa: E402 - what follows exists on Linux alone, and mypy checks it there alone
"""Hierarchies of control groups: where they are mounted, who is where, and whose each folder is.

A group is named by its path below the mount, as ``/proc/PID/cgroup`` writes it. Version 2 is
described in the kernel's Documentation/admin-guide/cgroup-v2.rst, the freezer of version 1 in
cgroup-v1/freezer-subsystem.rst.
"""

from __future__ import annotations

import sys

assert sys.platform == "linux"

import errno
import os
from collections.abc import Iterator
from typing import NamedTuple

OURS = "gpupanel-"
"""What the name of every group of ours begins with; nobody else's may be touched."""

GONE = frozenset({errno.ENOENT, errno.ENODEV})
"""What the kernel answers for a group that was removed, by its path and by an open file."""

_WRITABLE_BY_OTHERS = 0o022


class Switch(NamedTuple):
    """The control file of a group that freezes it, and its two words."""

    file: str
    frozen: bytes
    thawed: bytes


class Hierarchy(NamedTuple):
    """One that can freeze.

    Attributes:
        mount: Its root folder.
        version: 1 or 2.
    """

    mount: str
    version: int

    @property
    def switch(self) -> Switch:
        """What freezes a group, and what thaws it."""
        if self.version == 2:
            return Switch("cgroup.freeze", b"1", b"0")
        return Switch("freezer.state", b"FROZEN", b"THAWED")

    def folder(self, group: str) -> str:
        """Where a group's files are."""
        return f"{self.mount}{group}"

    def thaw(self, group: str) -> None:
        """Let everybody in it run.

        Raises:
            OSError: The kernel refuses, or there is no such group.
        """
        write(f"{self.folder(group)}/{self.switch.file}", self.switch.thawed)

    def group_of(self, pid: int) -> str | None:
        """Where a process is; None where it has ended, or is out of our sight."""
        for line in _lines(f"/proc/{pid}/cgroup"):
            _, controllers, group = line.split(":", 2)
            is_this = not controllers if self.version == 2 else "freezer" in controllers.split(",")
            if is_this:
                return group if group.startswith("/") and "/.." not in group else None
        return None

    def pids(self, group: str) -> list[int]:
        """Who is in a group; empty where there is no such group.

        Raises:
            OSError: It cannot be read.
        """
        try:
            with open(f"{self.folder(group)}/cgroup.procs", "rb") as file:
                words = file.read().split()
        except OSError as error:
            if error.errno in GONE:
                return []
            raise
        return [pid for word in words if (pid := int(word)) > 0]

    def move(self, pid: int, group: str) -> bool:
        """Put a process there; False where it has ended.

        Raises:
            OSError: It may not, or there is no such group.
        """
        try:
            write(f"{self.folder(group)}/cgroup.procs", str(pid).encode())
        except ProcessLookupError:
            return False
        return True

    def stronghold(self, group: str) -> str:
        """The deepest folder on the way to ``group`` that only root may change; empty for the root.

        Who is put right below it keeps every limit and device filter above it, and no user can
        get out: for that, one must be allowed to write to the first folder above both places.
        """
        deepest = ""
        for end in (at for at in range(1, len(group) + 1) if group[at : at + 1] in {"/", ""}):
            if not _is_roots_alone(self.folder(group[:end])):
                break
            deepest = group[:end]
        return deepest if deepest != "/" else ""

    def groups_of_ours(self, prefix: str = OURS) -> Iterator[str]:
        """Every group of ours anywhere, of whose folder we are the owner."""
        uid = os.geteuid()
        waiting = [""]
        while waiting:
            group = waiting.pop()
            for name in _folders(self.folder(group)):
                if not name.startswith(prefix):
                    waiting.append(f"{group}/{name}")
                elif os.stat(f"{self.folder(group)}/{name}").st_uid == uid:
                    yield f"{group}/{name}"


def find(version: int) -> Hierarchy | None:
    """Where the freezer of that version is, from ``/proc/self/mountinfo``; None where it is not."""
    for line in _lines("/proc/self/mountinfo"):
        fields = line.split(" ")
        root, mount = fields[3:5]
        kind, _, options = fields[fields.index("-") + 1 :][:3]
        is_it = kind == "cgroup2" if version == 2 else _has_freezer(kind, options)
        if is_it and root == "/":
            return Hierarchy(_unescaped(mount), version)
    return None


def write(path: str, word: bytes) -> None:
    """Into a control file that exists.

    Raises:
        OSError: The kernel refuses.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, word)
    finally:
        os.close(descriptor)


def _has_freezer(kind: str, options: str) -> bool:
    return kind == "cgroup" and "freezer" in options.split(",")


def _is_roots_alone(folder: str) -> bool:
    """Nobody else may move processes into it, or make folders in it."""
    try:
        found = (os.stat(folder), os.stat(f"{folder}/cgroup.procs"))
    except OSError:
        return False
    return all(one.st_uid == 0 and not one.st_mode & _WRITABLE_BY_OTHERS for one in found)


def _folders(path: str) -> list[str]:
    try:
        with os.scandir(path) as entries:
            return [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    except FileNotFoundError:
        return []  # it was removed meanwhile


def _lines(path: str) -> list[str]:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read().splitlines()
    except OSError:
        return []


def _unescaped(path: str) -> str:
    """Blanks are octal in mountinfo."""
    for code, letter in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        path = path.replace(code, letter)
    return path
