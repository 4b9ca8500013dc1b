"""The load ``ai.conv``: a convolution 3 x 3 over pictures, the layer of networks that see.

Pictures and weights hold small integers, so that every sum is exact in fp32. The oracle sees the
convolution as a product of patches and weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np  # noqa: TID253 - worker process only
import pyopencl as cl  # noqa: TID253 - worker process only

from gpupanel.model.roofline import Ceiling, Cost
from gpupanel.stress.ai.exact import VERIFIED_ELEMENTS, ExactProduct, exact_product
from gpupanel.stress.ai.inputs import Inputs
from gpupanel.stress.ai.passes import check_of, refuse_vectors, require_memory
from gpupanel.stress.ai.product import panels
from gpupanel.stress.program import build
from gpupanel.stress.workload import Check, Device, Report, Variant

if TYPE_CHECKING:
    from numpy.typing import NDArray

KERNEL_FILE = "ai_conv.cl"

MAGNITUDE = 4
"""Elements are integers from -4 to 4: 9 * 512 * 16 * 61 < 2**24 is exact in fp32."""

TAPS = [(row, column) for row in range(3) for column in range(3)]
TILE = 64
"""Pixels per step; that of ai_conv.cl."""

ITEMS_GPU = 256
LOCAL_BYTES = 2 * 16 * 17 * 16, 2 * 256 * 16
"""Of a GPU's work-group: pixels and taps."""

DEFAULTS_BY_LANES: Mapping[int, Mapping[str, int]] = {
    1: {"COLUMNS": 64},
    8: {"ROWS": 4, "COLUMNS": 16},
    16: {"ROWS": 8, "COLUMNS": 32},
}


class Pictures:
    """The convolved pictures on the device; a ``passes.Result`` with one tile per block.

    Rows of the result are pixels, one picture after the other.

    Attributes:
        operands: Pictures with their border, and weights.
        y: The result; NaN until it is computed.
    """

    tiles_per_block = 1

    def __init__(
        self,
        device: Device,
        program: cl.Program,
        inputs: Inputs,
        x: NDArray[np.int8],
        weights: NDArray[np.int8],
    ) -> None:
        self._queue = device.queue
        count, size, _, channels = x.shape
        self._channels = channels
        columns = macros_of(device)["COLUMNS"]
        self._items_per_tile = channels // columns * ITEMS_GPU if device.lanes == 1 else 1
        self._items = ITEMS_GPU if device.lanes == 1 else 1
        self.tiles = count * size**2 // TILE
        by_channel_out = weights.reshape(-1, channels)
        self.operands = [
            inputs.upload("pictures", bordered(x).astype(np.float32)),
            inputs.upload("weights", panels(by_channel_out.astype(np.float32), columns)),
        ]
        bytes_out = 4 * count * size**2 * channels
        self.y = cl.Buffer(device.context, cl.mem_flags.READ_WRITE, bytes_out)
        cl.enqueue_fill_buffer(self._queue, self.y, np.float32(np.nan), 0, bytes_out)
        self._kernel = cl.Kernel(program, "convolve")
        self._kernel.set_args(
            *self.operands, self.y, np.uint32(size), np.uint32(0), np.float32(1),
            *map(cl.LocalMemory, LOCAL_BYTES if device.lanes == 1 else ()),
        )  # fmt: skip

    def enqueue(self, first_tile: int, tiles: int, alpha: int) -> cl.Event:
        """As in ``passes.Result``."""
        self._kernel.set_arg(4, np.uint32(first_tile))
        self._kernel.set_arg(5, np.float32(alpha))
        items = tiles * self._items_per_tile
        return cl.enqueue_nd_range_kernel(self._queue, self._kernel, (items,), (self._items,))

    def rows_of(self, block: int) -> slice:
        """As in ``passes.Result``; rows are pixels."""
        return slice(block * TILE, (block + 1) * TILE)

    def read(self, rows: slice) -> tuple[NDArray[Any], cl.Event]:
        """As in ``passes.Result``."""
        host = np.empty((rows.stop - rows.start, self._channels), np.float32)
        offset = 4 * self._channels * rows.start
        event = cl.enqueue_copy(self._queue, host, self.y, src_offset=offset, is_blocking=False)
        return host, event

    def work_before(self, step: int) -> int:
        """2 * 9 * channels in * channels out for every pixel, the border's zeros included."""
        flop: int = 2 * 9 * self._channels**2 * TILE * step
        return flop


