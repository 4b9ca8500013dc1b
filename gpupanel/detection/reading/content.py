"""What programs are, whatever they are called: the content of their files, read once.

A large file is read a little at each look, in the time that is left, so that no look takes long.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

LARGEST_BYTES = 512 * 2**20
"""A larger file is not read: programs are smaller, with their data beside them."""

AT_ONCE_BYTES = 2**18
"""A file up to this size is read when it is met: scripts are."""

BLOCK_BYTES = 2**16
"""Between two questions whether time is up."""

_MOST_FILES = 512

Identity = tuple[int, int, int, int]
"""Device, inode, time of the last change in ns, size."""


@dataclass(frozen=True, slots=True)
class Content:
    """What is known of a file.

    Attributes:
        identity: Device and inode.
        sha256: None until it was read whole; stays None of one that is too large.
        markers: Found so far.
    """

    identity: tuple[int, int]
    sha256: str | None = None
    markers: tuple[str, ...] = ()


@dataclass(slots=True)
class _Reading:
    """How far a file was read."""

    done: int = 0
    tail: bytes = b""
    digest: hashlib._Hash = field(default_factory=hashlib.sha256)
    sha256: str | None = None
    markers: set[str] = field(default_factory=set)

    @property
    def is_whole(self) -> bool:
        """Nothing is left to read."""
        return self.sha256 is not None


class Contents:
    """Reads files once each; bounded in time per look and in files remembered."""

    def __init__(self, markers: Sequence[bytes]) -> None:
        """``markers``: texts to look for in all of them."""
        self._markers = tuple(markers)
        self._longest = max(map(len, markers), default=1)
        self._readings: OrderedDict[Identity, _Reading] = OrderedDict()
        self._unread: dict[Identity, str] = {}

    def of(self, path: str) -> Content | None:
        """What is known of the file.

        None where it is no regular file, or cannot be opened.
        """
        try:
            status = os.stat(path)
        except OSError:
            return None
        if not stat.S_ISREG(status.st_mode):
            return None
        identity = status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size
        reading = self._reading(identity)
        is_wanted = not reading.is_whole and status.st_size <= LARGEST_BYTES
        if is_wanted and not self._begin(path, reading, identity):
            return None
        return Content(identity[:2], reading.sha256, tuple(sorted(reading.markers)))

    def _begin(self, path: str, reading: _Reading, identity: Identity) -> bool:
        """Read a small file, and of a large one the first block: whether it can be opened."""
        is_small = identity[-1] <= AT_ONCE_BYTES
        if (is_small or not reading.done) and not self._read_on(
            path, reading, identity, lambda: not is_small
        ):
            return False
        if not reading.is_whole and len(self._unread) < _MOST_FILES:
            self._unread[identity] = path  # of the process that was met last
        return True

    def read_on(self, is_over: Callable[[], bool]) -> None:
        """Read what was asked for and is not read yet, block by block, one at least."""
        while self._unread:
            identity, path = next(iter(self._unread.items()))
            reading = self._reading(identity)
            is_there = self._read_on(path, reading, identity, is_over)
            if not is_there or reading.is_whole:
                del self._unread[identity]
            if is_over():
                return

    def _reading(self, identity: Identity) -> _Reading:
        reading = self._readings.pop(identity, None) or _Reading()
        self._readings[identity] = reading
        while len(self._readings) > _MOST_FILES:
            self._readings.popitem(last=False)
        return reading

    def _read_on(
        self, path: str, reading: _Reading, identity: Identity, is_over: Callable[[], bool]
    ) -> bool:
        """Whether it could be read."""
        flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
        try:
            descriptor = os.open(path, flags)
        except OSError:
            return False
        try:
            status = os.fstat(descriptor)
            if (status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size) != identity:
                return False  # another file by now; it is read under its own name next time
            os.lseek(descriptor, reading.done, os.SEEK_SET)
            while not reading.is_whole:
                self._take(os.read(descriptor, BLOCK_BYTES), reading)
                if is_over():
                    break
        except OSError:
            return False
        finally:
            os.close(descriptor)
        return True

    def _take(self, block: bytes, reading: _Reading) -> None:
        if not block:
            reading.sha256 = reading.digest.hexdigest()
            return
        reading.done += len(block)
        reading.digest.update(block)
        searched = reading.tail + block
        for marker in self._markers:
            if marker in searched:
                reading.markers.add(marker.decode("utf-8", "replace"))
        reading.tail = searched[-(self._longest - 1) :] if self._longest > 1 else b""
