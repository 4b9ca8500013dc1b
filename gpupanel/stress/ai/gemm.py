"""The load ``ai.gemm``: C = alpha * A * B in fp32, the product under every neural network.

The matrices hold small integers, so that every sum is exact in fp32 and a result is either right
or wrong. Alpha changes with every pass over C: what an earlier pass left behind is wrong too.
Both operands are cut into the kernel's panels once, before the run, as inference engines do with
their weights; the measured work is the product alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np  # noqa: TID253 - worker process only
import pyopencl as cl  # noqa: TID253 - worker process only

from gpupanel.model.errors import WorkloadError
from gpupanel.model.roofline import Ceiling, Cost
from gpupanel.stress.program import build
from gpupanel.stress.workload import Check, Chunk, Device, Report, Variant, lane_variants

if TYPE_CHECKING:
    from numpy.typing import NDArray

KERNEL_FILE = "ai_gemm.cl"

MAGNITUDE = 4
"""Elements are integers from -4 to 4: no sum over the largest depth, 16384, exceeds 2**18."""

ALPHAS = 61
"""Alpha runs from 1 to 61, and 61 * 2**18 < 2**24 is exact in fp32 too."""

PROBES = 7
"""An odd number of signs never adds up to 0: no column of C escapes a sum of probes."""

VERIFIED_ELEMENTS = 1 << 20
"""How much of C one verify() looks at, about; some 10 ms of one core."""

SAMPLES = 64
"""Elements per verify() that are computed anew one by one."""


@dataclass(frozen=True, slots=True)
class Blocking:
    """How the kernel cuts the product; drawn in ai_gemm.cl.

    Attributes:
        tile: Rows and columns of C that one work-group computes.
        rows: Of A per panel.
        columns: Of B per panel.
        items: Work-items per work-group.
        variant: What a person calls it.
    """

    tile: int
    rows: int
    columns: int
    items: int
    variant: str


BLOCKING_BY_LANES: Mapping[int, Blocking] = {
    1: Blocking(128, 128, 128, 256, "tiles of 128 x 128 in local memory, 8 x 8 per work-item"),
    8: Blocking(128, 4, 16, 1, "register tiles of 4 x 16, vectors of 8"),
    16: Blocking(128, 8, 32, 1, "register tiles of 8 x 32, vectors of 16"),
}

DEPTH_MULTIPLE = 8
"""SLICE in ai_gemm.cl."""


class Product:
    """One product of two square matrices on the device.

    Attributes:
        queue: Where it runs.
        size: Rows and columns of the matrices.
        tiles_per_row: Of C; it has as many rows of tiles.
        c: The result, ``width`` floats per row; NaN until it is computed.
    """

    def __init__(
        self, device: Device, program: cl.Program, a: NDArray[Any], b: NDArray[Any]
    ) -> None:
        self._context = device.context
        self.queue = device.queue
        self._blocking = blocking = BLOCKING_BY_LANES[device.lanes]
        self.size = len(a)
        self.tiles_per_row = -(-self.size // blocking.tile)
        self.width, depth = padded(self.size, blocking)
        self._a = self._panels(a.T, blocking.rows, depth)
        self._b = self._panels(b, blocking.columns, depth)
        c_bytes = 4 * self.width**2
        self.c = cl.Buffer(device.context, cl.mem_flags.READ_WRITE, c_bytes)
        cl.enqueue_fill_buffer(self.queue, self.c, np.float32(np.nan), 0, c_bytes)
        self._kernel = cl.Kernel(program, "product")
        shape = np.uint32(depth), np.uint32(self.width)
        self._kernel.set_args(self._a, self._b, self.c, *shape, np.uint32(0), np.float32(1))

    def _panels(self, matrix: NDArray[Any], columns: int, depth: int) -> cl.Buffer:
        """Cut a matrix, depth first, into zero-padded panels (panel, depth, column)."""
        cut = np.zeros((self.width // columns, depth, columns), np.float32)
        for index, panel in enumerate(cut):
            part = matrix[:, index * columns : (index + 1) * columns]
            panel[: part.shape[0], : part.shape[1]] = part
        flags = cl.mem_flags.READ_ONLY | cl.mem_flags.COPY_HOST_PTR
        return cl.Buffer(self._context, flags, hostbuf=cut)

    @property
    def tiles(self) -> int:
        """Of C in all; counted row by row."""
        return self.tiles_per_row**2

    def enqueue(self, first_tile: int, tiles: int, alpha: int) -> cl.Event:
        """Compute ``tiles`` tiles of C from ``first_tile`` on; does not wait."""
        self._kernel.set_arg(5, np.uint32(first_tile))
        self._kernel.set_arg(6, np.float32(alpha))
        items = self._blocking.items
        return cl.enqueue_nd_range_kernel(self.queue, self._kernel, (tiles * items,), (items,))

    def rows_of(self, tile_row: int) -> slice:
        """The rows of C, without padding, that a row of tiles covers."""
        start = tile_row * self._blocking.tile
        return slice(start, min(start + self._blocking.tile, self.size))

    def read(self, rows: slice) -> tuple[NDArray[np.float32], cl.Event]:
        """Rows of C without padding, after all that was enqueued before; does not wait.

        The array holds them when the event is complete.
        """
        host = np.empty((rows.stop - rows.start, self.width), np.float32)
        offset = 4 * self.width * rows.start
        event = cl.enqueue_copy(self.queue, host, self.c, src_offset=offset, is_blocking=False)
        return host[:, : self.size], event

    def flop_before(self, step: int) -> int:
        """2 * rows * columns * depth of the first ``step`` tiles, pass after pass, no padding."""
        passes, tile = divmod(step, self.tiles)
        tile_row, tile_column = divmod(tile, self.tiles_per_row)
        rows = self.rows_of(tile_row)
        height: int = rows.stop - rows.start
        above: int = (passes * self.size + rows.start) * self.size
        return 2 * self.size * (above + height * tile_column * self._blocking.tile)


@dataclass(frozen=True, slots=True)
class Fetched:
    """A row of tiles of C on its way to the host, without padding.

    Attributes:
        rows: Of C.
        alpha: Factor of the pass that computed them.
        computed: What the device wrote, once ``ready`` is complete.
    """

    rows: slice
    alpha: int
    computed: NDArray[np.float32]
    ready: cl.Event


def padded(size: int, blocking: Blocking) -> tuple[int, int]:
    """Rows or columns in whole tiles, and the depth in whole slices."""
    width = -(-size // blocking.tile) * blocking.tile
    return width, -(-size // DEPTH_MULTIPLE) * DEPTH_MULTIPLE


class Gemm:
    """Host side of ``ai.gemm``. One step is one tile of C; tiles follow each other cyclically.

    The oracle is Freivalds' check on whole rows, C r = alpha A (B r) with a random vector r, in
    integers and therefore exact, and single elements computed anew by NumPy.

    Attributes:
        product: Set by prepare().
    """

    product: Product

    def __init__(self, device: Device, knobs: Mapping[str, int], seed: int) -> None:
        self._device = device
        self._size = knobs["size"]
        self._random = np.random.default_rng(seed)
        self._launched = 0
        self._verified = 0
        self._fetched: list[Fetched] = []
        self._blocking = blocking = BLOCKING_BY_LANES[device.lanes]
        self.notes: tuple[str, ...] = (f"fp32, {blocking.variant}, operands packed before the run",)
        width = padded(self._size, blocking)[0]
        if width != self._size:
            self.notes += (f"computed as {width} x {width}; only true operations are counted",)

    @classmethod
    def variants(cls, device: Device) -> tuple[Variant, ...]:
        """By vector width."""
        return lane_variants(device)

    def prepare(self, report: Report) -> None:
        """Build the program, draw the matrices and carry them to the device."""
        self._require_memory()
        report("kernel", 0.0)
        macros = {
            "LANES": self._device.lanes,
            "TILE": self._blocking.tile,
            "ROWS": self._blocking.rows,
            "COLUMNS": self._blocking.columns,
        }
        self._program = build(self._device.context, KERNEL_FILE, macros)
        report("matrices", 0.0)
        self._a = self._integers(self._size)
        self._b = self._integers(self._size)
        self._probes = self._random.choice([-1, 1], (self._size, PROBES))
        self._b_probes = _exact_product(self._b, self._probes)
        report("matrices", 0.5)
        try:
            self.product = Product(self._device, self._program, self._a, self._b)
        except cl.MemoryError as error:
            raise WorkloadError(
                f"the device has no room for matrices of size {self._size}: choose a smaller size "
                f"or close other programs ({error})"
            ) from error
        report("matrices", 1.0)

    def self_test(self, vectors: Mapping[str, Any] | None = None) -> list[Check]:
        """Small products, whole tiles and not, against NumPy.

        Raises:
            WorkloadError: Vectors were given; there is no file format for products.
        """
        if vectors is not None:
            raise WorkloadError("ai.gemm has no vector files")
        return [*(self._test_integers(size) for size in (1, 128, 300)), self._test_rounding(257)]

    def cost(self) -> Cost:
        """A flop is a flop; the operands come from caches."""
        return Cost({Ceiling.FP32: 1.0})

    def launch(self, steps: int) -> Chunk:
        """Enqueue the next ``steps`` tiles of C: one kernel per pass over C that they touch."""
        start, end = self._launched, self._launched + steps
        events = []
        while self._launched < end:
            passes, tile = divmod(self._launched, self.product.tiles)
            tiles = min(end - self._launched, self.product.tiles - tile)
            events.append(self.product.enqueue(tile, tiles, _alpha(passes)))
            self._launched += tiles
        self._device.queue.flush()
        work = self.product.flop_before(end) - self.product.flop_before(start)
        return Chunk(work=work, first=events[0], last=events[-1])

    def complete(self, chunk: Chunk) -> None:
        """Nothing to keep: verify() reads C behind everything that was launched."""

    def verify(self) -> list[Check]:
        """Compare the rows of C that the last call fetched, and fetch newer ones.

        Fetching goes behind everything launched, so that each row is of one pass, and nobody
        waits for it: the device stays busy. No row finished yet: no checks.
        """
        fetched, self._fetched = self._fetched, self._fetch()
        if not fetched:
            return []
        signs = self._random.choice([-1, 1], PROBES)
        samples = -(-SAMPLES // len(fetched))
        wrong_rows: list[str] = []
        wrong_elements: list[str] = []
        for block in fetched:
            block.ready.wait()
            wrong_rows += self._wrong_rows(block, signs)
            wrong_elements += self._wrong_elements(block, samples)
        row_count = sum(len(block.computed) for block in fetched)
        return [
            _check("rows", wrong_rows, f"{row_count} rows"),
            _check("elements", wrong_elements, f"{samples * len(fetched)} elements"),
        ]

    def readings(self) -> Mapping[str, float]:
        """Its rate says it all."""
        return {}

    def frame(self) -> None:
        """A product has no picture."""

    def _require_memory(self) -> None:
        width, depth = padded(self._size, self._blocking)
        needed = 4 * width * (2 * depth + width)
        offered = self._device.memory_bytes
        largest = self._device.queue.device.max_mem_alloc_size
        if needed > offered or 4 * width**2 > largest:
            raise WorkloadError(
                f"matrices of size {self._size} need 3 x {width**2 >> 18} MiB; the device offers "
                f"{offered >> 20} MiB, {largest >> 20} MiB in one piece: choose a smaller size"
            )

    def _integers(self, size: int) -> NDArray[np.int8]:
        return self._random.integers(-MAGNITUDE, MAGNITUDE, (size, size), np.int8, endpoint=True)

    def _fetch(self) -> list[Fetched]:
        finished = self._finished_rows()
        self._verified = self._launched
        blocks = [Fetched(rows, alpha, *self.product.read(rows)) for rows, alpha in finished]
        self._device.queue.flush()
        return blocks

    def _finished_rows(self) -> list[tuple[slice, int]]:
        """Some rows of C with their alpha: finished since verify(), not being computed again."""
        per_row = self.product.tiles_per_row
        end, under_way = divmod(self._launched, per_row)
        oldest_intact = end - per_row + (under_way > 0)
        tile_rows = np.arange(max(self._verified // per_row, oldest_intact), end)
        limit = max(1, VERIFIED_ELEMENTS // (self._blocking.tile * self._size))
        return [
            (self.product.rows_of(tile_row % per_row), _alpha(tile_row // per_row))
            for tile_row in map(int, self._random.permutation(tile_rows)[:limit])
        ]

    def _wrong_rows(self, block: Fetched, signs: NDArray[np.int64]) -> list[str]:
        """Freivalds: C r against alpha A (B r), where r is a signed sum of the probes."""
        a = self._a[block.rows].astype(np.int64)
        expected = block.alpha * (a @ (self._b_probes @ signs))
        # A wrong infinity shall fail the comparison, not warn on the way there.
        with np.errstate(invalid="ignore"):
            actual = (block.computed.astype(np.float64) * (self._probes @ signs)).sum(axis=1)
        wrong = np.flatnonzero(actual != expected)
        return [f"row {block.rows.start + row} is wrong" for row in wrong]

    def _wrong_elements(self, block: Fetched, count: int) -> list[str]:
        computed, first_row = block.computed, block.rows.start
        row = self._random.integers(0, len(computed), count)
        column = self._random.integers(0, self._size, count)
        a = self._a[block.rows][row].astype(np.int64)
        expected = block.alpha * np.einsum("sk,ks->s", a, self._b[:, column].astype(np.int64))
        return [
            f"C[{first_row + row[at]}, {column[at]}] is {computed[row[at], column[at]]:.9g}, "
            f"not {expected[at]}"
            for at in np.flatnonzero(computed[row, column] != expected)
        ]

    def _test_integers(self, size: int) -> Check:
        a, b = self._integers(size), self._integers(size)
        wrong = np.argwhere(self._computed(a, b, alpha=3) != 3 * _exact_product(a, b))
        faults = [f"C[{row}, {column}] is wrong" for row, column in wrong]
        return _check(f"integers {size} x {size}", faults, f"{size**2} elements")

    def _test_rounding(self, size: int) -> Check:
        """Catches what integers do not: operands that were shortened on their way (TF32).

        Rounding errors of n terms add up to some sqrt(n) u |A| |B| with u = 2**-24: Higham and
        Mary, A New Approach to Probabilistic Rounding Error Analysis, 2019. Four times that.
        """
        a, b = self._random.standard_normal((2, size, size), np.float32).astype(np.float64)
        bound = 4 * size**0.5 * 2.0**-24 * (np.abs(a) @ np.abs(b))
        error = np.abs(self._computed(a, b, alpha=1) - a @ b)
        worst = float((error / bound).max())
        detail = f"error is {worst:.3f} of the bound"
        return Check(f"floats {size} x {size}", passed=worst <= 1, detail=detail)

    def _computed(self, a: NDArray[Any], b: NDArray[Any], alpha: int) -> NDArray[np.float32]:
        product = Product(self._device, self._program, a, b)
        product.enqueue(0, product.tiles, alpha)
        computed, ready = product.read(slice(0, product.size))
        ready.wait()
        return computed


def _alpha(passes: int) -> int:
    """Factor of the pass over C after ``passes`` others."""
    return 1 + passes % ALPHAS


def _exact_product(a: NDArray[np.int8], b: NDArray[Any]) -> NDArray[np.int64]:
    """A * B in blocks of rows; floats that hold integers below 2**53 are exact, and fast."""
    right = b.astype(np.float64)
    blocks = [a[at : at + 512].astype(np.float64) @ right for at in range(0, len(a), 512)]
    return np.concatenate(blocks).astype(np.int64)


def _check(name: str, faults: list[str], compared: str) -> Check:
    """A comparison, told by its first fault or by how much was compared."""
    if not faults:
        return Check(name, passed=True, detail=compared)
    return Check(name, passed=False, detail=f"{faults[0]}; {len(faults)} of {compared}")
