"""Who uses the processor as an OpenCL device.

No driver lists them: they are the processes that have an implementation of OpenCL for processors
mapped and that burn processor time. The table of what a process has mapped is long, so it is read
only of those that are busy, and seldom again; how busy each process is costs one call of the
kernel's clocks, a thirtieth of reading ``/proc/PID/stat``.

A program that computes on a GPU and has the processor's implementation loaded beside it, as the
loader of OpenCL does for whoever asks for all devices, is among them with what it burns itself.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from mmap import PAGESIZE
from pathlib import Path

from gpupanel.backends.base import checked
from gpupanel.backends.linux.proc import PROC, Identity, identity, processor_s
from gpupanel.model.gpu import CPU_ID, ProcessKind, ProcessSample, Reading, Unavailable

_IMPLEMENTATION = re.compile(rb"/(?:libpocl|libintelocl|liboclgrind)[^/\n]*\.so")
"""PoCL, Intel's runtime for processors, Oclgrind; ``libOpenCL.so`` is the loader of any."""

_BUSY_CORES = 0.03
"""So much of one core makes a process worth a look at what it has mapped."""

_LOOK_AGAIN_S, _LOOK_AGAIN_AT_MOST_S = 2.0, 60.0
_LATE = 0.25
"""A library may be loaded late: it is found as much later as a quarter of the time since the
process was first looked into, within those bounds."""

_LEAST_SPAN_S = 0.05
_MOST_TEXT_BYTES = 2**21
_STATM_BYTES = 256

_MEASURING = Unavailable("measuring")
_NO_MEMORY = Unavailable("the kernel does not tell it of this process")


@dataclass(slots=True)
class _Seen:
    """One process between two looks.

    Attributes:
        inode: Of its folder, which tells it from an earlier process of the same pid.
        used_s: Processor time since it was started.
        identity: Of a user of OpenCL; None for all others.
        is_hidden: It is busy, and we have no right to see what it has mapped.
        looked_s: When it was first looked into.
        again_s: When to look at what it has mapped, if it is busy then.
    """

    inode: int
    used_s: float
    identity: Identity | None = None
    is_hidden: bool = False
    looked_s: float | None = None
    again_s: float = float("-inf")


