"""A training step of ``ai.train`` as launches on the device."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np  # noqa: TID253 - worker process only
import pyopencl as cl  # noqa: TID253 - worker process only

from gpupanel.stress.ai.train_memory import Memory
from gpupanel.stress.ai.train_shape import DECAY1, DECAY2, VOCABULARY, Shape
from gpupanel.stress.program import build
from gpupanel.stress.workload import Device

if TYPE_CHECKING:
    from numpy.typing import NDArray

Argument = Any
"""Of a kernel: a buffer, local memory, an int that goes as a uint, or anything of NumPy."""

KERNEL_FILE = "ai_train.cl"

TILE = 64
"""Rows and columns of a product per work-group; as in ai_train.cl, like all that follows."""

SLICE_FLOATS = 2 * 16 * (TILE + 4 + TILE)
"""Local memory of a product on a GPU."""

SQUARE = 16
"""Rows and columns of a weight that one item of transpose() carries."""

PLAIN, ADD, ACTIVATE, SLOPE = range(4)
"""What becomes of a product's sums."""

LAUNCH_FLOP_CPU, LAUNCH_FLOP_GPU = 1 << 29, 1 << 32
"""A longer launch is cut: on any device that is worth a load it takes far less than 250 ms."""


@dataclass(frozen=True, slots=True)
class Launch:
    """One launch of a step.

    Attributes:
        first: Its first item along the first dimension.
        flop: Of the products in it.
        arguments: Kept alive here; a kernel does not own its buffers.
    """

    kernel: cl.Kernel
    items: tuple[int, ...]
    group: tuple[int, ...]
    first: int
    flop: int
    arguments: tuple[Argument, ...]

    def enqueue(self, queue: cl.CommandQueue) -> cl.Event:
        """Does not wait."""
        offset = (self.first,) + (0,) * (len(self.items) - 1)
        return cl.enqueue_nd_range_kernel(queue, self.kernel, self.items, self.group, offset)


