"""The load ``ai.attention``: causal attention of a whole prompt, as in the prefill of a model.

Scores are computed block by block and never reach memory. The oracle is NumPy in float64 on
sampled positions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

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
from gpupanel.stress.ai.product import panels
from gpupanel.stress.program import build
from gpupanel.stress.workload import Check, Device, Report, Variant

if TYPE_CHECKING:
    from numpy.typing import NDArray

KERNEL_FILE = "ai_attention.cl"

POSITIONS_MULTIPLE = 128
"""Of QUERIES and KEYS of every variant."""

ITEMS_GPU = 128

DEFAULTS_BY_LANES: Mapping[int, Mapping[str, int]] = {
    1: {"QUERIES": 32, "KEYS": 16},
    8: {"QUERIES": 16, "KEYS": 64, "ROWS": 4},
    16: {"QUERIES": 32, "KEYS": 64, "ROWS": 8},
}

BLOCKS_PER_VERIFY = 4
ROWS_PER_BLOCK = 4
"""Positions of a block of queries that verify() looks at; 16 x 4096 keys take some 30 ms."""

LOG2_E = 1.4426950408889634


class Heads:
    """Attention of every head on the device; a ``passes.Result``.

    A tile and block is QUERIES positions of one head; rows are positions, head after head.

    Attributes:
        operands: Q, K and V, cut as the kernel wants them.
        o: The result; NaN until it is computed.
    """

    tiles_per_block = 1

    def __init__(
        self, device: Device, program: cl.Program, inputs: Inputs, qkv: NDArray[np.float32]
    ) -> None:
        self._queue = device.queue
        self._lanes = device.lanes
        macros = macros_of(device)
        self._queries = macros["QUERIES"]
        self._heads, self._positions, self._head_dim = qkv.shape[1:]
        blocks = -(-self._positions // self._queries)
        self._blocks = blocks
        self.tiles = self._heads * blocks
        self._padded = padded = padded_positions(self._positions)
        cut = self._cut(qkv, macros)
        self.operands = [inputs.upload(*pair) for pair in zip("QKV", cut, strict=True)]
        size = 4 * self._heads * padded * self._head_dim
        self.o = cl.Buffer(device.context, cl.mem_flags.READ_WRITE, size)
        cl.enqueue_fill_buffer(self._queue, self.o, np.float32(np.nan), 0, size)
        self._kernel = cl.Kernel(program, "attend")
        scale = np.float32(LOG2_E / self._head_dim**0.5)  # powers of two instead of e
        self._kernel.set_args(
            *self.operands, self.o, np.uint32(padded), np.uint32(blocks), np.uint32(0), scale,
            np.float32(1),
            *map(cl.LocalMemory, local_bytes(macros, self._head_dim) if self._lanes == 1 else ()),
        )  # fmt: skip

    def _cut(self, qkv: NDArray[np.float32], macros: Mapping[str, int]) -> list[NDArray[Any]]:
        """Q, K and V as drawn in ai_attention.cl, padded with zeros."""
        padded = np.zeros((3, self._heads, self._padded, self._head_dim), np.float32)
        padded[:, :, : self._positions] = qkv
        if self._lanes == 1:
            return list(padded)
        q, k, v = padded
        return [
            panels(q.swapaxes(1, 2), self._queries),
            panels(k.swapaxes(1, 2), macros["ROWS"]),
            panels(v, macros["ROWS"]),
        ]

    def enqueue(self, first_tile: int, tiles: int, alpha: int) -> cl.Event:
        """As in ``passes.Result``."""
        self._kernel.set_arg(6, np.uint32(first_tile))
        self._kernel.set_arg(8, np.float32(alpha))
        items = ITEMS_GPU if self._lanes == 1 else 1
        return cl.enqueue_nd_range_kernel(self._queue, self._kernel, (tiles * items,), (items,))

    def rows_of(self, block: int) -> slice:
        """As in ``passes.Result``."""
        head, in_head = divmod(block, self._blocks)
        start = in_head * self._queries
        end = min(start + self._queries, self._positions)
        return slice(head * self._positions + start, head * self._positions + end)

    def read(self, rows: slice) -> tuple[NDArray[Any], cl.Event]:
        """As in ``passes.Result``."""
        head, start = divmod(rows.start, self._positions)
        host = np.empty(self._queries * self._head_dim, np.float32)
        offset = 4 * self._head_dim * (head * self._padded + start)
        event = cl.enqueue_copy(self._queue, host, self.o, src_offset=offset, is_blocking=False)
        if self._lanes == 1:
            block = host.reshape(self._queries, self._head_dim)
        else:
            block = host.reshape(self._head_dim, self._queries).T
        return block[: rows.stop - rows.start], event

    def work_before(self, step: int) -> int:
        """4 * HEAD_DIM flop for every pair of a position and one that it attends to."""
        passes, tile = divmod(step, self.tiles)
        heads, block = divmod(tile, self._blocks)
        positions = min(block * self._queries, self._positions)
        of_a_head = _pairs(self._positions)
        pairs = (passes * self._heads + heads) * of_a_head + _pairs(positions)
        flop: int = 4 * self._head_dim * pairs
        return flop


class Attention(Passes):
    """Host side of ``ai.attention``. One step is a block of queries of one head.

    Attributes:
        result: Set by prepare().
    """

    NAME = "ai.attention"
    result: Heads

    def __init__(self, device: Device, knobs: Mapping[str, int], seed: int) -> None:
        super().__init__(device, knobs, seed)
        self._shape = knobs["heads"], knobs["seq"], knobs["head_dim"]
        queries = macros_of(device)["QUERIES"]
        self.notes = (f"fp32, causal, blocks of {queries} queries; powers are not counted as flop",)
        self._blocks_per_verify = BLOCKS_PER_VERIFY

    @classmethod
    def variants(cls, device: Device) -> tuple[Variant, ...]:
        """By how many keys a block looks at together, and by vector width."""
        if not device.is_cpu:
            room = device.queue.device.local_mem_size
            counts = [16, *(n for n in (32,) if room >= sum(local_bytes({"KEYS": n}, 128)))]
            return tuple(
                Variant(f"{keys} keys at a time", 1, {"QUERIES": 32, "KEYS": keys})
                for keys in counts
            )
        return tuple(
            Variant(f"vectors of {lanes}, {keys} keys at a time", lanes,
                    {**DEFAULTS_BY_LANES[lanes], "KEYS": keys})
            for lanes in ((16, 8) if device.lanes > 8 else (8,))
            for keys in (64, 128)
        )  # fmt: skip

    def prepare(self, report: Report) -> None:
        """Build the program, draw Q, K and V and carry them to the device."""
        heads, positions, head_dim = self._shape
        size = 4 * heads * padded_positions(positions) * head_dim
        require_memory(
            self._device, f"attention of {heads} heads, {positions} positions", [size] * 4
        )
        report("kernel", 0.0)
        macros = {**macros_of(self._device), "LANES": self._device.lanes, "HEAD_DIM": head_dim}
        self._program = build(self._device.context, KERNEL_FILE, macros)
        self._inputs = Inputs(self._device)
        report("numbers", 0.0)
        self._qkv = self._draw(self._shape)
        report("numbers", 0.5)
        self._result = self.result = self._on_device(self._qkv, self._inputs)
        report("numbers", 1.0)

    def self_test(self, vectors: Mapping[str, Any] | None = None) -> list[Check]:
        """All positions of two heads, whole blocks and not, flat scores and steep ones.

        Raises:
            WorkloadError: Vectors were given; there is no file format for them.
        """
        refuse_vectors(self.NAME, vectors)
        return [
            self._test(positions, steepness)
            for positions, steepness in ((1, 1), (128, 1), (200, 1), (300, 6))
        ]

    def cost(self) -> Cost:
        """Two products; the keys and values of a head come from caches."""
        return Cost({Ceiling.FP32: 1.0})

    def _compare(self, blocks: list[Fetched]) -> list[Check]:
        faults: list[str] = []
        for block in blocks:
            rows = len(block.computed)
            chosen = self._random.choice(rows, min(ROWS_PER_BLOCK, rows), replace=False)
            faults += self._faults(self._qkv, block, np.sort(chosen))
        return [check_of("positions", faults, f"{ROWS_PER_BLOCK * len(blocks)} positions")]

    def _faults(
        self, qkv: NDArray[np.float32], block: Fetched, chosen: NDArray[np.int64]
    ) -> list[str]:
        head, start = divmod(block.rows.start, qkv.shape[2])
        q, k, v = qkv[:, head]
        expected, bound = reference(q, k, v, start + chosen)
        error = np.abs(block.computed[chosen] / block.alpha - expected)
        wrong = np.flatnonzero(~(error <= bound).all(axis=1))  # NaN is wrong
        return [f"head {head}, position {start + chosen[row]} is wrong" for row in wrong]

    def _test(self, positions: int, steepness: int) -> Check:
        qkv = self._draw((2, positions, self._shape[2]))
        qkv[0] *= steepness
        heads = self._on_device(qkv, Inputs(self._device))
        heads.enqueue(0, heads.tiles, 3)
        faults: list[str] = []
        for tile in range(heads.tiles):
            rows = heads.rows_of(tile)
            block = Fetched(rows, 3, *heads.read(rows))
            block.ready.wait()
            faults += self._faults(qkv, block, np.arange(len(block.computed)))
        name = f"{positions} positions, scores of {steepness}"
        return check_of(name, faults, f"{2 * positions} positions")

    def _draw(self, shape: tuple[int, int, int]) -> NDArray[np.float32]:
        return self._random.standard_normal((3, *shape), np.float32)

    def _on_device(self, qkv: NDArray[np.float32], inputs: Inputs) -> Heads:
        return Heads(self._device, self._program, inputs, qkv)


def reference(
    q: NDArray[Any], k: NDArray[Any], v: NDArray[Any], positions: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What some positions of one head get, in float64, and how far fp32 may be off.

    A score is a sum of HEAD_DIM products: off by 4 sqrt(HEAD_DIM) u sum |q k| at most (Higham and
    Mary, 2019), and by what scaling it and subtracting the largest round, 4 u of its magnitude.
    Powers are off by as much, relatively, and by 8 u of their own, in numerator and denominator;
    the sums over keys by 4 sqrt(keys) u.
    """
    q = q[positions].astype(np.float64) / q.shape[1] ** 0.5
    k, v = (part[: positions.max() + 1].astype(np.float64) for part in (k, v))
    # No BLAS: its threads would spin beside the run.
    scores = np.einsum("qd,kd->qk", q, k)
    magnitudes = np.einsum("qd,kd->qk", np.abs(q), np.abs(k))
    ahead = np.arange(len(k)) > positions[:, None]
    scores[ahead], magnitudes[ahead] = -np.inf, 0
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    powers /= powers.sum(axis=1, keepdims=True)
    score_error = (4 * q.shape[1] ** 0.5 + 4) * U * magnitudes.max(axis=1, keepdims=True)
    relative = 2 * score_error + (16 + 8 * len(k) ** 0.5) * U
    return np.einsum("qk,kd->qd", powers, v), relative * np.einsum("qk,kd->qd", powers, np.abs(v))


def macros_of(device: Device) -> dict[str, int]:
    """Those of the device's variant, over the safest for its lanes."""
    return {**DEFAULTS_BY_LANES[device.lanes], **device.macros}


def local_bytes(macros: Mapping[str, int], head_dim: int) -> list[int]:
    """What a GPU's work-group takes of local memory: queries, keys or values, scores."""
    queries, keys = DEFAULTS_BY_LANES[1]["QUERIES"], macros["KEYS"]
    pitch = 4 * (head_dim + 4)
    return [queries * pitch, keys * pitch, 4 * queries * keys]


def padded_positions(positions: int) -> int:
    """In whole blocks of queries and of keys."""
    return -(-positions // POSITIONS_MULTIPLE) * POSITIONS_MULTIPLE


def _pairs(positions: int) -> int:
    """Each position with itself and all before it."""
    return positions * (positions + 1) // 2
