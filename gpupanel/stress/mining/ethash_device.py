"""Ethash on the device: the kernels, the table in its pieces, and one search over it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np  # noqa: TID253 - worker process only
import pyopencl as cl  # noqa: TID253 - worker process only

from gpupanel.model.errors import WorkloadError
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
# A slice of the table that took less is doubled; none takes much more than twice this.
_SLICE_S = 0.03
_MOST_PIECES = 4


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
            origin: The item at the start of ``into``; the first of a page.
            into: The four buffers of a table.
        """
        kernels = self.kernels
        groups = -(-(end - first) // kernels.hashes_per_group)
        self._kernel.set_args(
            self._cache, np.uint32(len(self.lines)), reciprocal(len(self.lines)),
            np.uint32(first), np.uint32(end), np.uint32(origin), kernels.exchange, *into,
        )  # fmt: skip
        return cl.enqueue_nd_range_kernel(
            kernels.device.queue, self._kernel, (groups * kernels.group,), (kernels.group,)
        )

    def items_at(self, indexes: Words) -> Words:
        """Any items of the epoch, made now; shape (n, 16)."""
        device, page_bytes = self.kernels.device, self.kernels.scheme.page_bytes
        per_page = page_bytes // ITEM_BYTES
        numbers, places = np.unique(indexes // np.uint32(per_page), return_inverse=True)
        made = np.empty((len(numbers), per_page, ITEM_BYTES // 4), np.uint32)
        aside = cl.Buffer(device.context, cl.mem_flags.READ_WRITE, page_bytes)
        for page, first in zip(made, (int(number) * per_page for number in numbers), strict=True):
            self.enqueue(first, first + per_page, first, [aside] * _MOST_PIECES)
            cl.enqueue_copy(device.queue, page, aside)
        return made[places, indexes % np.uint32(per_page)]


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
        piece_bytes = -(-pages // pieces) * self.kernels.scheme.page_bytes
        self.buffers = [
            cl.Buffer(context, cl.mem_flags.READ_WRITE, piece_bytes) for _ in range(pieces)
        ]

    @property
    def arguments(self) -> Sequence[cl.Buffer]:
        """The four buffers that the kernels take; a table of fewer repeats them."""
        return [self.buffers[i % len(self.buffers)] for i in range(_MOST_PIECES)]

    def fill(self, progress: Callable[[float], None]) -> None:
        """Make every item, in slices of some 50 ms so that a stop is quick."""
        items = self.pages * self.kernels.scheme.page_bytes // ITEM_BYTES
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

    def __init__(self, table: Table, header: bytes) -> None:
        kernels = table.kernels
        arguments = (
            cl.cltypes.make_ulong4(*np.frombuffer(header, "<u8")),
            np.uint32(table.pages), reciprocal(table.pages),
            kernels.exchange, *table.arguments,
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
    kernels = Kernels(device, pieces_for(pages, most_bytes, scheme), scheme)
    progress(0.0)
    try:
        table = Table(ItemMaker(kernels, lines), pages)
        table.fill(progress)
    except cl.MemoryError as error:
        raise no_room(pages * scheme.page_bytes, str(error)) from error
    return table


def pieces_for(pages: int, most_bytes: int, scheme: Scheme = ETHASH) -> int:
    """Fewest buffers of at most ``most_bytes`` that hold the table: 1, 2 or 4.

    Raises:
        WorkloadError: Four do not.
    """
    for pieces in (1, 2, 4):
        if -(-pages // pieces) * scheme.page_bytes <= most_bytes:
            return pieces
    why = f"its largest buffer is {most_bytes / 2**20:.0f} MiB, and four are used"
    raise no_room(pages * scheme.page_bytes, why)


def no_room(table_bytes: int, why: str) -> WorkloadError:
    """The error of a table that the device cannot hold."""
    return WorkloadError(
        f"the device has no room for {table_bytes / 2**20:.0f} MiB of table: {why};"
        " reduce it with the knob dag_mib"
    )


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
            " reduce the table with the knob dag_mib"
        )


def size_notes(epoch: int, table_bytes: int, whole_bytes: int) -> tuple[str, ...]:
    """What to say of a table that is not the epoch's whole one."""
    if table_bytes == whole_bytes:
        return ()
    return (
        f"reduced table: {table_bytes / 2**20:.0f} of"
        f" {whole_bytes / 2**20:.0f} MiB of epoch {epoch}",
    )


def reciprocal(divisor: int) -> np.uint64:
    """For ``remainder_of`` in the kernel."""
    return np.uint64(2**64 // divisor + 1)