class OpenClUsers:
    """Finds them anew at each look. Belongs to one thread."""

    def __init__(
        self,
        proc_root: Path = PROC,
        clock_s: Callable[[], float] = time.monotonic,
        used_s: Callable[[int], float | None] = processor_s,
        cores: int | None = None,
    ) -> None:
        """Look at nothing yet.

        Args:
            proc_root: ``/proc``.
            clock_s: Monotonic.
            used_s: Processor time of a pid since its start; None where it is gone.
            cores: Of the machine; asked of the system if left out.
        """
        self._root = str(proc_root)
        self._clock_s = clock_s
        self._used_s = used_s
        self._cores = cores or os.cpu_count() or 1
        self._seen: dict[int, _Seen] = {}
        self._at_s: float | None = None

    @property
    def hidden_reason(self) -> str:
        """For a person; empty where nothing is hidden."""
        hidden = sum(seen.is_hidden for seen in self._seen.values())
        if not hidden:
            return ""
        return (
            f"{hidden} busy processes of other users may use the processor through OpenCL: to see "
            "it needs root or CAP_SYS_PTRACE"
        )

    def look(self) -> tuple[ProcessSample, ...]:
        """Who has used the processor through OpenCL and lives; rates are since the last look.

        The first look starts the measuring and finds nobody.
        """
        now_s = self._clock_s()
        span_s = None if self._at_s is None else now_s - self._at_s
        if span_s is not None and span_s < _LEAST_SPAN_S:
            return self._samples(dict.fromkeys(self._seen, _MEASURING))
        self._at_s = now_s
        before, self._seen = self._seen, {}
        percents: dict[int, Reading] = {}
        for pid, inode in _pids(self._root):
            used_s = self._used_s(pid)
            if used_s is None:
                continue
            seen, spent_s = self._met(pid, inode, used_s, before, span_s)
            self._seen[pid] = seen
            if span_s is None or spent_s is None:
                continue
            if spent_s >= _BUSY_CORES * span_s and now_s >= seen.again_s:
                self._look_into(pid, seen, now_s)
            percents[pid] = 100 * min(1.0, spent_s / (span_s * self._cores))
        return self._samples(percents)

    def _met(
        self,
        pid: int,
        inode: int,
        used_s: float,
        before: Mapping[int, _Seen],
        span_s: float | None,
    ) -> tuple[_Seen, float | None]:
        """A process, and what it burned since the last look; None where that is not known."""
        known = before.get(pid)
        if known is not None and used_s >= known.used_s and self._is_same(pid, known, inode):
            spent_s, known.used_s, known.inode = used_s - known.used_s, used_s, inode
            return known, spent_s
        # The kernel may give an old process a new inode: what it burned does not fit then.
        is_young = span_s is not None and used_s <= span_s * self._cores
        return _Seen(inode, used_s), used_s if is_young else None

    def _is_same(self, pid: int, known: _Seen, inode: int) -> bool:
        if known.inode == inode:
            return True
        if known.identity is None:
            return False
        who = identity(pid, Path(self._root))
        return who is not None and who.started == known.identity.started

    def _look_into(self, pid: int, seen: _Seen, now_s: float) -> None:
        seen.looked_s = now_s if seen.looked_s is None else seen.looked_s
        pause_s = max(_LOOK_AGAIN_S, _LATE * (now_s - seen.looked_s))
        seen.again_s = now_s + min(pause_s, _LOOK_AGAIN_AT_MOST_S)
        folder = f"{self._root}/{pid}"
        seen.identity, seen.is_hidden = None, False
        try:
            mapped = _read(f"{folder}/maps", _MOST_TEXT_BYTES)
        except PermissionError:
            seen.is_hidden = _is_program(folder)
        except OSError:
            return  # it ended meanwhile
        else:
            if _IMPLEMENTATION.search(mapped):
                seen.identity = identity(pid, Path(self._root))

    def _samples(self, percents: Mapping[int, Reading]) -> tuple[ProcessSample, ...]:
        """Of the users among them that have not ended and wait for their parent."""
        samples = []
        for pid, percent in percents.items():
            who = self._seen[pid].identity
            resident_bytes = _resident_bytes(f"{self._root}/{pid}") if who else 0
            if who is not None and resident_bytes != 0:
                samples.append(
                    ProcessSample(
                        gpu_id=CPU_ID,
                        pid=pid,
                        started=who.started,
                        name=who.name,
                        user=who.user,
                        uid=who.uid,
                        kind=ProcessKind.COMPUTE,
                        memory_used_bytes=resident_bytes,
                        utilization_percent=percent,
                        engines={} if isinstance(percent, Unavailable) else {"cpu": percent},
                    )
                )
        return tuple(samples)


def _pids(root: str) -> list[tuple[int, int]]:
    try:
        with os.scandir(root) as entries:
            return sorted((int(one.name), one.inode()) for one in entries if one.name.isdecimal())
    except OSError:
        return []


def _is_program(folder: str) -> bool:
    """Whether it is more than a thread of the kernel, which has no arguments."""
    try:
        return bool(_read(f"{folder}/cmdline", 1))
    except OSError:
        return False


def _resident_bytes(folder: str) -> Reading:
    try:
        pages = int(_read(f"{folder}/statm", _STATM_BYTES).split()[1])
    except (OSError, ValueError, IndexError):
        return _NO_MEMORY
    return checked("memory_used_bytes", float(pages * PAGESIZE))


def _read(path: str, most_bytes: int) -> bytes:
    """Up to so many bytes; the kernel hands long tables out in pieces."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        pieces = []
        while most_bytes > 0 and (piece := os.read(descriptor, min(most_bytes, 2**18))):
            pieces.append(piece)
            most_bytes -= len(piece)
        return b"".join(pieces)
    finally:
        os.close(descriptor)
