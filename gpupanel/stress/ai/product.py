"""One matrix product on the device: how it is cut, how operands are stored, how it is launched."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np  # noqa: TID253 - worker process only
import pyopencl as cl  # noqa: TID253 - worker process only

from gpupanel.stress.ai.inputs import Inputs
from gpupanel.stress.program import build
from gpupanel.stress.workload import Device, Variant

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

KERNEL_FILE = "ai_gemm.cl"

DEPTH_MULTIPLE = 64
"""The depth is whole slices: 16 steps, of four along the depth each where int8 goes by words."""

SLICE_BYTES = 2 * 256 * 16
"""Local memory of a GPU's work-group for each of the operands."""


@dataclass(frozen=True, slots=True)
class Precision:
    """How numbers are stored and added.

    Attributes:
        bits: Of an element of A and B; BITS in ai_gemm.cl.
        operand: NumPy's type for it.
        result: NumPy's type of C.
        magnitude: Elements are integers from -magnitude to magnitude.
        alphas: Factors of passes run from 1 to this: depth * magnitude**2 * alphas is exact.
        text: What a person calls it.
    """

    bits: int
    operand: DTypeLike
    result: DTypeLike
    magnitude: int
    alphas: int
    text: str


# With the largest depth, 16384 = 2**14: 61 * 2**4 * 2**14 < 2**24 is exact in fp32, and
# 7 * 127**2 * 2**14 < 2**31.
FP32 = Precision(32, np.float32, np.float32, 4, 61, "fp32")
FP16 = Precision(16, np.float16, np.float32, 4, 61, "fp16 with sums in fp32")
INT8 = Precision(8, np.int8, np.int32, 127, 7, "int8 with sums in int32")


