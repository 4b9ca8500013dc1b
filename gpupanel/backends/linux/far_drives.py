"""Drives that may not answer: a network's, and those that another user's program serves (FUSE).

Whoever asks such a drive for anything may wait for ever, and cannot even be killed meanwhile. What
``/proc`` itself tells, links included, never waits.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path

from gpupanel.backends.linux.proc import PROC
from gpupanel.policy.sources import own_uid

_NETWORK = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "9p", "afs", "ceph", "lustre",
     "fuse.sshfs", "fuse.rclone", "fuse.glusterfs", "fuse.s3fs"}
)  # fmt: skip
_SERVER = re.compile(r"(?:^|,)user_id=([0-9]+)")
_ESCAPED = re.compile(r"\\([0-7]{3})")
_TABLE_BYTES = 2**22
_MOST_STEPS = 512
"""Of a path with all its links; a longer one is a circle, or meant to hold us up."""

_View = tuple[str, str]
"""A mount namespace and a root: processes that share both see the same drives."""


class FarDrives:
    """Looks once at each process, and at what it can see, between two calls of ``look_again``."""

    def __init__(self, root: Path = PROC) -> None:
        self._root = str(root)
        self._of_view: dict[_View, tuple[str, ...]] = {}
        self._of_process: dict[int | str, tuple[str, ...]] = {}

    def look_again(self) -> None:
        """Drives may have come and gone, and processes too."""
        self._of_view.clear()
        self._of_process.clear()

    def has(self, pid: int | str, path: str) -> bool:
        """Whether asking for what process ``pid`` calls ``path`` may hang; links are not followed.

        What the links of ``/proc`` say is a path of ours where we can reach it, else of the
        process: both tables count.
        """
        return path.startswith(self._drives(pid))

    def on_the_way(self, pid: int | str, path: str) -> bool:
        """As ``has``, of a path that the process wrote: every link on the way is looked at."""
        if not self._drives(pid):
            return False
        todo, done = path.split("/")[::-1], ""
        for _ in range(_MOST_STEPS):
            if not todo:
                return False
            part = todo.pop()
            if part == "..":
                done = done.rpartition("/")[0]
            if part in ("", ".", ".."):
                continue
            if self.has(pid, f"{done}/{part}/"):
                return True
            link = _link(f"{self._root}/{pid}/root{done}/{part}")
            done = "" if link.startswith("/") else done if link else f"{done}/{part}"
            todo += link.split("/")[::-1]
        return True

    def _drives(self, pid: int | str) -> tuple[str, ...]:
        """Ours, and those of the process."""
        found = self._of_process.get(pid)
        if found is None:
            found = self._of_process[pid] = tuple({*self._seen_by("self"), *self._seen_by(pid)})
        return found

    def _seen_by(self, pid: int | str) -> tuple[str, ...]:
        folder = f"{self._root}/{pid}"
        try:
            view = os.readlink(f"{folder}/ns/mnt"), os.readlink(f"{folder}/root")
        except OSError:
            return ()  # it has ended, or we may not look into it at all
        if view not in self._of_view:
            self._of_view[view] = _far_of(f"{folder}/mounts")
        return self._of_view[view]


def _link(path: str) -> str:
    """Where it leads; empty where it is no link."""
    try:
        return os.readlink(path)
    except (OSError, ValueError):
        return ""


def _far_of(table: str) -> tuple[str, ...]:
    """Where they are mounted, each with a slash behind it."""
    text = ""
    with suppress(OSError), open(table, encoding="utf-8", errors="replace") as file:
        text = file.read(_TABLE_BYTES)
    fields = (line.split(" ") for line in text.splitlines())
    return tuple(
        _ESCAPED.sub(lambda code: chr(int(code[1], 8)), one[1]).rstrip("/") + "/"
        for one in fields
        if len(one) > 3 and _is_far(one[2], one[3])
    )


def _is_far(kind: str, options: str) -> bool:
    if kind in _NETWORK:
        return True
    server = _SERVER.search(options) if kind.split(".")[0] == "fuse" else None
    return server is not None and int(server[1]) != own_uid()
