"""The enforcer of one scope with all that it stands on: cells, meters, and who undoes it."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from gpupanel.enforcement.cell import ProcessKey
from gpupanel.enforcement.enforcer import Enforcer
from gpupanel.enforcement.freezer import freezer
from gpupanel.enforcement.gpu_time import meter_for
from gpupanel.enforcement.group import Parts, Undoing
from gpupanel.enforcement.kin import Kin
from gpupanel.enforcement.meter import Meter
from gpupanel.model.errors import HoldFailed
from gpupanel.model.gpu import GpuId, GpuInfo
from gpupanel.model.hold import Hold

Tell = Callable[[str, Hold, str], None]
"""A word of ``hold.*``, the hold, and a sentence."""


class _Undoing(Undoing, Protocol):
    """What this system needs so that nobody stays held when we die.

    Attributes:
        resumes: What the groups of an earlier daemon wanted to know now.
        faults: What that daemon held and could not be let go of.
    """

    @property
    def resumes(self) -> Sequence[Mapping[str, Any]]: ...

    @property
    def faults(self) -> Sequence[str]: ...

    def beat(self) -> None:
        """All is well."""

    def close(self) -> None:
        """Nothing is held any more."""


class Holding:
    """Started and stopped with the daemon.

    Attributes:
        enforcer: Not started before ``start``.
        resumes: What the groups of an earlier daemon wanted to know now.
    """

    def __init__(
        self,
        journal_file: Path,
        prefix: str,
        gpus: Callable[[], Sequence[GpuInfo]],
        tell: Tell,
        on_fault: Callable[[str], None],
        beat: Callable[[], None] = lambda: None,
    ) -> None:
        """Let go of what an earlier daemon held; hold nobody yet.

        Args:
            journal_file: What is held is noted there; nobody else may write to its folder.
            prefix: Of the names of our cells.
            gpus: Those of this machine now.
            tell: Told what happens to holds, on the enforcer's thread.
            on_fault: Told one sentence when a part of this fails.
            beat: Called while the enforcer's thread lives.

        Raises:
            HoldFailed: Another daemon holds already, or a part of this cannot work.
        """
        self._undoing: _Undoing = _undoing(journal_file, prefix, on_fault)
        self._beat = beat
        self.resumes = self._undoing.resumes
        for fault in self._undoing.faults:
            on_fault(fault)
        kin = Kin() if sys.platform == "linux" else None
        measure = _Metering(gpus)
        parts = Parts(freezer(), measure, _children, _age_s, self._undoing, kin, tell)
        self.enforcer = Enforcer(parts, self._on_beat, prefix=prefix)

    def stop(self) -> None:
        """Let everybody go; nothing of ours is left."""
        self.enforcer.stop()
        self._undoing.close()

    def _on_beat(self) -> None:
        self._undoing.beat()
        self._beat()


class _Metering:
    """Meters of GPUs by their ids."""

    def __init__(self, gpus: Callable[[], Sequence[GpuInfo]]) -> None:
        self._gpus = gpus

    def __call__(self, gpu_ids: Collection[GpuId]) -> Meter:
        found = [gpu for gpu in self._gpus() if gpu.id in gpu_ids]
        if not found:
            raise HoldFailed("none of its GPUs is there any more")
        return meter_for(found)


if sys.platform == "linux":
    import os

    from gpupanel.enforcement.linux import process
    from gpupanel.enforcement.tree import descendants
    from gpupanel.service.mining.undoing import Undoing as _LinuxUndoing

    def _undoing(journal_file: Path, prefix: str, on_fault: Callable[[str], None]) -> _Undoing:
        return _LinuxUndoing(journal_file, prefix, on_fault)

    def _children(processes: Collection[ProcessKey]) -> frozenset[ProcessKey]:
        return descendants(processes, process.living()) if processes else frozenset()

    def _age_s(key: ProcessKey) -> float | None:
        if process.alive(key) is None:
            return None
        began_s = key[1] / os.sysconf("SC_CLK_TCK")
        return max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - began_s)

else:
    from gpupanel.backends.linux.proc import identity, started_unix_s

    class _NothingToUndo:
        """Windows lets go by itself when whoever holds has ended."""

        resumes: Sequence[Mapping[str, Any]] = ()
        faults: Sequence[str] = ()

        def hold(self, name: str, trace: object, resume: object) -> None:
            """There is nothing to remember."""

        def drop(self, name: str) -> None:
            """There is nothing to forget."""

        def beat(self) -> None:
            """Nobody listens."""

        def close(self) -> None:
            """There is nothing to end."""

    def _undoing(journal_file: Path, prefix: str, on_fault: Callable[[str], None]) -> _Undoing:
        del journal_file, prefix, on_fault
        return _NothingToUndo()

    def _children(processes: Collection[ProcessKey]) -> Collection[ProcessKey]:
        """The cell finds them itself."""
        return processes

    def _age_s(key: ProcessKey) -> float | None:
        who, began_s = identity(key[0]), started_unix_s(key[1])
        if who is None or who.started != key[1] or began_s is None:
            return None
        return max(0.0, time.time() - began_s)
