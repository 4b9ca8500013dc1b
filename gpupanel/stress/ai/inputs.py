"""Whether what a load computes from is still what the host put into the device's memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np  # noqa: TID253 - worker process only
import pyopencl as cl  # noqa: TID253 - worker process only

from gpupanel.stress.program import build
from gpupanel.stress.workload import Check, Device

if TYPE_CHECKING:
    from numpy.typing import NDArray

KERNEL_FILE = "ai_digest.cl"

ITEMS_GPU = 1 << 16
ITEMS_CPU = 64

BLOCK_WORDS = 1 << 20
"""The host adds up this many at a time."""


def digest_of(words: NDArray[np.uint32], first: int = 0) -> int:
    """What ai_digest.cl computes of these words, the first of which is number ``first``."""
    total = 0
    for at in range(0, len(words), BLOCK_WORDS):
        block = words[at : at + BLOCK_WORDS]
        # Modulo 2**32 throughout, as on the device.
        number = np.arange(len(block), dtype=np.uint32) + np.uint32((first + at) % 2**32)
        total += int((block * (2 * number + np.uint32(1))).sum(dtype=np.uint32))
    return total % 2**32


@dataclass(slots=True)
class _Input:
    """One buffer.

    Attributes:
        words: How many of 32 bits.
        expected: The digest of what the host wrote into it.
        sums: The device's digest in parts, on its way to ``host``.
    """

    name: str
    buffer: cl.Buffer
    words: int
    expected: int
    sums: cl.Buffer
    host: NDArray[np.uint32]
    ready: cl.Event | None = None


class Inputs:
    """Weights and activations that the device holds, with the digests that the host knows.

    Every call of check() covers every word: a bit that flips anywhere is reported with the next
    but one verification, however little it changes the results.
    """

    def __init__(self, device: Device) -> None:
        self._device = device
        self._items = ITEMS_CPU if device.lanes > 1 else ITEMS_GPU
        program = build(device.context, KERNEL_FILE, {"LANES": device.lanes})
        self._kernel = cl.Kernel(program, "digest")
        self._inputs: list[_Input] = []

    def upload(self, name: str, array: NDArray[Any]) -> cl.Buffer:
        """A buffer that holds a contiguous array of whole words, digested from now on."""
        flags = cl.mem_flags.READ_ONLY | cl.mem_flags.COPY_HOST_PTR
        buffer = cl.Buffer(self._device.context, flags, hostbuf=array)
        self.watch(name, buffer, digest_of(array.reshape(-1).view(np.uint32)))
        return buffer

    def watch(self, name: str, buffer: cl.Buffer, expected: int) -> None:
        """Digest a buffer that was filled by other means; ``expected`` is the host's digest."""
        sums = cl.Buffer(self._device.context, cl.mem_flags.WRITE_ONLY, 4 * self._items)
        host = np.empty(self._items, np.uint32)
        self._inputs.append(_Input(name, buffer, buffer.size // 4, expected, sums, host))

    def enqueue(self) -> None:
        """Digest all, behind everything launched; does not wait."""
        queue = self._device.queue
        for one in self._inputs:
            self._kernel.set_args(one.buffer, np.uint64(one.words), one.sums)
            cl.enqueue_nd_range_kernel(queue, self._kernel, (self._items,), None)
            one.ready = cl.enqueue_copy(queue, one.host, one.sums, is_blocking=False)

    def check(self) -> list[Check]:
        """What the last enqueue() found; nothing before the first."""
        digested = [one for one in self._inputs if one.ready is not None]
        if not digested:
            return []
        changed = [one.name for one in digested if self._digest(one) != one.expected]
        if changed:
            return [Check("inputs", passed=False, detail=f"memory changed: {', '.join(changed)}")]
        size = sum(one.buffer.size for one in digested)
        return [Check("inputs", passed=True, detail=f"{size >> 10} KiB")]

    @staticmethod
    def _digest(one: _Input) -> int:
        assert one.ready is not None
        one.ready.wait()
        return int(one.host.sum(dtype=np.uint32))
