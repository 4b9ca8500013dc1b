"""Ethash on the device: the kernels, the table in its pieces, and one search over it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np  # noqa: TID253 - worker process only
import pyopencl as cl  # noqa: TID253 - worker process only

from gpupanel.model.errors import WorkloadError
from gpupanel.stress.mining import table
from gpupanel.stress.mining.ethash_reference import (
    ITEM_BYTES,
    PAGE_BYTES,
    PARENTS,
    Hashed,
    Words,
    light_cache_bytes,
)
from gpupanel.stress.mining.search import FOUND_MAX, STRIPES, Entry, SearchKernel, Shape
from gpupanel.stress.program import build
from gpupanel.stress.workload import Device

_HASHES_PER_TEAM = 8
_EXCHANGE_BYTES_PER_ITEM = 72
HASHED_ENTRY = Entry(
    9, lambda words: Hashed(int(words[0]), words[1:5].tobytes(), words[5:9].tobytes())
)
_KNOB = "dag_mib"


@dataclass(frozen=True, slots=True)
class Scheme:
    """How a coin makes and reads its table.

    Attributes:
        kernel_file: Has the kernel ``make_items``.
        parents: Lines of the light cache in an item.
        page_bytes: What a hash reads at one place.
    """

    kernel_file: str
    parents: int
    page_bytes: int

    @property
    def page_items(self) -> int:
        """Items of the table in a page."""
        return self.page_bytes // ITEM_BYTES


ETHASH = Scheme("mining_ethash.cl", PARENTS, PAGE_BYTES)


class Kernels:
    """The program for one device and one number of pieces of the table."""

    def __init__(self, device: Device, pieces: int, scheme: Scheme = ETHASH) -> None:
        self.device = device
        self.pieces = pieces
        self.scheme = scheme
        self.hashes_per_item = 1 if device.lanes == 1 else _HASHES_PER_TEAM
        self.group = 64 // self.hashes_per_item
        self.exchange = cl.LocalMemory(_EXCHANGE_BYTES_PER_ITEM * self.group)
        self.program = build(
            device.context,
            scheme.kernel_file,
            {
                "LANES": device.lanes,
                "GROUP": self.group,
                "PIECES": pieces,
                "PARENTS": scheme.parents,
                "PAGE_WORDS": scheme.page_bytes // 4,
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
        self.lines = lines
        self._cache = cl.Buffer(
            kernels.device.context,
            cl.mem_flags.READ_ONLY | cl.mem_flags.COPY_HOST_PTR,
            hostbuf=np.ascontiguousarray(lines),
        )
        self._kernel = cl.Kernel(kernels.program, "make_items")

    def enqueue(self, first: int, end: int, origin: int, into: Sequence[cl.Buffer]) -> cl.Event:
        """Make the items ``first`` to ``end`` - 1; does not wait.

        Args:
            first: Any item.
            end: One more than the last item.
            origin: The item at the start of ``into``, where a page begins.
            into: The four buffers of a table.
        """
        kernels = self.kernels
        groups = -(-(end - first) // kernels.hashes_per_group)
        self._kernel.set_args(
            self._cache, np.uint32(len(self.lines)),
            np.uint64(table.reciprocal_of(len(self.lines))),
            np.uint32(first), np.uint32(end), np.uint32(origin), kernels.exchange, *into,
        )  # fmt: skip
        return cl.enqueue_nd_range_kernel(
            kernels.device.queue, self._kernel, (groups * kernels.group,), (kernels.group,)
        )

    def items_at(self, indexes: Words) -> Words:
        """Any items of the epoch, made now; shape (n, 16)."""
        device, scheme = self.kernels.device, self.kernels.scheme
        per_page = scheme.page_items
        numbers, places = np.unique(indexes // np.uint32(per_page), return_inverse=True)
        made = np.empty((len(numbers), per_page, ITEM_BYTES // 4), np.uint32)
        aside = cl.Buffer(device.context, cl.mem_flags.READ_WRITE, scheme.page_bytes)
        for page, first in zip(made, (int(number) * per_page for number in numbers), strict=True):
            self.enqueue(first, first + per_page, first, table.as_arguments([aside]))
            cl.enqueue_copy(device.queue, page, aside)
        items: Words = made[places, indexes % np.uint32(per_page)]
        return items


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
        self.buffers = table.make_buffers(
            kernels.device.context, kernels.pieces, pages, kernels.scheme.page_bytes
        )

    @property
    def arguments(self) -> Sequence[cl.Buffer]:
        """As the kernels take it."""
        return table.as_arguments(self.buffers)

    def fill(self, progress: Callable[[float], None]) -> None:
        """Make every item."""
        table.fill(
            self.kernels.scheme.page_items * self.pages,
            16 * self.kernels.hashes_per_group,
            lambda first, end: self.maker.enqueue(first, end, 0, self.arguments),
            progress,
        )

    def content(self) -> Words:
        """The whole table, shape (pages, words of a page)."""
        rows = np.empty((self.pages, self.kernels.scheme.page_bytes // 4), np.uint32)
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
        super().__init__(kernels.device, kernel, arguments, shape, HASHED_ENTRY)


def filled_table(
    device: Device, scheme: Scheme, lines: Words, pages: int, progress: Callable[[float], None]
) -> Table:
    """Kernels and a whole table.

    Raises:
        WorkloadError: The device has no room for it.
        BuildFailed: The kernels do not compile.
    """
    most_bytes = device.context.devices[0].max_mem_alloc_size
    pieces = table.pieces_for(pages, scheme.page_bytes, most_bytes, _KNOB)
    kernels = Kernels(device, pieces, scheme)
    progress(0.0)
    try:
        filled = Table(ItemMaker(kernels, lines), pages)
        filled.fill(progress)
    except cl.MemoryError as error:
        raise table.no_room(pages * scheme.page_bytes, str(error), _KNOB) from error
    return filled


def require_room(device: Device, epoch: int, table_bytes: int) -> None:
    """Before anything is allocated.

    Raises:
        WorkloadError: Table and light cache are more than a load may have.
    """
    needed = table_bytes + light_cache_bytes(epoch)
    if needed > device.memory_bytes:
        raise WorkloadError(
            f"table and light cache of epoch {epoch} need {needed / 2**20:.0f} MiB,"
            f" the device may use {device.memory_bytes / 2**20:.0f} MiB;"
            f" reduce the table with the knob {_KNOB}"
        )


def size_notes(epoch: int, table_bytes: int, whole_bytes: int) -> tuple[str, ...]:
    """What to say of a table that is not the epoch's whole one."""
    if table_bytes == whole_bytes:
        return ()
    return (
        f"reduced table: {table_bytes / 2**20:.0f} of"
        f" {whole_bytes / 2**20:.0f} MiB of epoch {epoch}",
    )
