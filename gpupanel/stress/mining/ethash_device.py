"""Ethash on the device: the kernels, the table in its pieces, and one search over it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np  # noqa: TID253 - worker process only
import pyopencl as cl  # noqa: TID253 - worker process only

from gpupanel.model.errors import WorkloadError
from gpupanel.stress.mining import table
from gpupanel.stress.mining.ethash_reference import PAGE_BYTES, Hashed, Words
from gpupanel.stress.mining.search import FOUND_MAX, STRIPES, Entry, SearchKernel, Shape
from gpupanel.stress.program import build
from gpupanel.stress.workload import Device

_HASHES_PER_TEAM = 8
_EXCHANGE_BYTES_PER_ITEM = 72
_ENTRY = Entry(9, lambda words: Hashed(int(words[0]), words[1:5].tobytes(), words[5:9].tobytes()))
_KNOB = "dag_mib"


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
            self._cache, self._lines, np.uint64(table.reciprocal_of(int(self._lines))),
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
            self.enqueue(first, first + 2, first, table.as_arguments([aside]))
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
        kernels = self.kernels
        self.buffers = table.make_buffers(kernels.device.context, kernels.pieces, pages, PAGE_BYTES)

    @property
    def arguments(self) -> Sequence[cl.Buffer]:
        """As the kernels take it."""
        return table.as_arguments(self.buffers)

    def fill(self, progress: Callable[[float], None]) -> None:
        """Make every item."""
        table.fill(
            2 * self.pages,
            16 * self.kernels.hashes_per_group,
            lambda first, end: self.maker.enqueue(first, end, 0, self.arguments),
            progress,
        )

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

    def __init__(self, searched: Table, header: bytes) -> None:
        kernels = searched.kernels
        arguments = (
            cl.cltypes.make_ulong4(*np.frombuffer(header, "<u8")),
            np.uint32(searched.pages), np.uint64(table.reciprocal_of(searched.pages)),
            kernels.exchange, *searched.arguments,
        )  # fmt: skip
        shape = Shape(kernels.group, kernels.hashes_per_item)
        kernel = cl.Kernel(kernels.program, "search")
        super().__init__(kernels.device, kernel, arguments, shape, _ENTRY)


def pieces_for(pages: int, most_bytes: int) -> int:
    """Fewest buffers of at most ``most_bytes`` that hold the table: 1, 2 or 4.

    Raises:
        WorkloadError: Four do not.
    """
    return table.pieces_for(pages, PAGE_BYTES, most_bytes, _KNOB)


def no_room(pages: int, why: str) -> WorkloadError:
    """The error of a table that the device cannot hold."""
    return table.no_room(pages * PAGE_BYTES, why, _KNOB)
