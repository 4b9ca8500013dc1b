"""The loads ``ai.layernorm``, ``ai.rmsnorm`` and ``ai.softmax``: rows normalised, bound by memory.

The work is counted in the fewest bytes that must move: every number is read once and written once.
The oracle is NumPy in float64 on whole rows.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np  # noqa: TID253 - worker process only
import pyopencl as cl  # noqa: TID253 - worker process only

from gpupanel.model.roofline import Ceiling, Cost
from gpupanel.stress.ai.inputs import Inputs
from gpupanel.stress.ai.passes import (
    Fetched,
    Passes,
    U,
    check_of,
    refuse_vectors,
    require_memory,
)
from gpupanel.stress.program import build
from gpupanel.stress.workload import Check, Device, Report, Variant, lane_variants

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

KERNEL_FILE = "ai_norm.cl"
EPSILON = 1e-5
TILE = 16
"""Rows per step; EPSILON and TILE are those of ai_norm.cl."""

ITEMS_GPU = 256

VERIFIED_ELEMENTS = 1 << 18
"""How much of the result one verify() looks at, about; some 10 ms of one core."""

SMALLEST = 2.0**-120
"""Error that any result may have: powers of two end at 2**-126, and 0 is allowed to be 0."""


class Rows:
    """The normalised rows on the device; a ``passes.Result`` with one tile per block.

    Attributes:
        operands: Rows to normalise, gain, bias.
        y: The result; NaN until it is computed.
    """

    tiles_per_block = 1

    def __init__(
        self, device: Device, program: cl.Program, operands: list[cl.Buffer], shape: tuple[int, int]
    ) -> None:
        self._queue = device.queue
        self.operands = operands  # a kernel does not keep its arguments alive
        self._items = ITEMS_GPU if device.lanes == 1 else 1
        self._groups_per_tile = TILE if device.lanes == 1 else 1
        rows, self._width = shape
        self.tiles = rows // TILE
        size = 4 * rows * self._width
        self.y = cl.Buffer(device.context, cl.mem_flags.READ_WRITE, size)
        cl.enqueue_fill_buffer(self._queue, self.y, np.float32(np.nan), 0, size)
        self._kernel = cl.Kernel(program, "normalise")
        vectors = np.uint32(self._width // max(device.lanes, 4))
        scratch = cl.LocalMemory(4 * self._items)
        self._kernel.set_args(*operands, self.y, vectors, np.uint32(0), np.float32(1), scratch)

    def enqueue(self, first_tile: int, tiles: int, alpha: int) -> cl.Event:
        """As in ``passes.Result``."""
        self._kernel.set_arg(5, np.uint32(first_tile * TILE))
        self._kernel.set_arg(6, np.float32(alpha))
        items = tiles * self._groups_per_tile * self._items
        return cl.enqueue_nd_range_kernel(self._queue, self._kernel, (items,), (self._items,))

    def rows_of(self, block: int) -> slice:
        """As in ``passes.Result``."""
        return slice(block * TILE, (block + 1) * TILE)

    def read(self, rows: slice) -> tuple[NDArray[Any], cl.Event]:
        """As in ``passes.Result``."""
        host = np.empty((rows.stop - rows.start, self._width), np.float32)
        offset = 4 * self._width * rows.start
        event = cl.enqueue_copy(self._queue, host, self.y, src_offset=offset, is_blocking=False)
        return host, event

    def work_before(self, step: int) -> int:
        """Bytes read and written by the first ``step`` tiles."""
        return 8 * step * TILE * self._width


class Norm(Passes):
    """What the three loads share. One step is TILE rows.

    Attributes:
        result: Set by prepare().
    """

    NAME: ClassVar[str]
    KIND: ClassVar[int]
    _x: NDArray[np.float32]
    _gain: NDArray[np.float32]
    _bias: NDArray[np.float32]
    result: Rows

    def __init__(self, device: Device, knobs: Mapping[str, int], seed: int) -> None:
        super().__init__(device, knobs, seed)
        self._shape = -(-knobs["rows"] // TILE) * TILE, knobs["width"]
        self.notes = ("fp32; every number counts as read once and written once",)
        self._blocks_per_verify = max(1, VERIFIED_ELEMENTS // (TILE * knobs["width"]))

    @classmethod
    def variants(cls, device: Device) -> tuple[Variant, ...]:
        """By vector width."""
        return lane_variants(device)

    def prepare(self, report: Report) -> None:
        """Build the program, draw the rows and carry them to the device."""
        rows, width = self._shape
        require_memory(self._device, f"{rows} x {width} numbers", [4 * rows * width] * 2)
        report("kernel", 0.0)
        macros = {"LANES": self._device.lanes, "KIND": self.KIND, **self._device.macros}
        self._program = build(self._device.context, KERNEL_FILE, macros)
        self._inputs = Inputs(self._device)
        report("rows", 0.0)
        self._result = self.result = self._on_device(self._draw(self._shape), self._inputs)
        report("rows", 1.0)

    def self_test(self, vectors: Mapping[str, Any] | None = None) -> list[Check]:
        """Every row of a small matrix, and of one with large numbers and a large mean.

        Raises:
            WorkloadError: Vectors were given; there is no file format for them.
        """
        refuse_vectors(self.NAME, vectors)
        kept = self._x, self._gain, self._bias
        width = self._shape[1]
        checks = []
        for name, scale, shift in (("small", 1, 0), ("large", 20, 30)):
            x = scale * self._draw((4 * TILE, width)) + np.float32(shift)
            result = self._on_device(x, Inputs(self._device))
            result.enqueue(0, result.tiles, 3)
            rows = slice(0, len(x))
            checks.append(self._check_rows(name, [Fetched(rows, 3, *result.read(rows))]))
        self._x, self._gain, self._bias = kept
        return checks

    def cost(self) -> Cost:
        """Bound by memory alone."""
        return Cost({Ceiling.COPY: 1.0})

    def _compare(self, blocks: list[Fetched]) -> list[Check]:
        return [self._check_rows("rows", blocks)]

    def _check_rows(self, name: str, blocks: list[Fetched]) -> Check:
        faults: list[str] = []
        worst = 0.0
        for block in blocks:
            block.ready.wait()
            expected, bound = self._reference(self._x[block.rows].astype(np.float64))
            error = np.abs(block.computed / block.alpha - expected) / (bound + SMALLEST)
            wrong = np.flatnonzero(~(error.max(axis=1) <= 1))  # NaN is wrong
            faults += [f"row {block.rows.start + row} is wrong" for row in wrong]
            worst = max(worst, float(error.max()))
        count = sum(len(block.computed) for block in blocks)
        return check_of(name, faults, f"{count} rows, error {worst:.2f} of the bound")

    @abstractmethod
    def _reference(self, x: Floats) -> tuple[Floats, Floats]:
        """The normalised rows for an alpha of 1, and how far fp32 may be off.

        The rounding errors of a sum of n terms add up to some sqrt(n) u times the sum of their
        magnitudes (Higham and Mary, 2019); the bounds take four times that.
        """

    def _draw(self, shape: tuple[int, int]) -> NDArray[np.float32]:
        return self._random.standard_normal(shape, np.float32)

    def _on_device(self, x: NDArray[np.float32], inputs: Inputs) -> Rows:
        width = x.shape[1]
        self._x = x
        self._gain = (1 + self._draw((1, width))[0] / 4).astype(np.float32)
        self._bias = self._draw((1, width))[0]
        operands = [
            inputs.upload(name, array)
            for name, array in (("rows", x), ("gain", self._gain), ("bias", self._bias))
        ]
        return Rows(self._device, self._program, operands, x.shape)


class LayerNorm(Norm):
    """Host side of ``ai.layernorm``."""

    NAME = "ai.layernorm"
    KIND = 0

    def _reference(self, x: Floats) -> tuple[Floats, Floats]:
        mean = x.mean(axis=1, keepdims=True)
        scale = 1 / np.sqrt(x.var(axis=1, keepdims=True) + EPSILON)
        z = (x - mean) * scale
        spread = 4 * x.shape[1] ** 0.5 * U
        mean_error = spread * np.abs(x).mean(axis=1, keepdims=True) + U * np.abs(x)
        z_error = scale * mean_error + (spread + 8 * U) * np.abs(z)
        y = z * self._gain + self._bias
        bound = np.abs(self._gain) * z_error + 4 * U * (np.abs(y) + np.abs(self._bias))
        return y, bound


class RmsNorm(Norm):
    """Host side of ``ai.rmsnorm``."""

    NAME = "ai.rmsnorm"
    KIND = 1

    def _reference(self, x: Floats) -> tuple[Floats, Floats]:
        scale = 1 / np.sqrt(np.square(x).mean(axis=1, keepdims=True) + EPSILON)
        y = x * scale * self._gain
        return y, (4 * x.shape[1] ** 0.5 + 8) * U * np.abs(y)


class Softmax(Norm):
    """Host side of ``ai.softmax``."""

    NAME = "ai.softmax"
    KIND = 2

    def _reference(self, x: Floats) -> tuple[Floats, Floats]:
        below = x - x.max(axis=1, keepdims=True)
        powers = np.exp(below)
        y = powers / powers.sum(axis=1, keepdims=True)
        # exp: the argument in base 2 is off by 3 u of itself, the power by a few u of itself.
        power_error = (3 * np.abs(below) + 8) * U
        sum_error = (y * power_error).sum(axis=1, keepdims=True) + 4 * x.shape[1] ** 0.5 * U
        return y, y * (power_error + sum_error + 4 * U)
