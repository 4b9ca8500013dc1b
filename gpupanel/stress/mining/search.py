"""One launch of a search kernel, and what every search kernel returns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

import numpy as np  # noqa: TID253 - worker process only
import pyopencl as cl  # noqa: TID253 - worker process only

from gpupanel.stress.workload import Device

if TYPE_CHECKING:
    from numpy.typing import NDArray

STRIPES = 8
FOUND_MAX = 64
_HASHES_IN_VECTOR = 8
# Work-items of a group; a processor only saves the cost of starting them one by one.
_GROUP_GPU = 64
_GROUP_CPU = 8
# Groups in a stripe of the smallest launch: below a millisecond on either.
_GROUPS_PER_STRIPE_GPU = 8
_GROUPS_PER_STRIPE_CPU = 1


class Result(Protocol):
    """What one nonce gives; its text is for a person."""

    @property
    def nonce(self) -> int:
        """Below 2^64."""


R = TypeVar("R", bound=Result)


@dataclass(frozen=True, slots=True)
class Found:
    """A nonce and its hash of 32 bytes."""

    nonce: int
    hash: bytes

    def __str__(self) -> str:
        return self.hash.hex()


@dataclass(frozen=True, slots=True)
class Entry(Generic[R]):
    """How a kernel returns a result: so many 64-bit words, of which the first is the nonce."""

    words: int
    read: Callable[[NDArray[np.uint64]], R]


HASH_ENTRY = Entry(5, lambda words: Found(int(words[0]), words[1:].tobytes()))


@dataclass(frozen=True, slots=True)
class Results(Generic[R]):
    """What one search returned.

    Attributes:
        count: Nonces below the target, kept or not.
        digests: XOR of some of the bits of every result, one per stripe of the launch.
        found: At most FOUND_MAX, in the order of their nonces.
    """

    count: int
    digests: tuple[int, ...]
    found: tuple[R, ...]


@dataclass(frozen=True, slots=True)
class Search(Generic[R]):
    """One launch of the search kernel, with a buffer of its own for what it returns."""

    first_nonce: int
    nonces: int
    target: int
    event: cl.Event
    returned: cl.Buffer
    reads: cl.CommandQueue
    entry: Entry[R]
    kernel: SearchKernel[R]

    def fetch(self) -> Fetched[R]:
        """Send for what a finished launch returned; does not wait for it."""
        raw = np.empty(_words_in_all(self.entry), np.uint64)
        event = cl.enqueue_copy(self.reads, raw, self.returned, is_blocking=False)
        self.reads.flush()
        return Fetched(self, raw, event)

    def results(self) -> Results[R]:
        """Wait for the launch, and take apart what it returned."""
        self.event.wait()
        return self.fetch().results()


@dataclass(frozen=True, slots=True)
class Fetched(Generic[R]):
    """What a launch returned, on its way to the host."""

    search: Search[R]
    raw: NDArray[np.uint64]
    event: cl.Event

    @property
    def is_here(self) -> bool:
        """Whether ``results`` would not wait."""
        return is_complete(self.event)

    def results(self) -> Results[R]:
        """Wait for it, and take it apart."""
        self.event.wait()
        entry = self.search.entry
        count = int(self.raw[0])
        entries = self.raw[1 + STRIPES :].reshape(FOUND_MAX, entry.words)[: min(count, FOUND_MAX)]
        return Results(
            count=count,
            digests=tuple(int(word) for word in self.raw[1 : 1 + STRIPES]),
            found=tuple(sorted(map(entry.read, entries), key=lambda result: result.nonce)),
        )


def is_complete(event: cl.Event) -> bool:
    """Whether the device is done with it."""
    status: int = event.command_execution_status
    return bool(status == cl.command_execution_status.COMPLETE)


def _words_in_all(entry: Entry[R]) -> int:
    return 1 + STRIPES + FOUND_MAX * entry.words


@dataclass(frozen=True, slots=True)
class Shape:
    """How nonces are spread over work-items.

    Attributes:
        group: Work-items of a group, as the kernel was compiled.
        nonces_per_item: Of one work-item.
    """

    group: int
    nonces_per_item: int

    @property
    def nonces_per_group(self) -> int:
        """Nonces of a search come in multiples of this."""
        return self.group * self.nonces_per_item

    def nonces_per_step(self, device: Device) -> int:
        """Of the smallest launch: some groups for each stripe."""
        groups = _GROUPS_PER_STRIPE_CPU if device.is_cpu else _GROUPS_PER_STRIPE_GPU
        return STRIPES * groups * self.nonces_per_group


def group_of(device: Device) -> int:
    """Work-items of a group of a kernel that includes ``nonces.cl``."""
    return _GROUP_CPU if device.is_cpu else _GROUP_GPU


def hashes_of(device: Device) -> int:
    """Hashes in a ``wide`` of ``common.cl``."""
    return 1 if device.lanes == 1 else _HASHES_IN_VECTOR


def macros_of(device: Device) -> dict[str, int]:
    """Knobs of a kernel that includes ``nonces.cl``."""
    return {
        "LANES": device.lanes,
        "GROUP": group_of(device),
        "FOUND_MAX": FOUND_MAX,
        "STRIPES": STRIPES,
        **device.macros,
    }


def exchange_for(device: Device) -> cl.LocalMemory:
    """The argument ``exchange`` of a kernel that includes ``nonces.cl``."""
    return cl.LocalMemory(8 * group_of(device))


class SearchKernel(Generic[R]):
    """Enqueues one kernel, whose first arguments are first nonce, target and results."""

    def __init__(
        self,
        device: Device,
        kernel: cl.Kernel,
        arguments: Sequence[Any],
        shape: Shape,
        entry: Entry[R],
    ) -> None:
        """``arguments`` are those after the first three; they are set once."""
        self.shape = shape
        self._device = device
        # A read on the same queue would wait for the launches that follow, and a read that does
        # not block blocks all the same on drivers that must first copy to pinned memory.
        self._reads = cl.CommandQueue(device.context)
        self._kernel = kernel
        self._entry = entry
        # An OpenCL kernel does not keep the buffers that it is given.
        self._arguments = arguments
        kernel.set_args(np.uint64(0), np.uint64(0), None, *arguments)

    def enqueue(self, first_nonce: int, nonces: int, target: int) -> Search[R]:
        """Hash ``nonces`` nonces in one launch and flush; does not wait.

        Args:
            first_nonce: Below 2^64; nonces wrap around there.
            nonces: A multiple of ``Shape.nonces_per_group``.
            target: Results whose first 64 bits are below this are returned.
        """
        queue = self._device.queue
        size = _words_in_all(self._entry) * 8
        returned = cl.Buffer(self._device.context, cl.mem_flags.READ_WRITE, size)
        cl.enqueue_fill_buffer(queue, returned, np.uint64(0), 0, size)
        self._kernel.set_arg(0, np.uint64(first_nonce))
        self._kernel.set_arg(1, np.uint64(target))
        self._kernel.set_arg(2, returned)
        items = nonces // self.shape.nonces_per_item
        event = cl.enqueue_nd_range_kernel(queue, self._kernel, (items,), (self.shape.group,))
        queue.flush()
        return Search(first_nonce, nonces, target, event, returned, self._reads, self._entry, self)
