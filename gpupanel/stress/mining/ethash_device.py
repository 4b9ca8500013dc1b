"""Ethash on the device: the kernels, the table in its pieces, and one search over it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np  # noqa: TID253 - worker process only
import pyopencl as cl  # noqa: TID253 - worker process only

from gpupanel.model.errors import WorkloadError
from gpupanel.stress.mining.ethash_reference import PAGE_BYTES, Hashed, Words
from gpupanel.stress.program import build
from gpupanel.stress.workload import Device

if TYPE_CHECKING:
    from numpy.typing import NDArray

STRIPES = 8
FOUND_MAX = 64
_HASHES_PER_TEAM = 8
_ENTRY_WORDS = 9
_EXCHANGE_BYTES_PER_ITEM = 72
_RESULT_WORDS = 1 + STRIPES + FOUND_MAX * _ENTRY_WORDS
# A slice of the table that took less is doubled; none takes much more than twice this.
_SLICE_S = 0.03
_MOST_PIECES = 4


@dataclass(frozen=True, slots=True)
class Results:
    """What one search returned.

    Attributes:
        count: Nonces below the target, kept or not.
        digests: XOR of the first 64 bits of every result, one per stripe of the launch.
        found: At most FOUND_MAX, in the order of their nonces.
    """

    count: int
    digests: tuple[int, ...]
    found: tuple[Hashed, ...]


@dataclass(frozen=True, slots=True)
class Search:
    """One launch of the search kernel, with a buffer of its own for what it returns."""

    first_nonce: int
    nonces: int
    target: int
    event: cl.Event
    returned: cl.Buffer
    reads: cl.CommandQueue

    def fetch(self) -> Fetched:
        """Send for what a finished launch returned; does not wait for it."""
        raw = np.empty(_RESULT_WORDS, np.uint64)
        event = cl.enqueue_copy(self.reads, raw, self.returned, is_blocking=False)
        self.reads.flush()
        return Fetched(self, raw, event)

    def results(self) -> Results:
        """Wait for the launch, and take apart what it returned."""
        self.event.wait()
        return self.fetch().results()


@dataclass(frozen=True, slots=True)
class Fetched:
    """What a launch returned, on its way to the host."""

    search: Search
    raw: NDArray[np.uint64]
    event: cl.Event

    @property
    def is_here(self) -> bool:
        """Whether ``results`` would not wait."""
        return is_complete(self.event)

    def results(self) -> Results:
        """Wait for it, and take it apart."""
        self.event.wait()
        raw = self.raw
        count = int(raw[0])
        entries = raw[1 + STRIPES :].reshape(FOUND_MAX, _ENTRY_WORDS)[: min(count, FOUND_MAX)]
        found = (Hashed(int(e[0]), e[1:5].tobytes(), e[5:9].tobytes()) for e in entries)
        return Results(
            count=count,
            digests=tuple(int(word) for word in raw[1 : 1 + STRIPES]),
            found=tuple(sorted(found, key=lambda hashed: hashed.nonce)),
        )


def is_complete(event: cl.Event) -> bool:
    """Whether the device is done with it."""
    status: int = event.command_execution_status
    return bool(status == cl.command_execution_status.COMPLETE)


class Kernels:
    """The program for one device and one number of pieces of the table."""

    def __init__(self, device: Device, pieces: int) -> None:
        self.device = device
        self.pieces = pieces
        self.hashes_per_item = 1 if device.lanes == 1 else _HASHES_PER_TEAM
        self.group = 64 // self.hashes_per_item
        self.exchange = cl.LocalMemory(_EXCHANGE_BYTES_PER_ITEM * self.group)
        self.program = build(
            device.context,
            "mining_ethash.cl",
            {
                "LANES": device.lanes,
                "GROUP": self.group,
                "PIECES": pieces,
                "FOUND_MAX": FOUND_MAX,
                "STRIPES": STRIPES,
            },
        )

    @property
    def hashes_per_group(self) -> int:
        """Nonces of a search, and items of the table, come in multiples of this."""
        return self.group * self.hashes_per_item


class ItemMaker:
    """Makes items of the table from one light cache, which it holds on the device."""

    def __init__(self, kernels: Kernels, lines: Words) -> None:
        self.kernels = kernels
        self._lines = np.uint32(len(lines))
        self._cache = cl.Buffer(
            kernels.device.context,
            cl.mem_flags.READ_ONLY | cl.mem_flags.COPY_HOST_PTR,
            hostbuf=np.ascontiguousarray(lines),
        )
        self._kernel = cl.Kernel(kernels.program, "make_items")

    def enqueue(self, first: int, end: int, origin: int, into: Sequence[cl.Buffer]) -> cl.Event:
        """Make the items ``first`` to ``end`` - 1; does not wait.

        Args:
            first: Even.
            end: One more than the last item.
            origin: The item at the start of ``into``; even.
            into: The four buffers of a table.
        """
        kernels = self.kernels
        groups = -(-(end - first) // kernels.hashes_per_group)
        self._kernel.set_args(
            self._cache, self._lines, _reciprocal(int(self._lines)),
            np.uint32(first), np.uint32(end), np.uint32(origin), kernels.exchange, *into,
        )  # fmt: skip
        return cl.enqueue_nd_range_kernel(
            kernels.device.queue, self._kernel, (groups * kernels.group,), (kernels.group,)
        )

    def items_at(self, indexes: Words) -> Words:
        """Any items of the epoch, made now; shape (n, 16)."""
        device = self.kernels.device
        pair = np.empty((2, 16), np.uint32)
        aside = cl.Buffer(device.context, cl.mem_flags.READ_WRITE, pair.nbytes)
        made = np.empty((len(indexes), 16), np.uint32)
        for row, index in enumerate(int(index) for index in indexes):
            first = index - index % 2
            self.enqueue(first, first + 2, first, [aside] * _MOST_PIECES)
            cl.enqueue_copy(device.queue, pair, aside)
            made[row] = pair[index % 2]
        return made


class Table:
    """Pages of one table on the device; page p lies in buffer p % pieces.

    Raises:
        cl.MemoryError: The device refuses the memory, now or when ``fill`` first touches it.
    """

    def __init__(self, maker: ItemMaker, pages: int) -> None:
        self.maker = maker
        self.kernels = maker.kernels
        self.pages = pages
        pieces = self.kernels.pieces
        context = self.kernels.device.context
        piece_bytes = -(-pages // pieces) * PAGE_BYTES
        self.buffers = [
            cl.Buffer(context, cl.mem_flags.READ_WRITE, piece_bytes) for _ in range(pieces)
        ]

    @property
    def arguments(self) -> Sequence[cl.Buffer]:
        """The four buffers that the kernels take; a table of fewer repeats them."""
        return [self.buffers[i % len(self.buffers)] for i in range(_MOST_PIECES)]

    def fill(self, progress: Callable[[float], None]) -> None:
        """Make every item, in slices of some 50 ms so that a stop is quick."""
        items = 2 * self.pages
        size = 16 * self.kernels.hashes_per_group
        first = 0
        while first < items:
            end = min(first + size, items)
            event = self.maker.enqueue(first, end, 0, self.arguments)
            event.wait()
            progress(end / items)
            first = end
            if (event.profile.end - event.profile.start) * 1e-9 < _SLICE_S:
                size *= 2

    def content(self) -> Words:
        """The whole table, shape (pages, 32)."""
        rows = np.empty((self.pages, PAGE_BYTES // 4), np.uint32)
        for i, buffer in enumerate(self.buffers):
            mine = rows[i :: len(self.buffers)]
            part = np.empty_like(mine)
            cl.enqueue_copy(self.kernels.device.queue, part, buffer)
            mine[:] = part
        return rows


class Searcher:
    """Searches one table for nonces of one header."""

    def __init__(self, table: Table, header: bytes) -> None:
        self._kernels = table.kernels
        device = table.kernels.device
        self._queue = device.queue
        # A read on the same queue would wait for the launches that follow, and a read that does
        # not block blocks all the same on drivers that must first copy to pinned memory.
        self._reads = cl.CommandQueue(device.context)
        self._kernel = cl.Kernel(table.kernels.program, "search")
        # Set once; a launch changes only the nonce, the target and the buffer of its results.
        self._kernel.set_args(
            cl.cltypes.make_ulong4(*np.frombuffer(header, "<u8")), np.uint64(0), np.uint64(0),
            np.uint32(table.pages), _reciprocal(table.pages), None,
            table.kernels.exchange, *table.arguments,
        )  # fmt: skip

    def enqueue(self, first_nonce: int, nonces: int, target: int) -> Search:
        """Hash ``nonces`` nonces in one launch and flush; does not wait.

        Args:
            first_nonce: Below 2^64; nonces wrap around there.
            nonces: A multiple of ``Kernels.hashes_per_group``.
            target: Results whose first 64 bits are below this are returned.
        """
        kernels = self._kernels
        size = _RESULT_WORDS * 8
        returned = cl.Buffer(kernels.device.context, cl.mem_flags.READ_WRITE, size)
        cl.enqueue_fill_buffer(self._queue, returned, np.uint64(0), 0, size)
        self._kernel.set_arg(1, np.uint64(first_nonce))
        self._kernel.set_arg(2, np.uint64(target))
        self._kernel.set_arg(5, returned)
        event = cl.enqueue_nd_range_kernel(
            self._queue, self._kernel, (nonces // kernels.hashes_per_item,), (kernels.group,)
        )
        self._queue.flush()
        return Search(first_nonce, nonces, target, event, returned, self._reads)


def pieces_for(pages: int, most_bytes: int) -> int:
    """Fewest buffers of at most ``most_bytes`` that hold the table: 1, 2 or 4.

    Raises:
        WorkloadError: Four do not.
    """
    for pieces in (1, 2, 4):
        if -(-pages // pieces) * PAGE_BYTES <= most_bytes:
            return pieces
    raise no_room(pages, f"its largest buffer is {most_bytes / 2**20:.0f} MiB, and four are used")


def no_room(pages: int, why: str) -> WorkloadError:
    """The error of a table that the device cannot hold."""
    return WorkloadError(
        f"the device has no room for {pages * PAGE_BYTES / 2**20:.0f} MiB of table: {why};"
        " reduce it with the knob dag_mib"
    )


def _reciprocal(divisor: int) -> np.uint64:
    """For ``remainder_of`` in the kernel."""
    return np.uint64(2**64 // divisor + 1)
