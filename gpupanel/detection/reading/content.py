"""What programs are, whatever they are called: the content of their files, read once.

A large file is read a little at each look, so that no look takes long.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

LARGEST_BYTES = 512 * 2**20
"""A larger file is not read: programs are smaller, with their data beside them."""

LOOK_BYTES = 8 * 2**20
"""At one look, of all files together."""

_BLOCK_BYTES = 2**20
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


class Contents:
    """Reads files once each; bounded in bytes per look and in files remembered."""

    def __init__(self, markers: Sequence[bytes]) -> None:
        """``markers``: texts to look for in all of them."""
        self._markers = tuple(markers)
        self._longest = max(map(len, markers), default=1)
        self._readings: OrderedDict[Identity, _Reading] = OrderedDict()
        self._budget_bytes = LOOK_BYTES

    def begin_look(self) -> None:
        """From now on as many bytes may be read again."""
        self._budget_bytes = LOOK_BYTES

    def of(self, path: str) -> Content | None:
        """What is known of the file, after reading a little more of it.

        None where it is no regular file, or cannot be opened.
        """
        flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
        try:
            status = os.stat(path)
            if not stat.S_ISREG(status.st_mode):
                return None
            identity = status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size
            reading = self._reading(identity)
            if reading.sha256 is None and status.st_size <= LARGEST_BYTES and self._budget_bytes:
                descriptor = os.open(path, flags)
                try:
                    self._read_on(descriptor, reading, identity)
                finally:
                    os.close(descriptor)
        except OSError:
            return None
        return Content(identity[:2], reading.sha256, tuple(sorted(reading.markers)))

    def _reading(self, identity: Identity) -> _Reading:
        reading = self._readings.pop(identity, None) or _Reading()
        self._readings[identity] = reading
        while len(self._readings) > _MOST_FILES:
            self._readings.popitem(last=False)
        return reading

    def _read_on(self, descriptor: int, reading: _Reading, identity: Identity) -> None:
        status = os.fstat(descriptor)
        if (status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size) != identity:
            return  # another file by now; it is read under its own name next time
        os.lseek(descriptor, reading.done, os.SEEK_SET)
        while self._budget_bytes > 0:
            block = os.read(descriptor, min(_BLOCK_BYTES, self._budget_bytes))
            self._budget_bytes -= len(block)
            if not block:
                reading.sha256 = reading.digest.hexdigest()
                return
            reading.done += len(block)
            reading.digest.update(block)
            self._search(reading, block)

    def _search(self, reading: _Reading, block: bytes) -> None:
        searched = reading.tail + block
        for marker in self._markers:
            if marker in searched:
                reading.markers.add(marker.decode("utf-8", "replace"))
        reading.tail = searched[-(self._longest - 1) :] if self._longest > 1 else b""
