# ruff: noqa: E402 - what follows exists on Linux alone, and mypy checks it there alone
"""One control group that is ours, with its files kept open: a freeze is one write."""

from __future__ import annotations

import sys

assert sys.platform == "linux"

import errno
import os
import signal

from gpupanel.enforcement.linux import process
from gpupanel.enforcement.linux.hierarchy import GONE, Hierarchy, write
from gpupanel.enforcement.linux.process import Process

_STAT_BYTES = 4096
_MOST_ROUNDS = 256


class Group:
    """Of one path below the mount. systemd removes a scope that is empty: then nobody is in it."""

    def __init__(self, hierarchy: Hierarchy, path: str) -> None:
        """Open it.

        Raises:
            OSError: There is none, or we may not freeze it.
        """
        self.path = path
        self._hierarchy = hierarchy
        self._switch = hierarchy.switch
        folder = hierarchy.folder(path)
        self._control = os.open(f"{folder}/{self._switch.file}", os.O_WRONLY | os.O_CLOEXEC)
        self._usage: int | None = None
        if hierarchy.version == 2:
            self._usage = os.open(f"{folder}/cpu.stat", os.O_RDONLY | os.O_CLOEXEC)
        self._usage_s = 0.0

    def freeze(self) -> None:
        """Hold everybody in it.

        Raises:
            OSError: The kernel refuses.
        """
        self._write(self._switch.frozen)

    def thaw(self) -> None:
        """Let everybody in it run.

        Raises:
            OSError: The kernel refuses.
        """
        self._write(self._switch.thawed)

    def members(self) -> list[Process]:
        """Who lives in it now.

        Raises:
            OSError: It cannot be read.
        """
        found = map(process.read, self._hierarchy.pids(self.path))
        return [one for one in found if one and not one.has_ended]

    def usage_s(self) -> float | None:
        """Processor time of all who ever were in it; None where that is not counted."""
        if self._usage is None:
            return None
        try:
            text = os.pread(self._usage, _STAT_BYTES, 0)
        except OSError as error:
            if error.errno not in GONE:
                raise
            return self._usage_s
        self._usage_s = int(text.partition(b"usage_usec ")[2].split(None, 1)[0]) / 1e6
        return self._usage_s

    def kill(self) -> None:
        """End everybody in it; in version 1 over and over, for a freeze takes a while to be whole.

        Raises:
            OSError: The kernel refuses.
        """
        try:
            write(f"{self._hierarchy.folder(self.path)}/cgroup.kill", b"1")
            return
        except OSError as error:
            if error.errno != errno.ENOENT:
                raise
        for _ in range(_MOST_ROUNDS):
            self.freeze()
            living = self.members()
            if not living:
                break
            process.send_to([one.key for one in living], signal.SIGKILL)
            self.thaw()  # to die, they have to run
        self.thaw()

    def close(self) -> None:
        """The files; the group stays as it is."""
        os.close(self._control)
        if self._usage is not None:
            os.close(self._usage)

    def _write(self, word: bytes) -> None:
        try:
            os.write(self._control, word)
        except OSError as error:
            if error.errno not in GONE:
                raise
