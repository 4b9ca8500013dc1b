# ruff: noqa: E402 - what follows exists on Linux alone, and mypy checks it there alone
"""Processes as the kernel names them: ``/proc/PID/stat``, and descriptors that outlive a pid."""

from __future__ import annotations

import sys

assert sys.platform == "linux"

import os
import select
import signal
from collections.abc import Iterable
from typing import NamedTuple

from gpupanel.enforcement.cell import ProcessKey
from gpupanel.model.errors import HoldFailed

_STATE, _PARENT, _FLAGS, _USER_TICKS, _STARTED = 3 - 3, 4 - 3, 9 - 3, 14 - 3, 22 - 3
"""Of ``/proc/PID/stat``, counted from the first field after the name; proc_pid_stat(5)."""

_KERNEL_THREAD = 0x00200000
"""PF_KTHREAD of include/linux/sched.h."""

_STAT_BYTES = 1024
"""52 numbers and a name of 15 bytes need less."""


class Process(NamedTuple):
    """One process at one instant.

    Attributes:
        started: Clock ticks since boot.
        state: One letter: R runs, S sleeps, T is stopped, Z has ended.
        ticks: Processor time of all its threads.
        waited_ticks: That of its children that ended and that it waited for, and of theirs.
    """

    pid: int
    parent: int
    started: int
    state: str
    is_kernel: bool
    ticks: int
    waited_ticks: int

    @property
    def key(self) -> ProcessKey:
        """What tells it from a later process of the same pid."""
        return self.pid, self.started

    @property
    def has_ended(self) -> bool:
        """Only its parent still remembers it."""
        return self.state in "ZX"


def read(pid: int) -> Process | None:
    """The process of that pid; None where there is none."""
    try:
        descriptor = os.open(f"/proc/{pid}/stat", os.O_RDONLY)
    except OSError:
        return None
    try:
        text = os.read(descriptor, _STAT_BYTES)
    except OSError:
        return None  # it ended meanwhile
    finally:
        os.close(descriptor)
    return _parsed(pid, text)


def alive(key: ProcessKey) -> Process | None:
    """That very process, if it has not ended."""
    found = read(key[0])
    return found if found and found.started == key[1] and not found.has_ended else None


def living() -> list[Process]:
    """Everybody else who has not ended, in one pass over ``/proc``.

    Ourselves are left out: no tree of others goes on below us, so the dead-man is in none.
    """
    own = str(os.getpid())
    found = (read(int(name)) for name in os.listdir("/proc") if name.isdigit() and name != own)
    return [process for process in found if process and not process.has_ended]


def is_spared(process: Process) -> bool:
    """Ourselves, for whoever holds must not be held.

    Raises:
        HoldFailed: Nobody may hold it.
    """
    if process.pid == 1 or process.is_kernel:
        raise HoldFailed(f"pid {process.pid} is part of the system and is never held")
    return process.pid == os.getpid()


def _parsed(pid: int, text: bytes) -> Process | None:
    """The name may have spaces and brackets in it: the last bracket ends it."""
    fields = text[text.rfind(b")") + 2 :].split()
    try:
        user, system, waited_user, waited_system = map(int, fields[_USER_TICKS : _USER_TICKS + 4])
        return Process(
            pid,
            int(fields[_PARENT]),
            int(fields[_STARTED]),
            fields[_STATE].decode("ascii"),
            bool(int(fields[_FLAGS]) & _KERNEL_THREAD),
            user + system,
            waited_user + waited_system,
        )
    except (ValueError, IndexError):
        return None


if hasattr(os, "pidfd_open"):

    def open_process(key: ProcessKey) -> int | None:
        """A descriptor of that very process; None where it has ended.

        Raises:
            OSError: The system does not give one.
        """
        try:
            descriptor = os.pidfd_open(key[0])
        except ProcessLookupError:
            return None
        if alive(key):
            return descriptor
        os.close(descriptor)
        return None

    def send(descriptor: int, number: int) -> bool:
        """Send a signal to the process of a descriptor; False where it has ended.

        Raises:
            PermissionError: It is another user's.
        """
        try:
            signal.pidfd_send_signal(descriptor, number)
        except ProcessLookupError:
            return False
        return True

    def send_to(keys: Iterable[ProcessKey], number: int) -> None:
        """Send a signal to each of them that lives and that we may send to."""
        for key in keys:
            descriptor = open_process(key)
            if descriptor is None:
                continue
            try:
                send(descriptor, number)
            except PermissionError:
                continue
            finally:
                os.close(descriptor)


def has_exited(descriptor: int) -> bool:
    """Whether the process of a pidfd has ended: only then it can be read."""
    return bool(select.select([descriptor], [], [], 0)[0])
