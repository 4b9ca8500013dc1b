"""The weights of ``ai.decode``: drawn block by block, stored as floats or in quantised blocks.

No copy stays on the host: any rows are drawn anew, from the seed, when the oracle wants them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np  # noqa: TID253 - worker process only
import pyopencl as cl  # noqa: TID253 - worker process only

from gpupanel.stress.ai.inputs import Inputs, digest_of
from gpupanel.stress.workload import Device

if TYPE_CHECKING:
    from numpy.typing import NDArray

DRAWN_ROWS = 32
"""Rows that are drawn together; matrices have a multiple of it."""

BLOCK = 32
"""Columns that share a scale where weights have 8 or 4 bits."""

SCALE_STEPS = 8
"""Scales of blocks are the matrix's scale times 8/8 to 15/8: exact in fp16."""

LARGEST_BY_BITS = {32: 127, 16: 127, 8: 127, 4: 7}


@dataclass(frozen=True, slots=True)
class Stored:
    """Some rows as the device holds them: numbers or packed integers, and scales of blocks."""

    weights: NDArray[Any]
    scales: NDArray[np.float16]


@dataclass(frozen=True, slots=True)
class Probe:
    """What a product with a matrix can be checked by as a whole.

    Attributes:
        signs: +1 or -1 for each row.
        sums: Of the rows with these signs, by column.
        norm: Root of the sum of all squares.
    """

    signs: NDArray[np.float64]
    sums: NDArray[np.float64]
    norm: float


@dataclass(frozen=True, slots=True)
class Matrix:
    """One matrix of weights: integers times a scale, which every way of storing holds exactly.

    Attributes:
        name: What a person calls it.
        key: Seed, and what sets it apart from other matrices.
    """

    name: str
    key: tuple[int, ...]
    rows: int
    columns: int
    bits: int

    @property
    def scale(self) -> float:
        """A power of two that makes rows about one long: activations keep their size."""
        spread = LARGEST_BY_BITS[self.bits] / 3**0.5
        return float(2.0 ** -np.round(np.log2(spread * self.columns**0.5)))

    @property
    def bytes_per_row(self) -> float:
        """In the device's memory, scales included."""
        return self.columns * (self.bits / 8 + (2 / BLOCK if self.bits < 16 else 0))

    def drawn(self, number: int) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
        """Rows ``number`` * DRAWN_ROWS and following: integers, and the scale of each block."""
        random = np.random.default_rng((*self.key, number))
        largest = LARGEST_BY_BITS[self.bits]
        shape = DRAWN_ROWS, self.columns
        integers = random.integers(-largest - (self.bits == 4), largest, shape, np.int8, True)
        steps = random.integers(0, SCALE_STEPS, (DRAWN_ROWS, self.columns // BLOCK))
        scales = self.scale * (1 + steps / SCALE_STEPS * (self.bits < 16))
        return integers, scales.astype(np.float32)

    def exact(self, number: int) -> NDArray[np.float64]:
        """The weights of those rows."""
        integers, scales = self.drawn(number)
        return integers.astype(np.float64) * np.repeat(scales, BLOCK, axis=1)

    def stored(self, number: int) -> Stored:
        """Those rows as drawn in ai_decode.cl."""
        integers, scales = self.drawn(number)
        if self.bits >= 16:
            dtype = np.float32 if self.bits == 32 else np.float16
            numbers = (integers * np.float32(self.scale)).astype(dtype)
            return Stored(numbers, np.zeros(0, np.float16))
        if self.bits == 4:
            halves = (integers + 8).astype(np.uint8).reshape(-1, 2, BLOCK // 2)
            integers = (halves[:, 0] | halves[:, 1] << 4).view(np.int8)
        return Stored(integers, scales.astype(np.float16))

    def probe(self) -> Probe:
        """With signs of its own."""
        random = np.random.default_rng((*self.key, self.rows))
        signs = random.choice([-1.0, 1.0], (self.rows // DRAWN_ROWS, DRAWN_ROWS))
        sums, squares = np.zeros(self.columns), 0.0
        for number, some in enumerate(signs):
            exact = self.exact(number)
            sums += some @ exact
            squares += np.square(exact).sum()
        return Probe(signs.ravel(), sums, float(squares**0.5))

    def upload(self, device: Device, inputs: Inputs) -> tuple[cl.Buffer, cl.Buffer]:
        """Weights and scales in the device's memory, watched by ``inputs``."""
        count = self.rows // DRAWN_ROWS
        buffers: list[cl.Buffer] = []
        digests = [0, 0]
        for number in range(count):
            stored = self.stored(number)
            for index, part in enumerate((stored.weights, stored.scales)):
                if number == 0:
                    size = max(part.nbytes * count, 4)
                    buffers.append(cl.Buffer(device.context, cl.mem_flags.READ_ONLY, size))
                if part.nbytes:
                    words = part.reshape(-1).view(np.uint32)
                    digests[index] += digest_of(words, number * len(words))
                    offset = number * part.nbytes
                    cl.enqueue_copy(device.queue, buffers[index], words, dst_offset=offset)
        inputs.watch(self.name, buffers[0], digests[0] % 2**32)
        if self.bits < 16:
            inputs.watch(f"{self.name} scales", buffers[1], digests[1] % 2**32)
        return buffers[0], buffers[1]
