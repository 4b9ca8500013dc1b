"""The chain on the disk: files that grow one after the other, and are taken up after a crash.

Any failure leaves the chain closed; ``open`` finds out anew what is really there. So a full disk,
a file that somebody removed and a crash are all mended in one place.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypedDict

from gpupanel.files import settle_directory
from gpupanel.model.audit import AUDIT_EVENT_BY_NAME
from gpupanel.model.chain import Head, Record, file_name, file_number, seal, unseal
from gpupanel.service.audit.entry import Entry

FILE_BYTES = 8 * 1024 * 1024
"""From here on the next batch begins a new file."""

FILES = 8
"""So many are kept."""

_FOLDER_MODE = 0o750
_FILE_MODE = 0o640
_MORE_FLAGS = sum(getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_CLOEXEC", "O_BINARY"))
"""Where the system has them."""
_FLAGS = os.O_WRONLY | os.O_APPEND | _MORE_FLAGS


class Found(TypedDict, total=False):
    """What was wrong with the end of the chain; fields of ``audit.gap``."""

    torn_bytes: int
    damaged_file: str


class ChainFiles:
    """One folder of them. Belongs to one thread; two processes cannot have it open.

    Attributes:
        head: The newest record of the chain, since ``open``.
    """

    def __init__(self, folder: Path, file_bytes: int = FILE_BYTES) -> None:
        self._folder = folder
        self._file_bytes = file_bytes
        self.head = Head()
        self._fd = self._lock_fd = -1
        self._number = self._size = 0
        self._oldest_seq = 1

    @property
    def is_open(self) -> bool:
        """Whether ``append`` may be called."""
        return self._fd >= 0

    def open(self) -> Found:
        """Take up the chain where it ends; what a crash left of a record is cut off.

        A file that ends with something else that is no record stays as it is, as evidence, and
        the chain goes on in the next.

        Raises:
            OSError: The folder or file cannot be written, or another process writes there.
        """
        try:
            return self._open()
        except BaseException:
            self.close()
            raise

    def append(self, entries: Sequence[Entry]) -> list[Record]:
        """Write records and wait until they are on the disk; the chain is closed if that fails.

        Returns:
            All that were written: a new file begins with one that was not asked for.

        Raises:
            OSError: None of them is in the chain, as far as the disk let them be taken back.
        """
        try:
            return self._append(entries)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let go of the files; ``open`` may follow."""
        for fd in (self._fd, self._lock_fd):
            if fd >= 0:
                os.close(fd)
        self._fd = self._lock_fd = -1

    def prune(self) -> None:
        """Remove the oldest files, beyond those that are kept.

        Raises:
            OSError: One cannot be removed; the chain is still open.
        """
        for number in self._numbers()[:-FILES]:
            os.unlink(self._folder / file_name(number))

    def _open(self) -> Found:
        self._folder.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
        self._lock_fd = _locked(self._folder / "lock")
        numbers = self._numbers()
        self._number = numbers[-1] if numbers else 1
        found, head = self._look_back(numbers)
        if head != self.head:
            self.head, self._oldest_seq = head, self._told_oldest_seq(numbers)
        is_new = not numbers or "damaged_file" in found
        if "damaged_file" in found:
            self._number += 1
        self._open_file(is_new=is_new)
        self._size = os.fstat(self._fd).st_size - found.get("torn_bytes", 0)
        os.ftruncate(self._fd, self._size)
        return found

    def _look_back(self, numbers: Sequence[int]) -> tuple[Found, Head]:
        """The newest record, and what stands behind it in the newest file."""
        found: Found = {}
        head = Head()
        for number in reversed(numbers):
            *lines, torn = (self._folder / file_name(number)).read_bytes().split(b"\n")
            is_newest = number == numbers[-1]
            head, is_last = _newest(lines)
            if is_newest and not is_last:
                found = {"damaged_file": file_name(number)}
            elif is_newest and torn:
                found = {"torn_bytes": len(torn)}
            if head.seq:
                break
        if self.head.seq > head.seq:
            # This process has written more than is there: somebody took it away meanwhile.
            return {"damaged_file": file_name(self._number)}, self.head
        return found, head

    def _append(self, entries: Sequence[Entry]) -> list[Record]:
        self._check_that_it_is_ours()
        if self._size >= self._file_bytes:
            os.close(self._fd)
            self._number += 1
            self._open_file(is_new=True)
            self._size = 0
        if self._size == 0 and self.head.seq:
            entries = [self._rotated(entries[0]), *entries]
        records = self._sealed(entries)
        self._write("".join(f"{record.line}\n" for record in records).encode("ascii"))
        self.head = records[-1].head
        return records

    def _sealed(self, entries: Sequence[Entry]) -> list[Record]:
        records: list[Record] = []
        head = self.head
        for event, moment, fields in entries:
            records.append(seal(head, moment, event.name, event.severity.word, fields))
            head = records[-1].head
        return records

    def _write(self, content: bytes) -> None:
        left = memoryview(content)
        try:
            while left:
                left = left[os.write(self._fd, left) :]
            os.fsync(self._fd)
        except OSError:
            # Where even this fails a torn record stays, or whole ones that come once more.
            with suppress(OSError):
                os.ftruncate(self._fd, self._size)
            raise
        self._size += len(content)

    def _rotated(self, first: Entry) -> Entry:
        """The record that a new file begins with; it says which older ones may be missing."""
        numbers = self._numbers()
        if len(numbers) > FILES:
            oldest = self._first_record(numbers[-FILES:-1])
            self._oldest_seq = oldest.seq if oldest else self.head.seq + 1
        fields = {
            "previous_file": file_name(self._number - 1),
            "oldest_seq": self._oldest_seq,
        }
        return Entry(AUDIT_EVENT_BY_NAME["audit.rotated"], first.moment, fields)

    def _first_record(self, numbers: Iterable[int]) -> Record | None:
        """Of the first of these files that begins with one."""
        for number in numbers:
            with (self._folder / file_name(number)).open("rb") as file, suppress(ValueError):
                return unseal(file.readline().rstrip(b"\n"))
        return None

    def _told_oldest_seq(self, numbers: Sequence[int]) -> int:
        """What the newest file says of it; 1 before the first rotation."""
        first = self._first_record(reversed(numbers))
        told = first.fields.get("oldest_seq") if first and first.event == "audit.rotated" else 1
        return told if isinstance(told, int) else 1

    def _check_that_it_is_ours(self) -> None:
        """Somebody may have removed, replaced or cut the file since the last batch."""
        at_path, opened = os.stat(self._path), os.fstat(self._fd)
        if (at_path.st_dev, at_path.st_ino) != (opened.st_dev, opened.st_ino):
            raise OSError(f"{self._path} was replaced")
        if opened.st_size != self._size:
            raise OSError(f"{self._path} was written by somebody else")

    def _open_file(self, *, is_new: bool) -> None:
        flags = _FLAGS | os.O_CREAT | os.O_EXCL if is_new else _FLAGS
        self._fd = -1
        self._fd = os.open(self._path, flags, _FILE_MODE)
        if is_new:
            settle_directory(self._folder)

    @property
    def _path(self) -> Path:
        return self._folder / file_name(self._number)

    def _numbers(self) -> list[int]:
        """Of the files that are there, in order."""
        numbers = (file_number(name) for name in os.listdir(self._folder))
        return sorted(number for number in numbers if number is not None)


def _newest(lines: Sequence[bytes]) -> tuple[Head, bool]:
    """The last record among lines, and whether no other line follows it."""
    for behind, line in enumerate(reversed(lines)):
        with suppress(ValueError):
            return unseal(line).head, behind == 0
    return Head(), not lines


def _locked(path: Path) -> int:
    """A descriptor of the folder's lock; the end of the process lets it go too."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | _MORE_FLAGS, 0o600)
    try:
        _lock(fd)
    except OSError:
        os.close(fd)
        raise OSError(f"another gpupanel writes the audit log in {path.parent}") from None
    return fd


if sys.platform == "win32":
    import msvcrt

    def _lock(fd: int) -> None:
        msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _lock(fd: int) -> None:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
