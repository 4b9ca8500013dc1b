"""The load ``diagnostics.latency``: how long a launch takes, and data on its way up and down.

A launch is timed by the host from the call until its end, as a program sees it that needs a result
before it goes on. Before each series of launches, blocks of two sizes go up and come back; what
comes back has to have the CRC-32 of what was sent.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np  # noqa: TID253 - worker process only
import pyopencl as cl  # noqa: TID253 - worker process only

from gpupanel.model.errors import WorkloadError
from gpupanel.model.roofline import Cost
from gpupanel.stress.program import build
from gpupanel.stress.workload import Check, Chunk, Device, Report, Variant

if TYPE_CHECKING:
    from numpy.typing import NDArray

KERNEL_FILE = "diagnostics_latency.cl"
MIB = 1 << 20

SMALL_BYTES = 4096
"""A page: nearly all of its time is latency."""

SMALL_BLOCKS = 16
"""Of each series of launches."""

BLOCKS = 4
"""Different ones in turn: what an earlier one left on the device is not taken for the next."""

REMEMBERED = 1 << 15
"""Times that percentiles are taken of."""


class Times:
    """The latest durations of one kind."""

    def __init__(self) -> None:
        self._ns = np.zeros(REMEMBERED)
        self._count = 0

    def add(self, ns: int) -> None:
        """One more."""
        self._ns[self._count % REMEMBERED] = ns
        self._count += 1

    def percentiles_us(self, name: str) -> Mapping[str, float]:
        """Median and 99th percentile in microseconds; nothing before the first."""
        if not self._count:
            return {}
        known = self._ns[: self._count]
        half, most = np.percentile(known, (50, 99)) / 1e3
        return {f"{name}_p50_us": float(half), f"{name}_p99_us": float(most)}

    def rates(self, name: str, size_bytes: int) -> Mapping[str, float]:
        """What median and 99th percentile mean for blocks of that size, in GB/s."""
        us = self.percentiles_us(name)
        return {
            key.replace("_us", "_gb_per_s"): size_bytes / (1e3 * value) for key, value in us.items()
        }


@dataclass(frozen=True, slots=True)
class Block:
    """Random bytes, and their CRC-32."""

    content: NDArray[np.uint8]
    crc: int


class Way:
    """Up to the device and back, for blocks of one size, from memory that the driver can pin.

    Attributes:
        up: How long uploads took.
        down: How long downloads took.
        checked: Blocks that were compared since ``take_faults``.
    """

    def __init__(self, device: Device, size_bytes: int, random: np.random.Generator) -> None:
        self.size_bytes = size_bytes
        self.up, self.down = Times(), Times()
        self.checked = 0
        self._faults: list[str] = []
        self._queue = device.queue
        flags = cl.mem_flags.READ_WRITE
        self._there = cl.Buffer(device.context, flags, size_bytes)
        self._pinned = cl.Buffer(
            device.context, flags | cl.mem_flags.ALLOC_HOST_PTR, 2 * size_bytes
        )
        access = cl.map_flags.READ | cl.map_flags.WRITE
        shape = (2, size_bytes)
        mapped, _ = cl.enqueue_map_buffer(device.queue, self._pinned, access, 0, shape, np.uint8)
        self._sent: NDArray[np.uint8] = mapped[0]
        self._back: NDArray[np.uint8] = mapped[1]
        contents = [random.integers(0, 256, size_bytes, np.uint8) for _ in range(BLOCKS)]
        self._blocks = [Block(content, zlib.crc32(content.data)) for content in contents]
        self._turn = 0

    def go(self) -> None:
        """Send the next block, fetch it, and compare."""
        block = self._blocks[self._turn % BLOCKS]
        self._turn += 1
        self._sent[:] = block.content
        queue, there = self._queue, self._there
        self.up.add(_ns(lambda: cl.enqueue_copy(queue, there, self._sent)))
        self.down.add(_ns(lambda: cl.enqueue_copy(queue, self._back, there)))
        self.checked += 1
        if zlib.crc32(self._back.data) != block.crc:
            self._faults.append(_difference(block.content, self._back))

    def check(self, name: str) -> list[Check]:
        """What was compared since the last call: nothing or one check."""
        faults, self._faults = self._faults, []
        checked, self.checked = self.checked, 0
        if not checked:
            return []
        detail = (
            f"{len(faults)} of {checked} blocks; {faults[0]}" if faults else f"{checked} blocks"
        )
        return [Check(name, not faults, detail)]


class Latency:
    """Host side of ``diagnostics.latency``. One step is one launch, waited for."""

    def __init__(self, device: Device, knobs: Mapping[str, int], seed: int) -> None:
        self._device = device
        self._large_bytes = knobs["transfer_mib"] * MIB
        self._random = np.random.default_rng(seed)
        self._times = Times()
        self._launched = 0
        self._unverified = 0
        self.notes: tuple[str, ...] = (
            f"latency of transfers: {SMALL_BYTES} bytes; their rate: {knobs['transfer_mib']} MiB",
            "launches are counted and timed apart from transfers",
        )

    @classmethod
    def variants(cls, device: Device) -> tuple[Variant, ...]:
        """There is nothing to compile in different ways."""
        return (Variant("one work-item", device.lanes),)

    def prepare(self, report: Report) -> None:
        """Build the kernel and take the memory.

        Raises:
            WorkloadError: There is no room for the blocks.
            BuildFailed: The kernel does not compile.
        """
        report("kernel", 0.0)
        device = self._device
        self._kernel = cl.Kernel(build(device.context, KERNEL_FILE, {}), "count")
        flags = cl.mem_flags.READ_WRITE | cl.mem_flags.COPY_HOST_PTR
        self._counter = cl.Buffer(device.context, flags, hostbuf=np.zeros(1, np.uint32))
        self._kernel.set_args(self._counter)
        report("blocks", 0.0)
        try:
            self._small = Way(device, SMALL_BYTES, self._random)
            self._large = Way(device, self._large_bytes, self._random)
        except cl.MemoryError as error:
            raise WorkloadError(
                f"no room for blocks of {self._large_bytes // MIB} MiB: choose a smaller"
                f" transfer_mib ({error})"
            ) from error

    def self_test(self, vectors: Mapping[str, Any] | None = None) -> list[Check]:
        """Blocks of odd sizes there and back, and launches that are counted.

        Raises:
            WorkloadError: Vectors were given; there is no file format for transfers.
        """
        if vectors is not None:
            raise WorkloadError("diagnostics.latency has no vector files")
        checks = []
        for size in (1, SMALL_BYTES - 1, MIB + 1):
            way = Way(self._device, size, self._random)
            way.go()
            checks += way.check(f"{size} bytes")
        self._launch()
        return [*checks, self._check_launches()]

    def cost(self) -> Cost:
        """No ceiling of the device bounds how soon it starts."""
        return Cost({})

    def launch(self, steps: int) -> Chunk:
        """Transfers, then ``steps`` launches; waits for each, which is what is measured."""
        for _ in range(SMALL_BLOCKS):
            self._small.go()
        self._large.go()
        events = [self._launch() for _ in range(steps)]
        return Chunk(steps, events[0], events[-1])

    def complete(self, chunk: Chunk) -> None:
        """Nothing to keep: everything was waited for."""

    def verify(self) -> list[Check]:
        """What came back since the last call, and whether every launch took place."""
        checks = [*self._small.check("small blocks"), *self._large.check("large blocks")]
        if self._unverified:
            self._unverified = 0
            checks.append(self._check_launches())
        return checks

    def readings(self) -> Mapping[str, float]:
        """Of the latest launches and transfers."""
        size = self._large_bytes
        return {
            **self._times.percentiles_us("launch"),
            **self._small.up.percentiles_us("upload"),
            **self._small.down.percentiles_us("download"),
            **self._large.up.rates("upload", size),
            **self._large.down.rates("download", size),
        }

    def frame(self) -> None:
        """No picture."""

    def _launch(self) -> cl.Event:
        queue = self._device.queue
        began_ns = time.perf_counter_ns()
        event = cl.enqueue_nd_range_kernel(queue, self._kernel, (1,), (1,))
        queue.finish()
        self._times.add(time.perf_counter_ns() - began_ns)
        self._launched += 1
        self._unverified += 1
        return event

    def _check_launches(self) -> Check:
        counted = np.empty(1, np.uint32)
        cl.enqueue_copy(self._device.queue, counted, self._counter)
        expected = self._launched % 2**32
        detail = f"{expected} launched, {int(counted[0])} took place"
        return Check("launches", int(counted[0]) == expected, detail)


def _ns(copy: Callable[[], object]) -> int:
    """How long a transfer takes that returns when it is done."""
    began_ns = time.perf_counter_ns()
    copy()
    return time.perf_counter_ns() - began_ns


def _difference(sent: NDArray[np.uint8], back: NDArray[np.uint8]) -> str:
    wrong = np.flatnonzero(sent != back)
    first = int(wrong[0])
    return (
        f"{len(wrong)} of {len(sent)} bytes came back wrong, the first at {first:#x}:"
        f" {int(sent[first]):#04x} sent, {int(back[first]):#04x} back"
    )
