"""Products of small integers: every sum is exact, so that a result is either right or wrong.

The oracle is Freivalds' check on whole rows, C r = alpha A (B r) with a random vector r, in
integers, and single elements computed anew by NumPy.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any

import numpy as np  # noqa: TID253 - worker process only

from gpupanel.stress.ai.passes import Fetched, Passes, check_of
from gpupanel.stress.workload import Check

if TYPE_CHECKING:
    from numpy.typing import NDArray

PROBES = 7
"""An odd number of signs never adds up to 0: no column of C escapes a sum of probes."""

VERIFIED_ELEMENTS = 1 << 20
"""How much of C one verify() looks at, about; some 10 ms of one core."""

SAMPLES = 64
"""Elements per verify() that are computed anew one by one."""


class ExactProduct(Passes):
    """A load whose result C is a matrix of exact integers.

    A subclass sets, in its prepare(), ``_probes``, random signs (columns of C, PROBES), and
    ``_product_probes``, C times them for an alpha of 1, (rows of C, PROBES), both int64.
    """

    SLUG = "C"
    """What the result is called."""

    _probes: NDArray[np.int64]
    _product_probes: NDArray[np.int64]

    @abstractmethod
    def _exact(self, row: NDArray[np.int64], column: NDArray[np.int64]) -> NDArray[np.int64]:
        """Elements of C, by NumPy, for an alpha of 1."""

    def _draw_probes(self, columns: int) -> NDArray[np.int64]:
        return self._random.choice([-1, 1], (columns, PROBES))

    def _compare(self, blocks: list[Fetched]) -> list[Check]:
        signs = self._random.choice([-1, 1], PROBES)
        samples = -(-SAMPLES // len(blocks))
        wrong_rows: list[str] = []
        wrong_elements: list[str] = []
        for block in blocks:
            wrong_rows += self._wrong_rows(block, signs)
            wrong_elements += self._wrong_elements(block, samples)
        row_count = sum(len(block.computed) for block in blocks)
        return [
            check_of("rows", wrong_rows, f"{row_count} rows"),
            check_of("elements", wrong_elements, f"{samples * len(blocks)} elements"),
        ]

    def _wrong_rows(self, block: Fetched, signs: NDArray[np.int64]) -> list[str]:
        """Freivalds: C r against alpha A (B r), where r is a signed sum of the probes."""
        expected = block.alpha * (self._product_probes[block.rows] @ signs)
        # A wrong infinity shall fail the comparison, not warn on the way there.
        with np.errstate(invalid="ignore"):
            actual = (block.computed.astype(np.float64) * (self._probes @ signs)).sum(axis=1)
        wrong = np.flatnonzero(actual != expected)
        return [f"row {block.rows.start + row} is wrong" for row in wrong]

    def _wrong_elements(self, block: Fetched, count: int) -> list[str]:
        computed, first_row = block.computed, block.rows.start
        row = self._random.integers(0, len(computed), count)
        column = self._random.integers(0, computed.shape[1], count)
        expected = block.alpha * self._exact(first_row + row, column)
        return [
            f"{self.SLUG}[{first_row + row[at]}, {column[at]}] is "
            f"{computed[row[at], column[at]]:.9g}, not {expected[at]}"
            for at in np.flatnonzero(computed[row, column] != expected)
        ]


def exact_product(a: NDArray[Any], b: NDArray[Any]) -> NDArray[np.int64]:
    """A * B in blocks of rows; floats that hold integers below 2**53 are exact, and fast.

    Not for use while a run is measured: BLAS threads spin for a while after their work.
    """
    right = b.astype(np.float64)
    blocks = [a[at : at + 512].astype(np.float64) @ right for at in range(0, len(a), 512)]
    return np.concatenate(blocks).astype(np.int64)
