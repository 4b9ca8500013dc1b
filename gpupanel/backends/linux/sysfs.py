"""Reading the kernel's small files: one number or one line each.

``os.read`` instead of ``Path.read_text``: a tick reads tens of them, and this costs a third. What
is read every tick keeps its descriptor, which halves the rest.
"""

from __future__ import annotations

import errno
import os
import re
import sys

from gpupanel.model.gpu import NOT_TOLD, Unavailable

PAGE_BYTES = 4096
"""The kernel gives no more in one of these files."""

_PADDING = b"\0 \t\r\n"
_INTEGER = re.compile(rb"-?[0-9]{1,20}")
"""No number of the kernel is longer than 64 bits."""

ASLEEP_OR_RESET = Unavailable("the driver does not say while the GPU sleeps or is being reset")


class KeptFile:
    """A file that is read again and again; opened on the first read and kept open.

    After the device was there anew (driver reloaded, hot-plugged), the kept descriptor says
    ENODEV: the file is opened again once.
    """

    __slots__ = ("_descriptor", "path")

    def __init__(self, path: str) -> None:
        self.path = path
        self._descriptor = -1

    def read(self) -> bytes:
        """The file as it is now.

        Raises:
            OSError: It is not there, not ours to read, or its device is gone; ``EPERM`` from a
                file that is open: the device sleeps.
        """
        if self._descriptor < 0:
            return self._read_anew()
        try:
            return _whole(self._descriptor)
        except OSError as error:
            if error.errno != errno.ENODEV:
                raise
        self.close()
        return self._read_anew()

    def close(self) -> None:
        """Let go of the descriptor; the next read opens the file again."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __del__(self) -> None:
        self.close()

    def _read_anew(self) -> bytes:
        self._descriptor = os.open(self.path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
        return _whole(self._descriptor)


class KeptFolder:
    """Files of one folder that are read every tick; a file that is not there is asked for once."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self._files: dict[str, KeptFile | None] = {}

    def content(self, name: str) -> bytes | Unavailable:
        """The file as it is now, or why it cannot be read."""
        if name not in self._files:
            self._files[name] = KeptFile(f"{self.folder}/{name}")
        file = self._files[name]
        if file is None:
            return NOT_TOLD
        try:
            return file.read()
        except FileNotFoundError:
            # Asked again while the whole folder is away: its driver may come back.
            if os.path.isdir(self.folder):
                self._files[name] = None
            return NOT_TOLD
        except OSError as error:
            return unreadable(error, file.path)

    def number(self, name: str) -> int | Unavailable:
        """The integer that the file holds, or why there is none."""
        content = self.content(name)
        if isinstance(content, Unavailable):
            return content
        digits = content.strip(_PADDING)
        if _INTEGER.fullmatch(digits) is None:
            return unreadable(ValueError(), f"{self.folder}/{name}")
        return int(digits)

    def text(self, name: str) -> str:
        """The file without white space and zeros around it; empty where it cannot be read."""
        content = self.content(name)
        if isinstance(content, Unavailable):
            return ""
        return content.strip(_PADDING).decode("utf-8", "replace")

    def close(self) -> None:
        """Let go of every kept descriptor."""
        for file in self._files.values():
            if file is not None:
                file.close()


def _whole(descriptor: int) -> bytes:
    if sys.platform == "win32":
        raise OSError("Windows has no sysfs")
    else:  # noqa: RET506 - for mypy, to which the rest does not exist on Windows
        return os.pread(descriptor, PAGE_BYTES, 0)


def read_text(path: str) -> str:
    """The file without white space and zeros around it.

    Raises:
        OSError: It is not there, not ours to read, or its device is gone.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return os.read(descriptor, PAGE_BYTES).strip(_PADDING).decode("utf-8", "replace")
    finally:
        os.close(descriptor)


def read_number(path: str) -> int:
    """The integer that the file holds.

    Raises:
        OSError: As ``read_text``.
        ValueError: The file holds something else.
    """
    return int(read_text(path))


def unreadable(error: OSError | ValueError, path: str) -> Unavailable:
    """Why ``path`` has no reading, for a person."""
    if isinstance(error, PermissionError):
        # An open that is refused says EACCES; EPERM comes from drivers that will not wake a GPU.
        if error.errno == errno.EPERM and error.filename is None:
            return ASLEEP_OR_RESET
        return Unavailable(f"needs read permission on {error.filename or path}")
    if isinstance(error, OSError):
        return Unavailable(f"{error.filename or path}: {error.strerror}")
    return Unavailable(f"{path} holds no number")