class Conv(ExactProduct):
    """Host side of ``ai.conv``. One step is TILE pixels with all their channels out.

    Attributes:
        pictures: Set by prepare().
    """

    NAME = "ai.conv"
    SLUG = "y"
    pictures: Pictures

    def __init__(self, device: Device, knobs: Mapping[str, int], seed: int) -> None:
        super().__init__(device, knobs, seed)
        size, self._channels = knobs["size"], knobs["channels"]
        self._shape = knobs["pictures"], size, size, self._channels
        macros = macros_of(device)
        shape = f"{macros.get('ROWS', TILE)} pixels x {macros['COLUMNS']} channels"
        self.notes = (f"fp32, tiles of {shape}, weights packed before the run",)
        self._blocks_per_verify = max(1, VERIFIED_ELEMENTS // (TILE * self._channels))

    @classmethod
    def variants(cls, device: Device) -> tuple[Variant, ...]:
        """By vector width and register tile."""
        if not device.is_cpu:
            return (Variant("tiles of 64 x 64 in local memory", 1),)
        found = []
        for lanes in (16, 8) if device.lanes > 8 else (8,):
            usual = DEFAULTS_BY_LANES[lanes]
            flat = {"ROWS": 4, "COLUMNS": 4 * lanes} if lanes == 16 else {"ROWS": 2, "COLUMNS": 32}
            found += [
                Variant(f"vectors of {lanes}, {macros['ROWS']} pixels at a time", lanes, macros)
                for macros in (usual, flat)
            ]
        return tuple(found)

    def prepare(self, report: Report) -> None:
        """Build the program, draw pictures and weights and carry them to the device."""
        count, size, _, channels = self._shape
        result = 4 * count * size**2 * channels
        bordered_bytes = 4 * count * (size + 2) ** 2 * channels
        what = f"a convolution of {count} pictures of {size} x {size}"
        require_memory(self._device, what, [bordered_bytes, 36 * channels**2, result])
        report("kernel", 0.0)
        macros = {**macros_of(self._device), "LANES": self._device.lanes, "CHANNELS": channels}
        self._program = build(self._device.context, KERNEL_FILE, macros)
        self._inputs = Inputs(self._device)
        report("pictures", 0.0)
        self._x, self._weights = self._draw(self._shape)
        self._probes = self._draw_probes(channels)
        self._product_probes = convolved(
            self._x, exact_product_of_taps(self._weights, self._probes)
        )
        report("pictures", 0.5)
        self._result = self.pictures = self._on_device(self._x, self._weights, self._inputs)
        report("pictures", 1.0)

    def self_test(self, vectors: Mapping[str, Any] | None = None) -> list[Check]:
        """Every pixel of small pictures against NumPy.

        Raises:
            WorkloadError: Vectors were given; there is no file format for them.
        """
        refuse_vectors(self.NAME, vectors)
        return [self._test(count, size) for count, size in ((1, 8), (3, 24))]

    def cost(self) -> Cost:
        """A flop is a flop; pictures and weights come from caches."""
        return Cost({Ceiling.FP32: 1.0})

    def _exact(self, row: NDArray[np.int64], column: NDArray[np.int64]) -> NDArray[np.int64]:
        size = self._shape[1]
        picture, at = np.divmod(row, size**2)
        total = np.zeros(len(row), np.int64)
        for tap, (down, right) in enumerate(TAPS):
            y, x = at // size + down - 1, at % size + right - 1
            inside = (y >= 0) & (y < size) & (x >= 0) & (x < size)
            pixels = self._x[picture[inside], y[inside], x[inside]].astype(np.int64)
            weights = self._weights[tap][:, column[inside]].astype(np.int64)
            total[inside] += np.einsum("sk,ks->s", pixels, weights)
        return total

    def _test(self, count: int, size: int) -> Check:
        x, weights = self._draw((count, size, size, self._channels))
        pictures = self._on_device(x, weights, Inputs(self._device))
        pictures.enqueue(0, pictures.tiles, 3)
        computed, ready = pictures.read(slice(0, count * size**2))
        ready.wait()
        wrong = np.argwhere(computed != 3 * convolved(x, weights))
        faults = [f"y[{pixel}, {channel}] is wrong" for pixel, channel in wrong]
        return check_of(f"{count} x {size} x {size} pixels", faults, f"{computed.size} numbers")

    def _draw(self, shape: tuple[int, int, int, int]) -> tuple[NDArray[np.int8], NDArray[np.int8]]:
        x, weights = (
            self._random.integers(-MAGNITUDE, MAGNITUDE, dimensions, np.int8, endpoint=True)
            for dimensions in (shape, (len(TAPS), shape[3], shape[3]))
        )
        return x, weights

    def _on_device(
        self, x: NDArray[np.int8], weights: NDArray[np.int8], inputs: Inputs
    ) -> Pictures:
        return Pictures(self._device, self._program, inputs, x, weights)


def macros_of(device: Device) -> dict[str, int]:
    """Those of the device's variant, over the safest for its lanes."""
    return {**DEFAULTS_BY_LANES[device.lanes], **device.macros}


def bordered(x: NDArray[Any]) -> NDArray[Any]:
    """Pictures (picture, row, column, channel) with zeros one pixel wide around each."""
    return np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))


def exact_product_of_taps(weights: NDArray[np.int8], probes: NDArray[np.int64]) -> NDArray[Any]:
    """Weights (tap, channel in, channel out) times (channel out, probe)."""
    taps, channels, _ = weights.shape
    return exact_product(weights.reshape(taps * channels, -1), probes).reshape(taps, channels, -1)


def convolved(x: NDArray[np.int8], weights: NDArray[Any]) -> NDArray[np.int64]:
    """The convolution by NumPy, tap by tap: (pixel, channel out), exact.

    Args:
        x: (picture, row, column, channel in).
        weights: (tap, channel in, channel out).
    """
    size, channels = x.shape[1], x.shape[3]
    around = bordered(x)
    total = np.zeros((x[..., 0].size, weights.shape[2]), np.int64)
    for (down, right), tap in zip(TAPS, weights, strict=True):
        shifted = around[:, down : down + size, right : right + size]
        total += exact_product(shifted.reshape(-1, channels), tap)
    return total
