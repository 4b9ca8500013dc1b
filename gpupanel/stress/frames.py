"""Pictures from a worker to the window: memory that both map, and nothing to clean up.

Linux: an anonymous file that lives as long as somebody holds it. Windows: a named mapping of the
paging file, likewise. Neither outlives its processes, however they end. One writer, one reader.

Layout, in 64-bit words, then pixels:
    [0] sequence of the latest complete picture, 0 before the first
    [1] capacity of a slot in bytes
    [2..4] slot 0: sequence, width, height      [5..7] slot 1: the same
    byte 64: pixels of slot 0, then of slot 1
Picture n goes into slot n % 2. The slot's sequence is 0 while it is written, so a reader that
finds n before and after its copy has copied n whole.
"""

from __future__ import annotations

import mmap
import os
import secrets
import sys

from gpupanel.model.errors import ProtocolError

_HEADER_BYTES = 64
_LATEST, _CAPACITY, _SLOTS, _SLOT_WORDS = 0, 1, 2, 3
_ATTEMPTS = 4
"""Each failed one means that the writer made two pictures during one copy."""


class FrameMemory:
    """Room for two pictures of RGBX bytes, shared by a parent and one child."""

    def __init__(self, memory: mmap.mmap, reference: str, pass_fds: tuple[int, ...]) -> None:
        """Use ``create`` or ``attach``."""
        self.reference = reference
        self.pass_fds = pass_fds
        self._memory = memory
        self._bytes = memoryview(memory)
        self._words = self._bytes[:_HEADER_BYTES].cast("Q")
        self._read = 0

    @classmethod
    def create(cls, max_width: int, max_height: int) -> FrameMemory:
        """Make memory for pictures of up to this many pixels; for the parent.

        ``reference`` is what the child attaches to; on Linux it must also inherit ``pass_fds``.
        """
        capacity = 4 * max_width * max_height
        frames = _create(_HEADER_BYTES + 2 * capacity)
        frames._words[_CAPACITY] = capacity
        return frames

    @classmethod
    def attach(cls, reference: str) -> FrameMemory:
        """Map what the parent made; for the child.

        Raises:
            ProtocolError: The reference does not name such memory.
        """
        kind, _, name = reference.partition(":")
        try:
            memory = _attach(kind, name)
        except (OSError, ValueError) as error:
            raise ProtocolError(
                f"picture memory {reference!r} cannot be mapped ({error}): start the worker anew"
            ) from None
        return cls(memory, reference, ())

    def write(self, width: int, height: int, rgbx: bytes) -> None:
        """Publish one picture of ``width * height * 4`` bytes.

        Raises:
            ValueError: The size is wrong, or larger than the memory was made for.
        """
        if len(rgbx) != 4 * width * height or len(rgbx) > self._words[_CAPACITY]:
            raise ValueError(f"{len(rgbx)} bytes are no picture of {width}x{height} that fits here")
        sequence = self._words[_LATEST] + 1
        slot, start = self._slot(sequence)
        self._words[slot] = 0
        self._words[slot + 1], self._words[slot + 2] = width, height
        self._bytes[start : start + len(rgbx)] = rgbx
        self._words[slot] = sequence
        self._words[_LATEST] = sequence

    def read(self) -> tuple[int, int, int, bytes] | None:
        """Sequence, width, height and RGBX bytes, if a newer picture is complete.

        Raises:
            ProtocolError: The writer claims a picture that is larger than the memory.
        """
        for _ in range(_ATTEMPTS):
            sequence = self._words[_LATEST]
            if sequence == self._read:
                return None
            slot, start = self._slot(sequence)
            before, width, height = self._words[slot : slot + _SLOT_WORDS]
            if before != sequence:
                continue
            self._check_size(width, height)
            rgbx = bytes(self._bytes[start : start + 4 * width * height])
            if self._words[slot] == sequence:
                self._read = sequence
                return sequence, width, height, rgbx
        return None

    def close(self) -> None:
        """Unmap; the memory is gone when both sides have, or have ended."""
        self._words.release()
        self._bytes.release()
        self._memory.close()
        for descriptor in self.pass_fds:
            os.close(descriptor)
        self.pass_fds = ()

    def _slot(self, sequence: int) -> tuple[int, int]:
        """First word of a picture's slot, and the first byte of its pixels."""
        number = sequence % 2
        return _SLOTS + _SLOT_WORDS * number, _HEADER_BYTES + self._room() * number

    def _room(self) -> int:
        """Bytes of a slot, from the mapping and not from what the other side wrote."""
        return (len(self._bytes) - _HEADER_BYTES) // 2

    def _check_size(self, width: int, height: int) -> None:
        if 4 * width * height > self._room():
            raise ProtocolError(
                f"the worker claims a picture of {width}x{height}: larger than agreed"
            )


if sys.platform == "win32":

    def _create(size_bytes: int) -> FrameMemory:
        name = f"gpupanel-frames-{size_bytes}-{secrets.token_hex(16)}"
        return FrameMemory(mmap.mmap(-1, size_bytes, tagname=name), f"tag:{name}", ())

    def _attach(kind: str, name: str) -> mmap.mmap:
        if kind != "tag":
            raise ValueError("not a tag")
        # A mapping of a name that does not exist would be made; an empty header gives it away.
        size_bytes = int(name.split("-")[2])
        memory = mmap.mmap(-1, size_bytes, tagname=name)
        if not any(memory[8 * _CAPACITY : 8 * _CAPACITY + 8]):
            memory.close()
            raise ValueError("its maker is gone")
        return memory

else:

    def _create(size_bytes: int) -> FrameMemory:
        import fcntl

        descriptor = os.memfd_create("gpupanel-frames", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.ftruncate(descriptor, size_bytes)
        # A child that could shrink the file would kill the window with SIGBUS.
        seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, seals)
        memory = mmap.mmap(descriptor, size_bytes)
        return FrameMemory(memory, f"fd:{descriptor}", (descriptor,))

    def _attach(kind: str, name: str) -> mmap.mmap:
        if kind != "fd":
            raise ValueError("not a file descriptor")
        descriptor = int(name)
        memory = mmap.mmap(descriptor, os.fstat(descriptor).st_size)
        os.close(descriptor)
        return memory
