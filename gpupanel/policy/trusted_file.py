"""Reading files that only the administrator can have written.

A file is worth what the weakest step of its way is worth: whoever owns a directory above it, or
a link on the way, decides what is read. So the way is walked step by step, each step opened
without following links and looked at before the next, and what was looked at is what is read.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from gpupanel.model.errors import PolicyInvalid
from gpupanel.policy.faults import Fault, error

MAX_LINKS = 40
"""Most symbolic links on one way, as in the kernel."""


@dataclass(frozen=True, slots=True)
class Trust:
    """Who may have written a file and its way.

    Attributes:
        uid: The one owner that is trusted; root on a real machine.
        base: Where the walk starts; this directory itself is taken on trust. All of the way
            lies below it, also where links lead.
    """

    uid: int = 0
    base: Path = Path("/")


ROOT_ONLY = Trust()


def safe_read(path: Path, max_bytes: int, trust: Trust) -> bytes:
    """The content of a regular file that only ``trust.uid`` can change.

    On Windows this is a reduced check: that it is a regular file. The access lists of the file
    and of its directories are not looked at there; the installer sets them.

    Returns:
        At most ``max_bytes`` + 1 bytes; empty for a link to /dev/null, which masks.

    Raises:
        PolicyInvalid: The way is not safe, or the file cannot be read.
        FileNotFoundError: There is no such file.
    """
    if sys.platform == "win32":
        return plain_read(path, max_bytes)
    else:  # noqa: RET505 - for mypy, to which the rest does not exist on Windows
        with _told_about(path), ExitStack() as opened:
            walked_fd = _walk(path, trust, opened)
            return b"" if walked_fd is None else _read_walked(path, walked_fd, max_bytes)


def safe_names(directory: Path, trust: Trust) -> list[str]:
    """Names in a directory that only ``trust.uid`` can change; unchecked on Windows.

    Raises:
        PolicyInvalid: The way is not safe, or the directory cannot be read.
        FileNotFoundError: There is no such directory.
    """
    if sys.platform == "win32":
        with _told_about(directory):
            return os.listdir(directory)
    else:
        with _told_about(directory), ExitStack() as opened:
            walked_fd = _walk(directory, trust, opened)
            if walked_fd is None:
                return []
            fd = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=walked_fd)
            opened.callback(os.close, fd)
            return os.listdir(fd)


def safe_identity(path: Path, trust: Trust = ROOT_ONLY) -> tuple[int, int] | None:
    """Device and inode of what only ``trust.uid`` can change; None for all else.

    On Windows always None: access lists are not looked at.
    """
    if sys.platform == "win32":
        return None
    else:  # noqa: RET505 - for mypy, to which the rest does not exist on Windows
        with ExitStack() as opened:
            try:
                walked_fd = _walk(path, trust, opened)
            except (PolicyInvalid, OSError):
                return None
            status = None if walked_fd is None else os.fstat(walked_fd)
            return None if status is None else (status.st_dev, status.st_ino)


def plain_read(path: Path, max_bytes: int, owner_uid: int | None = None) -> bytes:
    """The content of a regular file, whatever its way: for files that can only tighten.

    Args:
        path: Links on the way are followed.
        max_bytes: What is beyond it is not read, but for one byte that shows that there is more.
        owner_uid: Who must own the file; None accepts any owner.

    Raises:
        PolicyInvalid: It is no regular file, belongs to somebody else, or cannot be read.
        FileNotFoundError: There is no such file.
    """
    # Not blocking: a pipe in the file's place must not hold us until somebody writes to it.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    with _told_about(path), ExitStack() as opened:
        fd = os.open(path, flags)
        opened.callback(os.close, fd)
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise _unreadable(path, _NOT_REGULAR)
        if owner_uid is not None and status.st_uid != owner_uid:
            text = f"belongs to uid {status.st_uid} and not to you: make it yours (chown)"
            raise _insecure(path, text)
        return _read_up_to(fd, max_bytes)


@contextmanager
def _told_about(path: Path) -> Iterator[None]:
    """Errors of the system as diagnostics about ``path``; absence stays FileNotFoundError."""
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as reason:
        text = f"cannot be read: {reason.strerror or reason}"
        raise _unreadable(path, text) from reason


_NOT_REGULAR = "is not a regular file: put a file in its place"


def _unreadable(path: Path, text: str) -> PolicyInvalid:
    return PolicyInvalid([error(Fault.UNREADABLE, str(path), text)])


def _insecure(path: Path, text: str) -> PolicyInvalid:
    return PolicyInvalid([error(Fault.INSECURE, str(path), text)])


def _read_up_to(fd: int, max_bytes: int) -> bytes:
    """One byte more than ``max_bytes`` at most, so that the caller sees that there is more."""
    content = b""
    while len(content) <= max_bytes:
        block = os.read(fd, max_bytes + 1 - len(content))
        if not block:
            break
        content += block
    return content


if sys.platform != "win32":

    def _walk(path: Path, trust: Trust, opened: ExitStack) -> int | None:
        """Walk to ``path``; a descriptor of what it leads to, or None where that is /dev/null."""
        here = [_open_step(trust.base, None, opened)]
        pending = _steps(path, path, trust)
        links = 0
        while pending:
            step = pending.pop()
            if step == "..":
                _go_up(path, here)
                continue
            fd = _open_step(step, here[-1], opened)
            mode = _checked_mode(path, step, fd, trust)
            if not stat.S_ISLNK(mode):
                here.append(fd)
                continue
            links += 1
            target = os.readlink("", dir_fd=fd)
            if target == os.devnull and not pending:
                return None
            if links > MAX_LINKS:
                raise _insecure(path, f"leads through more than {MAX_LINKS} links")
            if target.startswith("/"):
                del here[1:]
            pending += _steps(path, Path(target), trust)
        return here[-1]

    def _steps(path: Path, way: Path, trust: Trust) -> list[str]:
        """The names on ``way``, last first."""
        if not way.is_absolute():
            return list(reversed(way.parts))
        if not way.is_relative_to(trust.base):
            raise _insecure(path, f"leads out of {trust.base}, to {way}")
        return list(reversed(way.relative_to(trust.base).parts))

    def _go_up(path: Path, here: list[int]) -> None:
        if len(here) == 1:
            raise _insecure(path, "leads above the directory that the walk starts from")
        here.pop()

    def _open_step(step: str | Path, directory: int | None, opened: ExitStack) -> int:
        fd = os.open(step, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
        opened.callback(os.close, fd)
        return fd

    def _checked_mode(path: Path, step: str, fd: int, trust: Trust) -> int:
        """The mode of what was opened.

        Raises:
            PolicyInvalid: Somebody else owns it or can write to it.
        """
        status = os.fstat(fd)
        if status.st_uid != trust.uid:
            text = f'"{step}" belongs to uid {status.st_uid} and not to {trust.uid}'
            raise _insecure(path, f"{text}: chown it, or remove it")
        # The bits of a link mean nothing: it can only be replaced, and its directory was checked.
        if not stat.S_ISLNK(status.st_mode) and status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            mode = stat.S_IMODE(status.st_mode)
            text = f'"{step}" can be written by group or others (mode {mode:04o})'
            raise _insecure(path, f"{text}: chmod go-w it")
        return status.st_mode

    def _read_walked(path: Path, walked_fd: int, max_bytes: int) -> bytes:
        """Read the very file that the walk ended at, and only if it holds still."""
        before = os.fstat(walked_fd)
        if not stat.S_ISREG(before.st_mode):
            raise _unreadable(path, _NOT_REGULAR)
        if before.st_nlink != 1:
            text = f"has {before.st_nlink} names (hard links): copy it, so that it has one"
            raise _insecure(path, text)
        with open(f"/proc/self/fd/{walked_fd}", "rb", buffering=0) as file:
            content = _read_up_to(file.fileno(), max_bytes)
            after = os.fstat(file.fileno())
        if _identity(before) != _identity(after):
            raise _unreadable(path, "changed while it was read: read it again when it holds still")
        return content

    def _identity(status: os.stat_result) -> tuple[int, ...]:
        """What changes when a file is written, replaced, given away or linked."""
        return (
            status.st_dev, status.st_ino, status.st_mode, status.st_uid, status.st_nlink,
            status.st_size, status.st_mtime_ns, status.st_ctime_ns,
        )  # fmt: skip
