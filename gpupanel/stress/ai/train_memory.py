"""The memory of ``ai.train`` on the device: parameters, and what a step writes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np  # noqa: TID253 - worker process only
import pyopencl as cl  # noqa: TID253 - worker process only

from gpupanel.model.errors import WorkloadError
from gpupanel.stress.ai.train_shape import VOCABULARY, Shape
from gpupanel.stress.workload import Device

if TYPE_CHECKING:
    from numpy.typing import NDArray

BLOCK = 4096
"""Parameters per work-group of adam(), as in ai_train.cl."""

JOURNAL_LINES = 1024
"""More steps than fit into one chunk."""

NOTHING_CHANGED = 0xFFFFFFFF
"""In the journal, where the memory of the parameters kept every bit; as in ai_train.cl."""


@dataclass(frozen=True, slots=True)
class Half:
    """A norm and the stream before it: each layer has two, before attention and MLP.

    Attributes:
        stream: (tokens, width).
        normed: The norm's output.
        scale: 1 / rms of each row.
        dstream: Gradient of the stream.
    """

    stream: cl.Buffer
    normed: cl.Buffer
    scale: cl.Buffer
    dstream: cl.Buffer


@dataclass(frozen=True, slots=True)
class LayerMemory:
    """What a layer keeps from its forward for its backward, and what an audit looks at."""

    qkv: cl.Buffer
    log_sums: cl.Buffer
    mixed: cl.Buffer
    up: cl.Buffer
    active: cl.Buffer
    dqkv: cl.Buffer
    dup: cl.Buffer


class Memory:
    """All buffers of a training.

    Attributes:
        parameters: In the order of ``Shape.tensors``; ``gradients``, Adam's ``moment1`` and
            ``moment2`` and the ``transposed`` weights likewise.
        digests: Of parameters and moments, one per item of adam().
        journal: JOURNAL_LINES x (loss, gradient norm, changed block, step), and a line for what
            nobody reads.
        halves: Two per layer, and the last norm's.
    """

    def __init__(self, device: Device, shape: Shape, block_items: int) -> None:
        self.shape = shape
        self.queue = device.queue
        self._device = device
        self._left_bytes = device.memory_bytes
        self.parameters, self.moment1, self.moment2, self.gradients, self.transposed = (
            self._floats(shape.stored) for _ in range(5)
        )
        self.blocks = -(-shape.stored // BLOCK)
        self.digests = self._floats(self.blocks * block_items)
        self.squares = self._floats(self.blocks)
        self.norm = self._floats(1)
        self.journal = self._floats(4 * (JOURNAL_LINES + 1))
        self.tokens, self.losses = (self._floats(shape.tokens) for _ in range(2))
        self.logits = self._rows(VOCABULARY)
        self.dmixed, self.dnormed = (self._rows(shape.width) for _ in range(2))
        self.inner = self._rows(shape.heads)
        self.halves = [self._half() for _ in range(2 * shape.layers + 1)]
        self.layers = [self._layer() for _ in range(shape.layers)]

    @property
    def state(self) -> tuple[cl.Buffer, ...]:
        """What one step hands to the next."""
        return self.parameters, self.moment1, self.moment2, self.digests

    def part(self, buffer: cl.Buffer, name: str, layer: int | None = None) -> cl.Buffer:
        """One tensor's place in a buffer of all parameters."""
        tensor = self.shape.tensor(name, layer)
        return buffer.get_sub_region(4 * tensor.offset, 4 * tensor.size)

    def like(self, buffer: cl.Buffer) -> cl.Buffer:
        """A new buffer of the same size."""
        return self._floats(buffer.size // 4)

    def read(self, buffer: cl.Buffer, host: NDArray[Any], first: int = 0) -> cl.Event:
        """Fill ``host`` from word ``first`` on, once the queue gets there; does not wait."""
        return cl.enqueue_copy(self.queue, host, buffer, src_offset=4 * first, is_blocking=False)

    def read_columns(self, buffer: cl.Buffer, host: NDArray[Any], pitch: int, first: int) -> None:
        """Fill ``host`` with columns from ``first`` on of a matrix with ``pitch`` columns."""
        rows, columns = host.shape
        cl.enqueue_copy(
            self.queue, host, buffer, is_blocking=False, buffer_origin=(4 * first, 0),
            buffer_pitches=(4 * pitch,), host_origin=(0, 0), host_pitches=(4 * columns,),
            region=(4 * columns, rows),
        )  # fmt: skip

    def _floats(self, count: int) -> cl.Buffer:
        """Zeros: no kernel reads what nobody wrote.

        Raises:
            WorkloadError: The device does not offer so much.
        """
        size = 4 * count
        self._left_bytes -= size
        limit = self._device.queue.device.max_mem_alloc_size
        if self._left_bytes < 0 or size > limit:
            raise self._too_large(f"it offers {self._device.memory_bytes >> 20} MiB")
        try:
            buffer = cl.Buffer(self._device.context, cl.mem_flags.READ_WRITE, size)
            cl.enqueue_fill_buffer(self.queue, buffer, np.uint32(0), 0, size)
        except cl.MemoryError as error:
            raise self._too_large(str(error)) from error
        return buffer

    def _too_large(self, why: str) -> WorkloadError:
        return WorkloadError(
            f"the device has no room for this model ({why}): choose a smaller batch, fewer layers "
            "or a smaller width, or close other programs"
        )

    def _rows(self, columns: int) -> cl.Buffer:
        return self._floats(self.shape.tokens * columns)

    def _half(self) -> Half:
        width = self.shape.width
        return Half(self._rows(width), self._rows(width), self._rows(1), self._rows(width))

    def _layer(self) -> LayerMemory:
        width, ffn = self.shape.width, self.shape.ffn
        columns = (3 * width, self.shape.heads, width, ffn, ffn, 3 * width, ffn)
        return LayerMemory(*map(self._rows, columns))