@dataclass(frozen=True, slots=True)
class Blocking:
    """How the kernel cuts the product; drawn in ai_gemm.cl.

    Attributes:
        tile: Rows and columns of C that one work-group computes.
        rows: Of A per panel.
        columns: Of B per panel.
        items: Work-items per work-group.
    """

    tile: int
    rows: int
    columns: int
    items: int

    @classmethod
    def of(cls, device: Device) -> Blocking:
        """That of the device's variant, or the safest one for its lanes."""
        macros = {**DEFAULTS_BY_LANES[device.lanes], **device.macros}
        return cls(macros["TILE"], macros["ROWS"], macros["COLUMNS"], 256 >> 8 * (device.lanes > 1))

    def width_of(self, size: int) -> int:
        """Rows or columns in whole tiles."""
        return -(-size // self.tile) * self.tile

    def __str__(self) -> str:
        if self.items > 1:
            return f"tiles of {self.tile} x {self.tile} in local memory"
        return f"register tiles of {self.rows} x {self.columns}"


DEFAULTS_BY_LANES: Mapping[int, Mapping[str, int]] = {
    1: {"TILE": 128, "ROWS": 128, "COLUMNS": 128},
    8: {"TILE": 128, "ROWS": 4, "COLUMNS": 16, "DEPTH_BLOCK": 256},
    16: {"TILE": 128, "ROWS": 8, "COLUMNS": 32, "DEPTH_BLOCK": 256},
}


def variants(device: Device, precision: Precision) -> tuple[Variant, ...]:
    """Blockings that may be fastest, the safest first."""
    if not device.is_cpu:
        small = {"TILE": 64, "ROWS": 64, "COLUMNS": 64}
        tiles: dict[str, Mapping[str, int]] = {"tiles of 128": DEFAULTS_BY_LANES[1]}
        tiles["tiles of 64"] = small
        if precision.bits == 8 and is_nvidia(device):
            tiles["tiles of 128, dp4a"] = {**DEFAULTS_BY_LANES[1], "DP4A": 1}
        return tuple(Variant(name, 1, macros) for name, macros in tiles.items())
    found = []
    for lanes in (16, 8) if device.lanes > 8 else (8,):
        usual = DEFAULTS_BY_LANES[lanes]
        deep = {**usual, "DEPTH_BLOCK": 512}
        flat = {**deep, "ROWS": 4, "COLUMNS": 64}
        found.append(Variant(f"vectors of {lanes}", lanes, usual))
        found.append(Variant(f"vectors of {lanes}, blocks of 512", lanes, deep))
        if lanes == 16:
            found.append(Variant("vectors of 16, tiles of 4 x 64", lanes, flat))
    return tuple(found)


def is_nvidia(device: Device) -> bool:
    """Whether its driver takes NVIDIA's assembler."""
    return "cl_nv_device_attribute_query" in device.queue.device.extensions.split()


def program_of(device: Device, precision: Precision) -> cl.Program:
    """The kernel for a device's variant and a precision."""
    macros = {**DEFAULTS_BY_LANES[device.lanes], **device.macros}
    return build(
        device.context, KERNEL_FILE, {**macros, "LANES": device.lanes, "BITS": precision.bits}
    )


class Product:
    """One product of two square matrices on the device; a ``passes.Result``.

    Attributes:
        size: Rows and columns of the matrices.
        tiles: Of C in all, counted row by row.
        tiles_per_block: Of C per row of tiles; it has as many rows of tiles.
        width: Numbers per row of C, padding included.
        c: The result; NaN, or a number that no product gives, until it is computed.
    """

    def __init__(
        self,
        device: Device,
        precision: Precision,
        program: cl.Program,
        inputs: Inputs,
        matrices: tuple[NDArray[Any], NDArray[Any]],
    ) -> None:
        self._queue = device.queue
        self._precision = precision
        self._blocking = blocking = Blocking.of(device)
        self._words = precision.bits == 8 and device.lanes == 1
        a, b = matrices
        self.size = len(a)
        self.tiles_per_block = -(-self.size // blocking.tile)
        self.tiles = self.tiles_per_block**2
        self.width = blocking.width_of(self.size)
        self.a = inputs.upload("A", self._panels(a.T, blocking.rows))
        self.b = inputs.upload("B", self._panels(b, blocking.columns))
        self.c = cl.Buffer(device.context, cl.mem_flags.READ_WRITE, 4 * self.width**2)
        cl.enqueue_fill_buffer(self._queue, self.c, np.uint32(POISON), 0, self.c.size)
        self._kernel = cl.Kernel(program, "product")
        depth = padded_depth(self.size) // (4 if self._words else 1)
        self._kernel.set_args(
            self.a, self.b, self.c, np.uint32(depth), np.uint32(self.width), np.uint32(0),
            np.uint32(1),
            *([cl.LocalMemory(SLICE_BYTES)] * 2 if device.lanes == 1 else []),
        )  # fmt: skip

    def _panels(self, matrix: NDArray[Any], columns: int) -> NDArray[Any]:
        """Cut a matrix, depth first, into zero-padded panels (panel, depth, column)."""
        padded = np.zeros((padded_depth(self.size), self.width), self._precision.operand)
        padded[: self.size, : self.size] = matrix
        cut = panels(padded, columns)
        if self._words:  # four steps along the depth side by side: (panel, word, column, step)
            cut = cut.reshape(len(cut), -1, 4, columns).swapaxes(2, 3)
        return np.ascontiguousarray(cut)

    def enqueue(self, first_tile: int, tiles: int, alpha: int) -> cl.Event:
        """As in ``passes.Result``."""
        self._kernel.set_arg(5, np.uint32(first_tile))
        self._kernel.set_arg(6, np.uint32(alpha))
        items = self._blocking.items
        return cl.enqueue_nd_range_kernel(self._queue, self._kernel, (tiles * items,), (items,))

    def rows_of(self, block: int) -> slice:
        """As in ``passes.Result``; a block is a row of tiles."""
        start = block * self._blocking.tile
        return slice(start, min(start + self._blocking.tile, self.size))

    def read(self, rows: slice) -> tuple[NDArray[Any], cl.Event]:
        """As in ``passes.Result``."""
        host = np.empty((rows.stop - rows.start, self.width), self._precision.result)
        offset = 4 * self.width * rows.start
        event = cl.enqueue_copy(self._queue, host, self.c, src_offset=offset, is_blocking=False)
        return host[:, : self.size], event

    def work_before(self, step: int) -> int:
        """2 * rows * columns * depth of the first ``step`` tiles, pass after pass, no padding."""
        passes, tile = divmod(step, self.tiles)
        tile_row, tile_column = divmod(tile, self.tiles_per_block)
        rows = self.rows_of(tile_row)
        height: int = rows.stop - rows.start
        above: int = (passes * self.size + rows.start) * self.size
        return 2 * self.size * (above + height * tile_column * self._blocking.tile)


POISON = 0xFFFFFFFF
"""NaN as a float; -1 as an integer, which verify() takes for wrong but by rare chance."""


def panels(matrix: NDArray[Any], columns: int) -> NDArray[Any]:
    """Matrices (..., depth, width) as panels (..., width / columns, depth, columns)."""
    *stack, depth, width = matrix.shape
    cut = matrix.reshape(*stack, depth, width // columns, columns).swapaxes(-3, -2)
    return np.ascontiguousarray(cut)


def padded_depth(size: int) -> int:
    """The depth in whole slices."""
    return -(-size // DEPTH_MULTIPLE) * DEPTH_MULTIPLE


def bytes_of(device: Device, precision: Precision, size: int) -> list[int]:
    """What the operands and the result of a product take."""
    width = Blocking.of(device).width_of(size)
    operand = width * padded_depth(size) * precision.bits // 8
    return [operand, operand, 4 * width**2]