class Network:
    """The model on the device.

    Attributes:
        launches: A step, in order; each a small part of it.
    """

    def __init__(self, device: Device, shape: Shape, seed: int) -> None:
        self.shape = shape
        self._device = device
        self._seed = seed
        self._lanes = device.lanes
        # On a GPU items share a row and a block of parameters; on a processor each has its own.
        self._row_items, self._block_items = (64, 256) if device.lanes == 1 else (1, 1)
        macros = {"LANES": device.lanes, "HEAD": shape.head_width, **device.macros}
        self._program = build(device.context, KERNEL_FILE, macros)
        self.memory = Memory(device, shape, self._block_items)
        self._fresh = cl.Kernel(self._program, "fresh")
        self.transpose = self._transpose()
        self.launches = tuple(self._step())
        self._embed, self._adam, self._record = (
            next(one.kernel for one in self.launches if one.kernel.function_name == name)
            for name in ("embed", "adam", "record")
        )

    def begin_episode(self, episode: int) -> None:
        """Enqueue fresh parameters."""
        memory = self.memory
        for tensor in self.shape.tensors:
            spread = np.float32(tensor.spread * 3**0.5)
            self._fresh.set_args(
                memory.parameters, memory.moment1, memory.moment2, np.uint32(tensor.offset),
                spread, self._key(episode),
            )  # fmt: skip
            cl.enqueue_nd_range_kernel(memory.queue, self._fresh, (tensor.size // 4,), None)
        self.transpose.enqueue(memory.queue)

    def begin_step(self, episode: int, step: int, line: int) -> None:
        """Set what differs from step to step, for the launches that follow.

        Args:
            episode: Counted from 0; with the seed, it decides all random numbers.
            step: Of the episode, counted from 1.
            line: Of the journal.
        """
        self._embed.set_arg(6, np.uint32(step))
        self._embed.set_arg(7, self._key(episode))
        self._adam.set_arg(8, np.float32(self.shape.learning_rate(step) / (1 - DECAY1**step)))
        self._adam.set_arg(9, np.float32((1 - DECAY2**step) ** -0.5))
        self._adam.set_arg(10, np.uint32(line))
        self._adam.set_arg(11, np.uint32(step == 1))
        self._record.set_arg(6, np.uint32(step))
        self._record.set_arg(7, np.uint32(line))

    def _key(self, episode: int) -> NDArray[np.uint32]:
        return np.array([self._seed, episode], np.uint32)

    def _step(self) -> Iterator[Launch]:
        memory, shape = self.memory, self.shape
        layers = range(shape.layers)
        yield self._rows(
            "embed", memory.part(memory.parameters, "embedding"),
            memory.part(memory.parameters, "position"), memory.tokens, memory.halves[0].stream,
            shape.width, shape.sequence, 1, self._key(0), has_scratch=False,
        )  # fmt: skip
        for layer in layers:
            yield from self._attention_forward(layer)
            yield from self._mlp_forward(layer)
        yield from self._head()
        for layer in reversed(layers):
            yield from self._mlp_backward(layer)
            yield from self._attention_backward(layer)
        yield from self._embedding_backward()
        yield from self._update()

    def _attention_forward(self, layer: int) -> Iterator[Launch]:
        memory, _shape = self.memory, self.shape
        kept, before, after = memory.layers[layer], *memory.halves[2 * layer : 2 * layer + 2]
        yield self._norm(2 * layer, "attention gain", layer)
        yield from self._forward(before.normed, "qkv", layer, kept.qkv)
        yield from self._attention("attend", kept.qkv, kept.mixed, kept.log_sums)
        yield from self._forward(kept.mixed, "out", layer, after.stream, ADD, before.stream)

    def _mlp_forward(self, layer: int) -> Iterator[Launch]:
        memory = self.memory
        kept, before, after = memory.layers[layer], *memory.halves[2 * layer + 1 : 2 * layer + 3]
        yield self._norm(2 * layer + 1, "mlp gain", layer)
        yield from self._forward(before.normed, "up", layer, kept.active, ACTIVATE, kept.up)
        yield from self._forward(kept.active, "down", layer, after.stream, ADD, before.stream)

    def _head(self) -> Iterator[Launch]:
        """Forward, loss and backward."""
        memory, shape = self.memory, self.shape
        last = 2 * shape.layers
        yield self._norm(last, "final gain", None)
        yield from self._forward(memory.halves[last].normed, "head", None, memory.logits)
        weight = np.float32(1 / shape.counted)
        arguments = (memory.logits, memory.tokens, memory.losses, shape.sequence, weight)
        yield from self._launch("loss", arguments, (shape.tokens,), (self._row_items,))
        yield from self._backward(memory.logits, "head", None, memory.dnormed)
        yield from self._gradient(memory.halves[last].normed, memory.logits, "head", None)
        yield from self._norm_back(last, "final gain", None)

    def _mlp_backward(self, layer: int) -> Iterator[Launch]:
        memory = self.memory
        kept, before, after = memory.layers[layer], *memory.halves[2 * layer + 1 : 2 * layer + 3]
        yield from self._backward(after.dstream, "down", layer, kept.dup, SLOPE, kept.up)
        yield from self._gradient(kept.active, after.dstream, "down", layer)
        yield from self._backward(kept.dup, "up", layer, memory.dnormed)
        yield from self._gradient(before.normed, kept.dup, "up", layer)
        yield from self._norm_back(2 * layer + 1, "mlp gain", layer)

    def _attention_backward(self, layer: int) -> Iterator[Launch]:
        memory = self.memory
        kept, before, after = memory.layers[layer], *memory.halves[2 * layer : 2 * layer + 2]
        yield from self._backward(after.dstream, "out", layer, memory.dmixed)
        yield from self._gradient(kept.mixed, after.dstream, "out", layer)
        yield from self._attention(
            "attend_back_queries", kept.qkv, kept.mixed, memory.dmixed, kept.log_sums,
            memory.inner, kept.dqkv,
        )  # fmt: skip
        yield from self._attention(
            "attend_back_keys", kept.qkv, memory.dmixed, kept.log_sums, memory.inner, kept.dqkv
        )
        yield from self._backward(kept.dqkv, "qkv", layer, memory.dnormed)
        yield from self._gradient(before.normed, kept.dqkv, "qkv", layer)
        yield from self._norm_back(2 * layer, "attention gain", layer)

    def _embedding_backward(self) -> Iterator[Launch]:
        memory, shape = self.memory, self.shape
        dstream, columns = memory.halves[0].dstream, shape.width // self._lanes
        group = (32, 1) if self._lanes == 1 else (1, 1)
        embedding = memory.part(memory.gradients, "embedding")
        arguments = (dstream, memory.tokens, embedding, shape.tokens, shape.width)
        yield from self._launch("embedding_back", arguments, (columns, VOCABULARY), group)
        position = memory.part(memory.gradients, "position")
        arguments = (dstream, position, shape.tokens, shape.width, shape.sequence)
        yield from self._launch("position_back", arguments, (columns, shape.sequence), group)

    def _update(self) -> Iterator[Launch]:
        memory, items = self.memory, self._block_items
        scratch = cl.LocalMemory(4 * items)
        arguments: tuple[Argument, ...]
        arguments = (memory.gradients, memory.squares, self.shape.stored, scratch)
        yield from self._launch("square", arguments, (memory.blocks * items,), (items,))
        arguments = (
            memory.losses, memory.squares, memory.journal, memory.norm, self.shape.tokens,
            memory.blocks, 1, 0, scratch,
        )  # fmt: skip
        yield from self._launch("record", arguments, (items,), (items,))
        arguments = (
            memory.parameters, memory.moment1, memory.moment2, memory.gradients, memory.digests,
            memory.journal, memory.norm, self.shape.stored, np.float32(0), np.float32(0), 0, 1,
        )  # fmt: skip
        yield from self._launch("adam", arguments, (memory.blocks * items,), (items,))
        yield self.transpose

    def _transpose(self) -> Launch:
        table, tile = [], 0
        for weight in self.shape.weights:
            table.append((weight.offset, weight.rows, weight.columns, tile))
            tile += weight.size // SQUARE**2
        table.append((0, 0, 0, 0xFFFFFFFF))
        flags = cl.mem_flags.READ_ONLY | cl.mem_flags.COPY_HOST_PTR
        matrices = cl.Buffer(self._device.context, flags, hostbuf=np.array(table, np.uint32))
        arguments = (self.memory.parameters, self.memory.transposed, matrices)
        group = SQUARE if self._lanes == 1 else 1
        (launch,) = self._launch("transpose", arguments, (tile,), (group,))
        return launch

    def _forward(
        self, x: cl.Buffer, name: str, layer: int | None, y: cl.Buffer, mode: int = PLAIN,
        other: cl.Buffer | None = None,
    ) -> Iterator[Launch]:  # fmt: skip
        """Y = x * weight."""
        weight = self.shape.tensor(name, layer)
        part = self.memory.part(self.memory.parameters, name, layer)
        extent = (self.shape.tokens, weight.columns, weight.rows)
        yield from self._product(x, part, y, extent, (weight.rows, 1), mode, other)

    def _backward(
        self, dy: cl.Buffer, name: str, layer: int | None, dx: cl.Buffer, mode: int = PLAIN,
        other: cl.Buffer | None = None,
    ) -> Iterator[Launch]:  # fmt: skip
        """Dx = dy * weight, transposed."""
        weight = self.shape.tensor(name, layer)
        part = self.memory.part(self.memory.transposed, name, layer)
        extent = (self.shape.tokens, weight.rows, weight.columns)
        yield from self._product(dy, part, dx, extent, (weight.columns, 1), mode, other)

    def _gradient(
        self, x: cl.Buffer, dy: cl.Buffer, name: str, layer: int | None
    ) -> Iterator[Launch]:
        """Gradient of a weight = x, transposed, * dy."""
        weight = self.shape.tensor(name, layer)
        part = self.memory.part(self.memory.gradients, name, layer)
        extent = (weight.rows, weight.columns, self.shape.tokens)
        yield from self._product(x, dy, part, extent, (1, weight.rows), PLAIN, None)

    def _product(  # noqa: PLR0913, PLR0917 - a product has so many sides
        self, a: cl.Buffer, b: cl.Buffer, c: cl.Buffer, extent: tuple[int, int, int],
        strides: tuple[int, int], mode: int, other: cl.Buffer | None,
    ) -> Iterator[Launch]:  # fmt: skip
        """C = a * b; ``extent`` is its rows, columns and depth, ``strides`` those of a."""
        rows, columns, depth = extent
        items, scratch = (256, SLICE_FLOATS) if self._lanes == 1 else (1, 1)
        arguments = (
            a, b, c, other or c, depth, columns, *strides, mode, cl.LocalMemory(4 * scratch)
        )  # fmt: skip
        tiles = rows // TILE * (columns // TILE)
        flop = 2 * rows * columns * depth
        yield from self._launch("product", arguments, (tiles * items,), (items,), flop)

    def _attention(self, name: str, *buffers: cl.Buffer) -> Iterator[Launch]:
        """Each of its kernels does two of attention's six products."""
        shape = self.shape
        group = min(64, shape.sequence) if self._lanes == 1 else 1
        items = shape.tokens * shape.heads // self._lanes
        flop = 2 * shape.tokens * (shape.sequence + 1) * shape.width
        arguments = (*buffers, shape.sequence, shape.heads)
        yield from self._launch(name, arguments, (items,), (group,), flop)

    def _norm(self, half: int, gain: str, layer: int | None) -> Launch:
        memory = self.memory
        part, at = memory.part(memory.parameters, gain, layer), memory.halves[half]
        return self._rows("norm", at.stream, part, at.normed, at.scale, self.shape.width)

    def _norm_back(self, half: int, gain: str, layer: int | None) -> Iterator[Launch]:
        memory, shape = self.memory, self.shape
        at, is_last = memory.halves[half], half == 2 * shape.layers
        rest = memory.dnormed if is_last else memory.halves[half + 1].dstream
        yield self._rows(
            "norm_back", at.stream, memory.part(memory.parameters, gain, layer), at.scale,
            memory.dnormed, rest, at.dstream, shape.width, int(not is_last),
        )  # fmt: skip
        columns, sharing = (32, 8) if self._lanes == 1 else (1, 1)
        arguments = (
            at.stream, at.scale, memory.dnormed, memory.part(memory.gradients, gain, layer),
            shape.tokens, shape.width, cl.LocalMemory(4 * self._lanes * columns * sharing),
        )  # fmt: skip
        items = (shape.width // self._lanes, sharing)
        yield from self._launch("gain_back", arguments, items, (columns, sharing))

    def _rows(self, name: str, *arguments: Argument, has_scratch: bool = True) -> Launch:
        """A kernel with one work-group per token."""
        items = self._row_items
        if has_scratch:
            arguments = (*arguments, cl.LocalMemory(4 * items))
        (launch,) = self._launch(name, arguments, (self.shape.tokens * items,), (items,))
        return launch

    def _launch(
        self, name: str, arguments: tuple[Argument, ...], items: tuple[int, ...],
        group: tuple[int, ...], flop: int = 0,
    ) -> Iterator[Launch]:  # fmt: skip
        """One kernel, cut along its first dimension where its ``flop`` are many."""
        kernel = cl.Kernel(self._program, name)
        words = (np.uint32(one) if isinstance(one, int) else one for one in arguments)
        kernel.set_args(*words)
        groups = items[0] // group[0]
        limit = LAUNCH_FLOP_CPU if self._device.is_cpu else LAUNCH_FLOP_GPU
        pieces = min(groups, max(1, -(-flop // limit)))
        for piece in range(pieces):
            first, end = (groups * at // pieces * group[0] for at in (piece, piece + 1))
            share = flop * end // items[0] - flop * first // items[0]
            yield Launch(kernel, (end - first, *items[1:]), group, first, share, arguments)
