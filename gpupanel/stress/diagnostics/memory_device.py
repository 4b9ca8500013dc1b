"""The memory under test on the device: its buffers, the sweeps over them, and what they found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np  # noqa: TID253 - worker process only
import pyopencl as cl  # noqa: TID253 - worker process only

from gpupanel.stress.diagnostics.memory_faults import Fault, Findings
from gpupanel.stress.diagnostics.memory_patterns import (
    GRANULE_BYTES,
    GRANULE_WORDS,
    Action,
    Kind,
    Pattern,
    Sweep,
)
from gpupanel.stress.program import build
from gpupanel.stress.workload import Device, Report

if TYPE_CHECKING:
    from numpy.typing import NDArray

KERNEL_FILE = "diagnostics_memory.cl"

MOST_BUFFER_BYTES = 8 << 30
"""Indexes of words have 32 bits."""

RECORDS = 8
FOUND_WORDS = 4 + 2 * 32 + 3 * RECORDS
GROUP_GPU = 256
RUN_GPU = 16
"""Vectors of a work-item."""

RUN_BYTES_CPU = 1 << 15


@dataclass(frozen=True, slots=True)
class Segment:
    """The part of a sweep that lies in one buffer and one launch."""

    sweep: Sweep
    buffer: int
    first: int
    granules: int

    @property
    def pattern(self) -> Pattern:
        """With what tells this buffer from the others."""
        return self.sweep.pattern.in_buffer(self.buffer)


class MemoryUnderTest:
    """Buffers of whole granules.

    Attributes:
        granules: Of all buffers; numbered through.
        buffers: As many as the device's largest allocation makes necessary.
    """

    def __init__(self, device: Device, granules: int) -> None:
        """Allocate nothing yet; ``granules`` is what is hoped for."""
        self._device = device
        self._hoped = granules
        opencl = device.queue.device
        self._per_buffer: int = min(opencl.max_mem_alloc_size, MOST_BUFFER_BYTES) // GRANULE_BYTES
        vector_bytes = 16 if device.lanes == 1 else 4 * device.lanes
        self._group = 1 if device.is_cpu else GROUP_GPU
        self._run = RUN_BYTES_CPU // vector_bytes if device.is_cpu else RUN_GPU
        self._vectors = GRANULE_BYTES // vector_bytes
        macros = {"LANES": device.lanes, "GRANULE_WORDS": GRANULE_WORDS, "RECORDS": RECORDS}
        self._program = build(device.context, KERNEL_FILE, {**device.macros, **macros})
        self._kernels = {
            name: cl.Kernel(self._program, name)
            for name in ("write", "write_modulo", "move", "check")
        }
        self.buffers: list[cl.Buffer] = []
        self.granules = 0

    def allocate(self, report: Report) -> None:
        """As much as was hoped for, or as the device gives; some tell at the first touch only."""
        while self.granules < self._hoped:
            granules = min(self._per_buffer, self._hoped - self.granules)
            try:
                self._take(granules)
            except cl.MemoryError:
                del self.buffers[-(-self.granules // self._per_buffer) :]
                return
            self.granules += granules
            report("memory", self.granules / self._hoped)

    def _take(self, granules: int) -> None:
        flags = cl.mem_flags.READ_WRITE
        self.buffers.append(cl.Buffer(self._device.context, flags, granules * GRANULE_BYTES))
        touch = Sweep("", Action.WRITE, Pattern(Kind.CONSTANT), 0, granules)
        for first in range(0, granules, 64):
            part = Segment(touch, len(self.buffers) - 1, first, min(64, granules - first))
            self.enqueue(part).wait()

    def segment(self, sweep: Sweep, done: int, most: int) -> Segment:
        """The next part of a sweep, at most ``most`` granules, after ``done`` of them."""
        if sweep.downwards:
            last = sweep.end - done - 1
            buffer, first_in_buffer = divmod(last, self._per_buffer)
            lowest = max(sweep.first - buffer * self._per_buffer, 0, first_in_buffer + 1 - most)
            return Segment(sweep, buffer, lowest, first_in_buffer + 1 - lowest)
        buffer, first = divmod(sweep.first + done, self._per_buffer)
        end = min(sweep.end - buffer * self._per_buffer, self._per_buffer, first + most)
        return Segment(sweep, buffer, first, end - first)

    def enqueue(
        self, segment: Segment, results: cl.Buffer | None = None, number: int = 0
    ) -> cl.Event:
        """One kernel over a segment; does not wait.

        Args:
            segment: Where and what.
            results: FOUND_WORDS zeros for each segment; None for actions that find nothing.
            number: Of this segment in the results.
        """
        action, pattern = segment.sweep.action, segment.pattern
        name, arguments = _kernel_of(action, pattern)
        kernel = self._kernels[name]
        first, run = np.uint32(segment.first * self._vectors), np.uint32(self._run)
        returns = [results, np.uint32(number)] if name == "check" else []
        memory = self.buffers[segment.buffer]
        kernel.set_args(memory, first, run, *map(np.uint32, arguments), *returns)
        items = segment.granules * self._vectors // self._run
        if name == "move":
            items //= 2
        return cl.enqueue_nd_range_kernel(self._device.queue, kernel, (items,), (self._group,))

    def findings(self, segment: Segment, found: NDArray[np.uint32]) -> list[Findings]:
        """What a segment's FOUND_WORDS say: nothing or one."""
        if not found[0]:
            return []
        base = self._base_bytes(segment)
        records = found[68:].reshape(RECORDS, 3)[: min(int(found[3]), RECORDS)].tolist()
        faults = sorted(Fault(base + 4 * i, expected, actual) for i, expected, actual in records)
        lowest, highest = int(~found[1]), int(found[2])
        rises, falls = found[4:36].astype(np.int64), found[36:68].astype(np.int64)
        words = int(found[0])
        return [Findings(words, base + 4 * lowest, base + 4 * highest, rises, falls, tuple(faults))]

    def faults(
        self, segment: Segment, first: int, right: NDArray[np.uint32], words: NDArray[np.uint32]
    ) -> list[Fault]:
        """Where words of the segment's buffer, from word ``first`` on, are not the right ones."""
        base = self._base_bytes(segment) + 4 * first
        wrong = np.flatnonzero(right != words)
        return [Fault(base + 4 * int(i), int(right[i]), int(words[i])) for i in wrong]

    def read(self, segment: Segment) -> NDArray[np.uint32]:
        """The words of a segment, waited for."""
        words = np.empty(segment.granules * GRANULE_WORDS, np.uint32)
        offset = segment.first * GRANULE_BYTES
        cl.enqueue_copy(self._device.queue, words, self.buffers[segment.buffer], src_offset=offset)
        return words

    def write(self, segment: Segment, words: NDArray[np.uint32]) -> None:
        """What a fault of the memory would do, anywhere in a segment."""
        offset = segment.first * GRANULE_BYTES
        cl.enqueue_copy(self._device.queue, self.buffers[segment.buffer], words, dst_offset=offset)

    def check_now(self, segment: Segment) -> list[Findings]:
        """What a segment finds, waited for."""
        found = np.zeros(FOUND_WORDS, np.uint32)
        flags = cl.mem_flags.READ_WRITE | cl.mem_flags.COPY_HOST_PTR
        results = cl.Buffer(self._device.context, flags, hostbuf=found)
        self.enqueue(segment, results)
        cl.enqueue_copy(self._device.queue, found, results)
        return self.findings(segment, found)

    def _base_bytes(self, segment: Segment) -> int:
        """Offset of a segment's buffer through all memory under test."""
        base_bytes: int = segment.buffer * self._per_buffer * GRANULE_BYTES
        return base_bytes


def _kernel_of(action: Action, pattern: Pattern) -> tuple[str, Sequence[int]]:
    """The kernel, and its arguments between the place and what it found."""
    whole = (pattern.kind, pattern.value, pattern.complement)
    kernels: dict[Action, tuple[str, Sequence[int]]] = {
        Action.WRITE: ("write", whole),
        Action.CHECK: ("check", (*whole, 0)),
        Action.TURN: ("check", (*whole, 1)),
        Action.WRITE_EVERY_20TH: ("write_modulo", (0, pattern.value, pattern.complement)),
        Action.WRITE_THE_OTHERS: ("write_modulo", (1, pattern.value, pattern.complement)),
        Action.MOVE_UP: ("move", (0,)),
        Action.MOVE_BACK: ("move", (1,)),
    }
    return kernels[action]
