"""The enforcer of one scope with all that it stands on: cells, meters, journal, dead man.

Only one daemon of a user may hold processes at a time: a lock beside the journal says who.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpupanel.enforcement.cell import Freezer, ProcessKey, Trace
from gpupanel.enforcement.enforcer import Enforcer
from gpupanel.enforcement.gpu_time import Meter, meter_for
from gpupanel.enforcement.group import Parts
from gpupanel.enforcement.journal import Journal
from gpupanel.enforcement.kin import Kin
from gpupanel.model.errors import HoldFailed
from gpupanel.model.gpu import GpuId, GpuInfo
from gpupanel.model.hold import Hold

JOURNAL_NAME = "holds.journal"

Tell = Callable[[str, Hold, str], None]
"""A word of ``hold.*``, the hold, and a sentence."""


@dataclass(frozen=True, slots=True)
class Carried:
    """What an earlier daemon held when it ended.

    Attributes:
        resumes: What its groups wanted to know now.
        faults: One sentence each.
    """

    resumes: tuple[Mapping[str, Any], ...]
    faults: tuple[str, ...]


class Metering:
    """Meters of GPUs by their ids."""

    def __init__(self, gpus: Callable[[], Sequence[GpuInfo]]) -> None:
        self._gpus = gpus

    def __call__(self, gpu_ids: Collection[GpuId]) -> Meter:
        """For those that are there.

        Raises:
            HoldFailed: One of them cannot be measured.
        """
        found = [gpu for gpu in self._gpus() if gpu.id in gpu_ids]
        if not found:
            raise HoldFailed("none of its GPUs is there any more")
        return meter_for(found)


if sys.platform == "linux":
    import fcntl
    import os
    import time

    from gpupanel.enforcement import restore
    from gpupanel.enforcement.deadman import DeadMan
    from gpupanel.enforcement.freezer_linux import LinuxFreezer
    from gpupanel.enforcement.linux import process
    from gpupanel.enforcement.tree import descendants

    class Holding:
        """Linux: what is held outlives us, so two others know how to let go of it."""

        def __init__(
            self,
            folder: Path,
            gpus: Callable[[], Sequence[GpuInfo]],
            tell: Tell,
            on_fault: Callable[[str], None],
            beat: Callable[[], None] = lambda: None,
        ) -> None:
            """Take the lock, and let go of what an earlier daemon held.

            Args:
                folder: For the journal; nobody else may write to it.
                gpus: Those of this machine now.
                tell: Told what happens to holds.
                on_fault: Told one sentence when a part of this fails.
                beat: Called while the enforcer's thread lives.

            Raises:
                HoldFailed: Another daemon holds already, or there is no place for the journal.
            """
            self._lock = _locked(folder / f"{JOURNAL_NAME}.lock")
            self._on_fault = on_fault
            self._journal = Journal(folder / JOURNAL_NAME, restore.boot_id())
            entries = self._journal.entries()
            restored = restore.restore_all(self._journal)
            self.carried = Carried(tuple(one.resume for one in entries), restored.faults)
            self._dead_man = DeadMan(on_fault)
            self._dead_man.start()
            self._beat = beat
            freezer: Freezer = LinuxFreezer()
            parts = Parts(freezer, Metering(gpus), _children, _age_s, self, Kin(), tell)
            self.enforcer = Enforcer(parts, self._on_beat)

        def hold(self, name: str, trace: Trace, resume: Mapping[str, Any]) -> None:
            """See ``Undoing``."""
            self._dead_man.hold(name, trace)
            self._journal.write(name, trace, resume)

        def drop(self, name: str) -> None:
            """See ``Undoing``."""
            self._dead_man.drop(name)
            try:
                self._journal.remove(name)
            except HoldFailed as reason:
                self._on_fault(str(reason))

        def stop(self) -> None:
            """Let everybody go; nothing of ours is left."""
            self.enforcer.stop()
            self._dead_man.close()
            os.close(self._lock)

        def _on_beat(self) -> None:
            self._dead_man.beat()
            self._beat()

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

    def _children(processes: Collection[ProcessKey]) -> frozenset[ProcessKey]:
        return descendants(processes, process.living()) if processes else frozenset()

    def _age_s(key: ProcessKey) -> float | None:
        if process.alive(key) is None:
            return None
        began_s = key[1] / os.sysconf("SC_CLK_TCK")
        return max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - began_s)
