"""Ethash on the device: the kernels, the table in its pieces, and one search over it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np  # noqa: TID253 - worker process only
import pyopencl as cl  # noqa: TID253 - worker process only

from gpupanel.model.errors import WorkloadError
from gpupanel.stress.mining.ethash_reference import PAGE_BYTES, Hashed, Words
from gpupanel.stress.mining.search import FOUND_MAX, STRIPES, Entry, SearchKernel, Shape
from gpupanel.stress.program import build
from gpupanel.stress.workload import Device

_HASHES_PER_TEAM = 8
_EXCHANGE_BYTES_PER_ITEM = 72
_ENTRY = Entry(9, lambda words: Hashed(int(words[0]), words[1:5].tobytes(), words[5:9].tobytes()))
# A slice of the table that took less is doubled; none takes much more than twice this.
_SLICE_S = 0.03
_MOST_PIECES = 4


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


class Searcher(SearchKernel[Hashed]):
    """Searches one table for nonces of one header."""

    def __init__(self, table: Table, header: bytes) -> None:
        kernels = table.kernels
        arguments = (
            cl.cltypes.make_ulong4(*np.frombuffer(header, "<u8")),
            np.uint32(table.pages), _reciprocal(table.pages),
            kernels.exchange, *table.arguments,
        )  # fmt: skip
        shape = Shape(kernels.group, kernels.hashes_per_item)
        kernel = cl.Kernel(kernels.program, "search")
        super().__init__(kernels.device, kernel, arguments, shape, _ENTRY)


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
