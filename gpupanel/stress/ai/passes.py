"""A load whose result is computed over and over: launches, and rows for the oracle.

The result is cut into tiles, a step of the load each; some tiles after each other are a block of
whole rows. A pass over all of them scales its results by a factor of its own: what an earlier pass
left behind is wrong.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np  # noqa: TID253 - worker process only

from gpupanel.model.errors import WorkloadError
from gpupanel.stress.ai.inputs import Inputs
from gpupanel.stress.workload import Check, Chunk, Device

if TYPE_CHECKING:
    import pyopencl as cl
    from numpy.typing import NDArray

U = 2.0**-24
"""Unit roundoff of fp32: what one rounding changes at most, relatively."""


class Result(Protocol):
    """What a load computes, on the device.

    Attributes:
        tiles: In all.
        tiles_per_block: Of which a block of rows consists.
    """

    tiles: int
    tiles_per_block: int

    def enqueue(self, first_tile: int, tiles: int, alpha: int) -> cl.Event:
        """Compute ``tiles`` tiles from ``first_tile`` on, times alpha; does not wait."""

    def rows_of(self, block: int) -> slice:
        """The rows of the result, without padding, that a block of rows covers."""

    def read(self, rows: slice) -> tuple[NDArray[Any], cl.Event]:
        """Rows of one block, after all that was enqueued before; does not wait.

        The array holds them when the event is complete.
        """

    def work_before(self, step: int) -> int:
        """Units of work of the first ``step`` tiles, pass after pass, without padding."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """A block of rows on its way to the host, without padding.

    Attributes:
        rows: Of the result.
        alpha: Factor of the pass that computed them.
        computed: What the device wrote, once ``ready`` is complete.
    """

    rows: slice
    alpha: int
    computed: NDArray[Any]
    ready: cl.Event


class Passes(ABC):
    """The part of a load's host side that is the same for all such results.

    A subclass sets ``_result``, ``_inputs`` and ``_blocks_per_verify`` in its prepare().

    Attributes:
        ALPHAS: Alpha runs from 1 to this.
    """

    ALPHAS = 61
    notes: tuple[str, ...] = ()
    _result: Result
    _inputs: Inputs
    _blocks_per_verify: int

    def __init__(self, device: Device, knobs: Mapping[str, int], seed: int) -> None:
        self._device = device
        self._knobs = knobs
        self._random = np.random.default_rng(seed)
        self._launched = 0
        self._verified = 0
        self._fetched: list[Fetched] = []

    def launch(self, steps: int) -> Chunk:
        """Enqueue the next ``steps`` tiles: one launch per pass that they touch."""
        start, end = self._launched, self._launched + steps
        events = []
        while self._launched < end:
            passes, tile = divmod(self._launched, self._result.tiles)
            tiles = min(end - self._launched, self._result.tiles - tile)
            events.append(self._result.enqueue(tile, tiles, self._alpha(passes)))
            self._launched += tiles
        self._device.queue.flush()
        work = self._result.work_before(end) - self._result.work_before(start)
        return Chunk(work=work, first=events[0], last=events[-1])

    def complete(self, chunk: Chunk) -> None:  # noqa: B027 - nothing to do is right for all
        """Nothing to keep: verify() reads the result behind everything that was launched."""

    def verify(self) -> list[Check]:
        """Compare what the last call fetched, and fetch newer rows and digests.

        Fetching goes behind everything launched, so that each row is of one pass, and nobody
        waits for it: the device stays busy. No block of rows finished yet: only the inputs.
        """
        checks = self._inputs.check()
        fetched = self._fetched
        self._inputs.enqueue()
        self._fetched = self._fetch()
        self._device.queue.flush()
        for block in fetched:
            block.ready.wait()
        return checks + self._compare(fetched) if fetched else checks

    def readings(self) -> Mapping[str, float]:
        """Its rate says it all."""
        return {}

    def frame(self) -> None:  # noqa: B027 - none of them has one
        """Numbers have no picture."""

    @abstractmethod
    def _compare(self, blocks: list[Fetched]) -> list[Check]:
        """Blocks of rows, at least one, against the oracle."""

    def _alpha(self, passes: int) -> int:
        """Factor of the pass after ``passes`` others."""
        return 1 + passes % self.ALPHAS

    def _fetch(self) -> list[Fetched]:
        """Some blocks of rows that finished since the last call and are not being overwritten."""
        per_block, blocks = self._result.tiles_per_block, self._result.tiles
        blocks //= per_block
        end, under_way = divmod(self._launched, per_block)
        first = max(self._verified // per_block, end - blocks + (under_way > 0))
        self._verified = self._launched
        count = min(end - first, self._blocks_per_verify) if end > first else 0
        chosen = first + self._random.choice(max(end - first, 1), count, replace=False)
        return [self._fetch_block(*divmod(int(number), blocks)) for number in chosen]

    def _fetch_block(self, passes: int, block: int) -> Fetched:
        rows = self._result.rows_of(block)
        return Fetched(rows, self._alpha(passes), *self._result.read(rows))


def check_of(name: str, faults: list[str], compared: str) -> Check:
    """A comparison, told by its first fault or by how much was compared."""
    if not faults:
        return Check(name, passed=True, detail=compared)
    return Check(name, passed=False, detail=f"{faults[0]}; {len(faults)} of {compared}")


def refuse_vectors(name: str, vectors: Mapping[str, Any] | None) -> None:
    """There is no file format for the results of these loads.

    Raises:
        WorkloadError: Vectors were given.
    """
    if vectors is not None:
        raise WorkloadError(f"{name} has no vector files")


def require_memory(device: Device, what: str, pieces: list[int]) -> None:
    """Whether buffers of these bytes fit.

    Args:
        device: Where they shall be.
        what: Needs them, for the text of the error.
        pieces: Bytes of each.

    Raises:
        WorkloadError: They do not.
    """
    needed, offered = sum(pieces), device.memory_bytes
    largest = device.queue.device.max_mem_alloc_size
    if needed > offered or max(pieces) > largest:
        raise WorkloadError(
            f"{what} needs {needed >> 20} MiB; the device offers {offered >> 20} MiB, "
            f"{largest >> 20} MiB in one piece: choose smaller knobs"
        )
