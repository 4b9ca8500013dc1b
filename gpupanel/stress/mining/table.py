"""Large tables on the device, which drivers only hold in several buffers."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pyopencl as cl  # noqa: TID253 - worker process only

from gpupanel.model.errors import WorkloadError

# A slice of the table that took less is doubled; none takes much more than twice this.
_SLICE_S = 0.03
_MOST_PIECES = 4


def make_buffers(context: cl.Context, pieces: int, items: int, item_bytes: int) -> list[cl.Buffer]:
    """Buffers for a table whose item i lies in buffer i % pieces.

    Raises:
        cl.MemoryError: The device refuses the memory; some do when it is first touched.
    """
    piece_bytes = -(-items // pieces) * item_bytes
    return [cl.Buffer(context, cl.mem_flags.READ_WRITE, piece_bytes) for _ in range(pieces)]


def as_arguments(buffers: Sequence[cl.Buffer]) -> list[cl.Buffer]:
    """The four buffers that kernels take; a table of fewer repeats them."""
    return [buffers[i % len(buffers)] for i in range(_MOST_PIECES)]


def fill(
    items: int,
    size: int,
    enqueue: Callable[[int, int], cl.Event],
    progress: Callable[[float], None],
) -> None:
    """Make every item, in slices of some 50 ms so that a stop is quick.

    Args:
        items: Of the table.
        size: Items of the first slice; later ones are larger by powers of two.
        enqueue: Makes the items from the first to the one before the second.
        progress: Called with the fraction that is done.
    """
    first = 0
    while first < items:
        end = min(first + size, items)
        event = enqueue(first, end)
        event.wait()
        progress(end / items)
        first = end
        if (event.profile.end - event.profile.start) * 1e-9 < _SLICE_S:
            size *= 2


def pieces_for(items: int, item_bytes: int, most_bytes: int, knob: str) -> int:
    """Fewest buffers of at most ``most_bytes`` that hold the table: 1, 2 or 4.

    Raises:
        WorkloadError: Four do not; ``knob`` makes the table smaller.
    """
    for pieces in (1, 2, 4):
        if -(-items // pieces) * item_bytes <= most_bytes:
            return pieces
    why = f"its largest buffer is {most_bytes / 2**20:.0f} MiB, and four are used"
    raise no_room(items * item_bytes, why, knob)


def no_room(table_bytes: int, why: str, knob: str) -> WorkloadError:
    """The error of a table that the device cannot hold."""
    return WorkloadError(
        f"the device has no room for {table_bytes / 2**20:.0f} MiB of table: {why};"
        f" reduce it with the knob {knob}"
    )


def reciprocal_of(divisor: int) -> int:
    """For ``remainder_of`` in kernels."""
    return 2**64 // divisor + 1
