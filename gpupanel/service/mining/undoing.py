# ruff: noqa: E402 - what follows exists on Linux alone, and mypy checks it there alone
"""Who lets go when we cannot: the journal on the disk and the dead man beside us, as one.

Only one daemon of a user may hold processes at a time: a lock beside the journal says who.
"""

from __future__ import annotations

import sys

assert sys.platform == "linux"

import fcntl
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from gpupanel.enforcement import restore
from gpupanel.enforcement.cell import Trace
from gpupanel.enforcement.deadman import DeadMan
from gpupanel.enforcement.journal import Journal
from gpupanel.model.errors import HoldFailed


class Undoing:
    """See ``gpupanel.enforcement.group.Undoing``. Linux, where what is held outlives us.

    Attributes:
        resumes: What the groups of an earlier daemon wanted to know now.
        faults: What that daemon held and we could not let go of, one sentence each.
    """

    def __init__(self, journal_file: Path, prefix: str, on_fault: Callable[[str], None]) -> None:
        """Take the lock, and let go of what an earlier daemon held.

        Args:
            journal_file: In a folder that nobody else may write to.
            prefix: Of the names of our cells; others are somebody else's.
            on_fault: Told one sentence when a part of this fails.

        Raises:
            HoldFailed: Another daemon holds already, or a part of this cannot work.
        """
        self._lock = _locked(journal_file.with_suffix(".lock"))
        self._on_fault = on_fault
        try:
            self._journal = Journal(journal_file, restore.boot_id())
            entries = self._journal.entries()
            self.faults = restore.restore_all(self._journal, prefix).faults
            self.resumes = tuple(entry.resume for entry in entries)
            self._dead_man = DeadMan(on_fault)
            self._dead_man.start()
        except HoldFailed:
            os.close(self._lock)
            raise

    def hold(self, name: str, trace: Trace, resume: Mapping[str, Any]) -> None:
        """See ``gpupanel.enforcement.group.Undoing``."""
        self._dead_man.hold(name, trace)
        self._journal.write(name, trace, resume)

    def drop(self, name: str) -> None:
        """See ``gpupanel.enforcement.group.Undoing``."""
        self._dead_man.drop(name)
        try:
            self._journal.remove(name)
        except HoldFailed as reason:
            self._on_fault(str(reason))

    def beat(self) -> None:
        """All is well."""
        self._dead_man.beat()

    def close(self) -> None:
        """Nothing is held any more; another daemon may begin."""
        self._dead_man.close()
        os.close(self._lock)


def _locked(path: Path) -> int:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as reason:
        raise HoldFailed(f"{path} cannot be opened: {reason.strerror}") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise HoldFailed("another gpupanel of this user holds processes already") from None
    return descriptor
