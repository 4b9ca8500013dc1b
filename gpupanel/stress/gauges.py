"""Launches that do nothing but touch one ceiling, and what they must have computed.

The kernels and what memory holds are in ``diagnostics_ceilings.cl``. Worker process only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

import numpy as np  # noqa: TID253 - worker process only
import pyopencl as cl  # noqa: TID253 - worker process only

from gpupanel.model.roofline import Ceiling
from gpupanel.stress.program import build
from gpupanel.stress.workload import Device

if TYPE_CHECKING:
    from numpy.typing import NDArray

KERNEL_FILE = "diagnostics_ceilings.cl"

STEP_BYTES = 1 << 20
"""Launches over memory in its order come in multiples of this."""

BLOCK_BYTES: Mapping[Ceiling, int] = {Ceiling.RANDOM_128B: 128, Ceiling.RANDOM_32B: 32}

OPERATIONS: Mapping[Ceiling, int] = {Ceiling.FP32: 2, Ceiling.INT32: 3}
"""Of one link of a chain."""

COPY_GROUP = 256
READ_GROUP_GPU = 256
READ_RUN_GPU = 64
"""Vectors that one work-item reads."""

READ_RUN_BYTES_CPU = 1 << 16
"""Bytes that one work-item reads, alone in its group."""

COMPARED_BYTES = 16 * STEP_BYTES
"""Of the last copy, at most."""

CHECKED_TEAMS = 64
"""Of the last random reads, whose blocks the host follows."""

GROUPS_PER_UNIT_GPU = 8
GROUPS_PER_UNIT_CPU = 4
CHECKED_STEPS = 3
"""Of the arithmetic, followed by the host."""

# As in the kernel file.
STREAMS = 4
CHAINS = 16
UNROLLED = 8
MOST_STEPS = 1 << 20
"""Of one launch. The chains of fp32 count on from below 32 and stay exact: 32 + 8 * 2^20 < 2^24."""


class Gauge(Protocol):
    """One ceiling.

    A gauge keeps the buffers that its kernel was given: the kernel itself does not.
    """

    most_steps: int

    def launch(self, steps: int) -> tuple[cl.Event, float]:
        """Enqueue ``steps`` of the smallest launch; its event, and bytes or operations."""

    def is_right(self) -> bool:
        """Whether the device read or computed what it must have."""


class Bench:
    """The program of the ceilings for one device, and the shape of its launches.

    Attributes:
        lanes: 32-bit lanes of the kernels' vectors.
        vector_bytes: What one work-item reads at once.
        group: Work-items of a group; they read neighbouring vectors in turn.
        run: Vectors that one work-item reads in order.
        items: Work-items that keep the whole device busy.
    """

    def __init__(self, device: Device) -> None:
        self.queue = device.queue
        self._context = device.context
        units: int = device.queue.device.max_compute_units
        self.lanes = device.lanes
        self.vector_bytes = 16 if self.lanes == 1 else 4 * self.lanes
        self.group = 1 if device.is_cpu else READ_GROUP_GPU
        self.run = READ_RUN_BYTES_CPU // self.vector_bytes if device.is_cpu else READ_RUN_GPU
        groups = GROUPS_PER_UNIT_CPU if device.is_cpu else GROUPS_PER_UNIT_GPU
        self.items = self.group * groups * units
        macros = {"LANES": self.lanes, "STREAMS": STREAMS, "CHAINS": CHAINS, "UNROLLED": UNROLLED}
        self.program = build(device.context, KERNEL_FILE, macros)

    def buffer(self, size_bytes: int) -> cl.Buffer:
        """Memory on the device."""
        return cl.Buffer(self._context, cl.mem_flags.READ_WRITE, size_bytes)

    def numbered(self, size_bytes: int) -> cl.Buffer:
        """Memory whose words hold their index; ``size_bytes`` in multiples of STEP_BYTES."""
        words = self.buffer(size_bytes)
        kernel = cl.Kernel(self.program, "number")
        for first in range(0, size_bytes, 64 * STEP_BYTES):
            part = min(64 * STEP_BYTES, size_bytes - first)
            kernel.set_args(words, np.uint32(first // self.vector_bytes), np.uint32(self.run))
            self.enqueue(kernel, part // self.vector_bytes // self.run, self.group).wait()
        return words

    def enqueue(self, kernel: cl.Kernel, items: int, group: int) -> cl.Event:
        """Launch and flush; does not wait."""
        event = cl.enqueue_nd_range_kernel(self.queue, kernel, (items,), (group,))
        self.queue.flush()
        return event

    def fetched(self, buffer: cl.Buffer, first: int, count: int) -> NDArray[np.uint32]:
        """Words of a buffer, after all that was enqueued."""
        host = np.empty(count, np.uint32)
        cl.enqueue_copy(self.queue, host, buffer, src_offset=4 * first)
        return host


class _Walk:
    """Launches that go through memory in its order, and begin again where the rest is too short."""

    def __init__(self, bench: Bench, size_bytes: int) -> None:
        self.most_steps = size_bytes // STEP_BYTES
        self._bench = bench
        self._first = self._steps = 0

    def _advance(self, steps: int) -> np.uint32:
        """The first vector of the next ``steps``."""
        after = self._first + self._steps
        self._first = after if after + steps <= self.most_steps else 0
        self._steps = steps
        return np.uint32(self._first * STEP_BYTES // self._bench.vector_bytes)


class Read(_Walk):
    """All words of some memory, over and over."""

    def __init__(self, bench: Bench, size_bytes: int) -> None:
        super().__init__(bench, size_bytes)
        self._items_per_step = STEP_BYTES // bench.vector_bytes // bench.run
        self._sums = bench.buffer(4 * self.most_steps * self._items_per_step)
        self._kernel = cl.Kernel(bench.program, "read")
        self._words = bench.numbered(size_bytes)
        self._kernel.set_args(self._words, np.uint32(0), np.uint32(bench.run), self._sums)

    def launch(self, steps: int) -> tuple[cl.Event, float]:
        """``steps`` times STEP_BYTES."""
        self._kernel.set_arg(1, self._advance(steps))
        bench = self._bench
        event = bench.enqueue(self._kernel, steps * self._items_per_step, bench.group)
        return event, float(steps * STEP_BYTES)

    def is_right(self) -> bool:
        """The numbers of all words add up."""
        sums = self._bench.fetched(self._sums, 0, self._steps * self._items_per_step)
        first = self._first * STEP_BYTES // 4
        after = first + self._steps * STEP_BYTES // 4
        expected = (after * (after - 1) - first * (first - 1)) // 2
        return int(sums.sum(dtype=np.uint32)) == expected % 2**32


class Copy(_Walk):
    """All words of some memory to other memory, over and over."""

    def __init__(self, bench: Bench, size_bytes: int) -> None:
        super().__init__(bench, size_bytes)
        self._target = bench.buffer(size_bytes)
        # The first touch of a page is slow.
        cl.enqueue_fill_buffer(bench.queue, self._target, np.uint32(0), 0, size_bytes).wait()
        self._kernel = cl.Kernel(bench.program, "copy")
        self._words = bench.numbered(size_bytes)
        self._kernel.set_args(self._words, self._target, np.uint32(0))

    def launch(self, steps: int) -> tuple[cl.Event, float]:
        """``steps`` times STEP_BYTES, read and written."""
        self._kernel.set_arg(2, self._advance(steps))
        vectors = steps * STEP_BYTES // self._bench.vector_bytes
        event = self._bench.enqueue(self._kernel, vectors, COPY_GROUP)
        return event, 2.0 * steps * STEP_BYTES

    def is_right(self) -> bool:
        """The words that were copied last hold their numbers."""
        count = min(self._steps * STEP_BYTES, COMPARED_BYTES) // 4
        first = (self._first + self._steps) * STEP_BYTES // 4 - count
        words = self._bench.fetched(self._target, first, count)
        return np.array_equal(words, np.arange(first, first + count).astype(np.uint32))


class RandomReads:
    """Blocks at random places; no address waits for what was read before."""

    most_steps = MOST_STEPS

    def __init__(self, bench: Bench, size_bytes: int, ceiling: Ceiling) -> None:
        self._bench = bench
        self._block_bytes = BLOCK_BYTES[ceiling]
        self._blocks = size_bytes // self._block_bytes
        self._team = self._block_bytes // 16 if bench.lanes == 1 else 1
        self._sums = bench.buffer(4 * bench.items)
        self._kernel = cl.Kernel(bench.program, ceiling.value)
        self._words = bench.numbered(size_bytes)
        self._kernel.set_args(
            self._words, np.uint32(self._blocks), np.uint32(0), np.uint32(0), self._sums
        )
        self._seed = self._steps = 0

    def launch(self, steps: int) -> tuple[cl.Event, float]:
        """``steps`` blocks per stream; other ones each time, since caches remember."""
        self._steps = steps
        self._seed = (self._seed + 0x9E3779B9) % 2**32
        self._kernel.set_arg(2, np.uint32(steps))
        self._kernel.set_arg(3, np.uint32(self._seed))
        event = self._bench.enqueue(self._kernel, self._bench.items, self._bench.group)
        blocks = self._bench.items // self._team * STREAMS * steps
        return event, float(blocks * self._block_bytes)

    def is_right(self) -> bool:
        """Some teams' blocks of the last launch add up."""
        teams = min(CHECKED_TEAMS, self._bench.items // self._team)
        sums = self._bench.fetched(self._sums, 0, teams * self._team).reshape(teams, self._team)
        return all(
            int(sums[team].sum(dtype=np.uint32)) == self._sum_of_team(team) for team in range(teams)
        )

    def _sum_of_team(self, team: int) -> int:
        words = self._block_bytes // 4
        total = 0
        for stream in range(STREAMS):
            start = ((team * STREAMS + stream) * 2654435761 + self._seed) % 2**32
            blocks = random_numbers(start, self._steps) * np.uint64(self._blocks) >> np.uint64(32)
            total += words * words * int(blocks.sum()) + self._steps * words * (words - 1) // 2
        return total % 2**32


class Arithmetic:
    """Independent chains of operations in registers."""

    most_steps = MOST_STEPS

    def __init__(self, bench: Bench, ceiling: Ceiling) -> None:
        self._bench = bench
        self._ceiling = ceiling
        self._sums = bench.buffer(4 * bench.lanes * bench.items)
        self._kernel = cl.Kernel(bench.program, ceiling.value)
        ones = [np.float32(1)] * 2 if ceiling is Ceiling.FP32 else [np.uint32(1)]
        self._kernel.set_args(np.uint32(0), *ones, self._sums)

    def launch(self, steps: int) -> tuple[cl.Event, float]:
        """``steps`` turns of the loop for every chain."""
        self._kernel.set_arg(0, np.uint32(steps))
        event = self._bench.enqueue(self._kernel, self._bench.items, self._bench.group)
        links = self._bench.items * self._bench.lanes * CHAINS * UNROLLED * steps
        return event, float(links * OPERATIONS[self._ceiling])

    def is_right(self) -> bool:
        """A few turns give what NumPy gives."""
        self.launch(CHECKED_STEPS)
        sums = self._bench.fetched(self._sums, 0, self._bench.lanes * self._bench.items)
        chains = np.add.outer(np.arange(CHAINS), np.arange(self._bench.lanes)).astype(np.uint32)
        for _ in range(CHECKED_STEPS * UNROLLED):
            if self._ceiling is Ceiling.INT32:
                chains ^= chains << np.uint32(13)
            chains += np.uint32(1)
        expected = chains.sum(axis=0, dtype=np.uint32)
        return bool((sums.reshape(-1, self._bench.lanes) == expected).all())


def random_numbers(start: int, count: int) -> NDArray[np.uint64]:
    """What the kernel's generator gives after ``start``: x -> 1664525 x + 1013904223 mod 2^32.

    The k-th is 1664525^k start + 1013904223 (1 + 1664525 + ... + 1664525^(k-1)).
    """
    powers = np.cumprod(np.full(count, 1664525, np.uint32), dtype=np.uint32)
    lower = np.cumsum(np.concatenate([np.ones(1, np.uint32), powers[:-1]]), dtype=np.uint32)
    numbers = powers * np.uint32(start) + lower * np.uint32(1013904223)
    return numbers.astype(np.uint64)
