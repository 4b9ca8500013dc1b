"""More processes of a program that is held: started anew, renamed, copied, split over many.

Detection needs seconds to judge a process. Whoever starts the same program again and again would
run free for these seconds each time, so what runs the very program of a held process, for the same
user, is held at once.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from gpupanel.backends.linux.far_drives import FarDrives
from gpupanel.backends.linux.proc import name_and_started
from gpupanel.enforcement.cell import ProcessKey

_YOUNG_S = 1.0
"""A process that is younger may still be about to become another program."""

_ALL_S = 1.0
"""Between two looks at everybody, young or not."""

_LARGEST_BYTES = 64 * 2**20
_ARGUMENTS_BYTES = 32_768

_File = tuple[int, int]
"""Device and inode."""


@dataclass(frozen=True, slots=True)
class Likeness:
    """What tells a program from others.

    Attributes:
        file: Where it lies.
        size: In bytes.
        sha256: Empty where it is too large to be read.
        command_line: None where the file is all of the program; else the interpreter's.
    """

    file: _File
    size: int
    sha256: str
    command_line: bytes | None


class Kin:
    """Looks through the processes of this machine; belongs to one thread."""

    def __init__(self, root: str = "/proc") -> None:
        self._root = root
        self._far = FarDrives(Path(root))
        self._met_s: dict[int, tuple[int | None, float]] = {}
        self._all_at_s = 0.0
        self._hashes: dict[tuple[_File, int], str] = {}

    def likeness(self, pid: int, by_arguments: bool) -> Likeness | None:
        """Of a process that is held, None where it is gone.

        Args:
            pid: The process.
            by_arguments: Its file is an interpreter's, which runs other things too.
        """
        program = self._program(pid)
        if program is None:
            return None
        arguments = self._arguments(pid) if by_arguments else None
        return Likeness(*program, self._sha256(pid, *program), arguments)

    def candidates(self, uids: Collection[int | None], now_s: float) -> list[tuple[int, int]]:
        """Pids that may have become one of theirs since the last look, with their user."""
        pids = [int(name) for name in os.listdir(self._root) if name.isdigit()]
        met = {pid: self._met_s.get(pid) or (self._owner(pid), now_s) for pid in pids}
        self._met_s = met
        all_of_them = now_s >= self._all_at_s
        if all_of_them:
            self._all_at_s = now_s + _ALL_S
            self._far.look_again()
        return [
            (pid, uid)
            for pid, (uid, met_s) in met.items()
            if uid is not None and uid in uids and (all_of_them or now_s - met_s < _YOUNG_S)
        ]

    def alike(self, likenesses: Collection[Likeness], pids: Iterable[int]) -> set[ProcessKey]:
        """Those of ``pids`` that run one of these programs."""
        return {
            (pid, found[1])
            for pid in pids
            if any(self._is_alike(one, pid) for one in likenesses)
            and (found := name_and_started(f"{self._root}/{pid}")) is not None
        }

    def _is_alike(self, likeness: Likeness, pid: int) -> bool:
        program = self._program(pid)
        if program is None:
            return False
        file, size = program
        if likeness.command_line is not None:
            return file == likeness.file and self._arguments(pid) == likeness.command_line
        if file == likeness.file:
            return True
        is_copy = size == likeness.size and likeness.sha256
        return bool(is_copy) and self._sha256(pid, file, size) == likeness.sha256

    def _program(self, pid: int) -> tuple[_File, int] | None:
        """None where it is gone, or lies where asking for it may hang."""
        link = f"{self._root}/{pid}/exe"
        try:
            if self._far.has(pid, os.readlink(link)):
                return None
            status = os.stat(link)
        except OSError:
            return None
        return (status.st_dev, status.st_ino), status.st_size

    def _sha256(self, pid: int, file: _File, size: int) -> str:
        """Read once; empty where it is too large or cannot be read."""
        kept = self._hashes.get((file, size))
        if kept is not None:
            return kept
        digest = ""
        if size <= _LARGEST_BYTES:
            try:
                with open(f"{self._root}/{pid}/exe", "rb") as program:
                    digest = hashlib.file_digest(program, "sha256").hexdigest()
            except OSError:
                digest = ""
        if len(self._hashes) > 256:
            self._hashes.clear()
        self._hashes[file, size] = digest
        return digest

    def _arguments(self, pid: int) -> bytes:
        try:
            with open(f"{self._root}/{pid}/cmdline", "rb") as file:
                return file.read(_ARGUMENTS_BYTES)
        except OSError:
            return b""

    def _owner(self, pid: int) -> int | None:
        try:
            return os.stat(f"{self._root}/{pid}").st_uid
        except OSError:
            return None
