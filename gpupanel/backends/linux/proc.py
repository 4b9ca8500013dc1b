"""Who a process is: what every list of GPU users shows beside the driver's numbers.

A pid alone is no name: it is used again. The start time with it is, and it costs one small file.
"""

from __future__ import annotations

import os
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

from gpupanel.backends.linux.sysfs import read_text

PROC = Path("/proc")

_COMM_LENGTH = 15
"""The kernel keeps this much of a name."""

_STARTED_FIELD = 22 - 3
"""Of ``/proc/PID/stat``, counted from the first field after the name."""

_PROCESS_CLOCK = 2
"""CPUCLOCK_SCHED of a whole process, below the complement of its pid."""

_FILETIME_OF_1970 = 116_444_736_000_000_000
_FILETIME_PER_S = 10_000_000


@dataclass(frozen=True, slots=True)
class Identity:
    """One process.

    Attributes:
        started: Clock ticks since boot on Linux, FILETIME on Windows.
        name: Of the program, without its folder.
        user: Whose rights it has; the number in digits where that has no name, None where the
            system does not tell.
        uid: The number; None on Windows.
    """

    started: int
    name: str
    user: str | None
    uid: int | None = None


def identity(pid: int, proc_root: Path = PROC) -> Identity | None:
    """Name the process, or None where there is none (any more)."""
    if sys.platform == "win32":
        found = _identity_from_psutil(pid)
    else:
        found = _identity_from_proc(pid, proc_root)
    return found


def started_unix_s(started: int) -> float | None:
    """``Identity.started`` on the wall clock, to the second; None where it is not known."""
    if not started:
        return None
    if sys.platform == "win32":
        since_s = (started - _FILETIME_OF_1970) / _FILETIME_PER_S
    else:
        since_s = _boot_unix_s() + started / os.sysconf("SC_CLK_TCK")
    return float(round(since_s))


def processor_s(pid: int) -> float | None:
    """Processor time of all its threads since its start, or None where there is no such process.

    On Linux from the kernel's clock of that process, which anybody may read: nanoseconds where
    ``stat`` counts hundredths, and no file. How a clock is numbered is the kernel's ABI
    (``clock_getcpuclockid``).
    """
    used_s: float | None = None
    if sys.platform == "win32":
        used_s = _processor_s_from_psutil(pid)
    else:
        with suppress(OSError):
            used_s = time.clock_gettime(~pid << 3 | _PROCESS_CLOCK)
    return used_s


if sys.platform != "win32":

    @cache
    def _boot_unix_s() -> float:
        """Asked once: it differs by a hair each time, and a process would seem to start anew."""
        return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)


def _identity_from_proc(pid: int, proc_root: Path) -> Identity | None:
    folder = f"{proc_root}/{pid}"
    stat = name_and_started(folder)
    if stat is None:
        return None
    comm, started_ticks = stat
    try:
        # The folder itself: the files in it belong to root where a program allows no dumps.
        uid = Path(folder).stat().st_uid
    except OSError:
        return None
    return Identity(started_ticks, _whole_name(folder, comm), _user_name(uid), uid)


def name_and_started(folder: str) -> tuple[str, int] | None:
    """What the kernel calls the process of ``/proc/PID``, and its start in clock ticks since boot.

    None where there is none.
    """
    try:
        before, _, after = read_text(f"{folder}/stat").rpartition(")")
        return before.partition("(")[2], int(after.split()[_STARTED_FIELD])
    except (OSError, ValueError, IndexError):
        return None


def _whole_name(folder: str, comm: str) -> str:
    """``comm``, or what was called where that continues it."""
    if len(comm.encode()) < _COMM_LENGTH:
        return comm
    try:
        called = read_text(f"{folder}/cmdline").partition("\0")[0].rpartition("/")[2]
    except OSError:
        return comm
    return called if called.startswith(comm) else comm


@lru_cache(maxsize=64)
def _user_name(uid: int) -> str:
    """Kept: with accounts on a network this may ask a server, and a list has hundreds of rows."""
    name = str(uid)
    if sys.platform != "win32":
        import pwd

        # No name: a container's user, or an account that was removed.
        with suppress(KeyError):
            name = pwd.getpwuid(uid).pw_name
    return name


def _identity_from_psutil(pid: int) -> Identity | None:
    import psutil

    try:
        process = psutil.Process(pid)
        started_filetime = round(process.create_time() * _FILETIME_PER_S) + _FILETIME_OF_1970
        name = process.name()
    except psutil.Error:
        return None
    try:
        user: str | None = process.username()
    except psutil.Error:
        user = None
    return Identity(started_filetime, name, user)


def _processor_s_from_psutil(pid: int) -> float | None:
    import psutil

    try:
        spent_s = psutil.Process(pid).cpu_times()
    except psutil.Error:
        return None
    return float(spent_s.user + spent_s.system)
