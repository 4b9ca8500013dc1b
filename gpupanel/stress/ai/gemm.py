"""The loads ``ai.gemm``, ``ai.gemm_fp16`` and ``ai.gemm_int8``: C = alpha * A * B.

The product under every neural network, in fp32, with operands in fp16 and sums in fp32, and in
int8 with sums in int32. The matrices hold integers so small that all three are exact.
Both operands are cut into the kernel's panels once, before the run, as inference engines do with
their weights; the measured work is the product alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np  # noqa: TID253 - worker process only
import pyopencl as cl  # noqa: TID253 - worker process only

from gpupanel.model.errors import WorkloadError
from gpupanel.model.roofline import Ceiling, Cost
from gpupanel.stress.ai import product
from gpupanel.stress.ai.exact import VERIFIED_ELEMENTS, ExactProduct, exact_product
from gpupanel.stress.ai.inputs import Inputs
from gpupanel.stress.ai.passes import check_of, refuse_vectors, require_memory
from gpupanel.stress.ai.product import Blocking, Precision, Product
from gpupanel.stress.workload import Check, Device, Report, Variant

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Gemm(ExactProduct):
    """Host side of ``ai.gemm``. One step is one tile of C; tiles follow each other cyclically.

    Attributes:
        product: Set by prepare().
    """

    NAME: ClassVar[str] = "ai.gemm"
    PRECISION: ClassVar[Precision] = product.FP32
    product: Product

    def __init__(self, device: Device, knobs: Mapping[str, int], seed: int) -> None:
        super().__init__(device, knobs, seed)
        self.ALPHAS = self.PRECISION.alphas
        self._size = size = knobs["size"]
        blocking = Blocking.of(device)
        self.notes = (f"{self.PRECISION.text}, {blocking}, operands packed before the run",)
        width = blocking.width_of(size)
        if width != size:
            self.notes += (f"computed as {width} x {width}; only true operations are counted",)
        self._blocks_per_verify = max(1, VERIFIED_ELEMENTS // (blocking.tile * size))

    @classmethod
    def variants(cls, device: Device) -> tuple[Variant, ...]:
        """By vector width and blocking."""
        return product.variants(device, cls.PRECISION)

    def prepare(self, report: Report) -> None:
        """Build the program, draw the matrices and carry them to the device."""
        what = f"a product of size {self._size}"
        require_memory(
            self._device, what, product.bytes_of(self._device, self.PRECISION, self._size)
        )
        report("kernel", 0.0)
        self._program = product.program_of(self._device, self.PRECISION)
        self._inputs = Inputs(self._device)
        report("matrices", 0.0)
        self._a, self._b = self._integers(self._size), self._integers(self._size)
        self._probes = self._draw_probes(self._size)
        b_probes = exact_product(self._b, self._probes)
        self._product_probes = exact_product(self._a, b_probes)
        report("matrices", 0.5)
        try:
            self.product = self._result = self._product(self._a, self._b, self._inputs)
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
        refuse_vectors(self.NAME, vectors)
        checks = [self._test_integers(size) for size in (1, 128, 300)]
        if self.PRECISION is not product.INT8:
            checks.append(self._test_rounding(257))
        return checks

    def cost(self) -> Cost:
        """An operation is an operation; the operands come from caches."""
        return Cost({Ceiling.FP32: 1.0})

    def _product(self, a: NDArray[Any], b: NDArray[Any], inputs: Inputs) -> Product:
        return Product(self._device, self.PRECISION, self._program, inputs, (a, b))

    def _integers(self, size: int) -> NDArray[np.int8]:
        magnitude = self.PRECISION.magnitude
        return self._random.integers(-magnitude, magnitude, (size, size), np.int8, endpoint=True)

    def _exact(self, row: NDArray[np.int64], column: NDArray[np.int64]) -> NDArray[np.int64]:
        a, b = self._a[row].astype(np.int64), self._b[:, column].astype(np.int64)
        elements: NDArray[np.int64] = np.einsum("sk,ks->s", a, b)
        return elements

    def _test_integers(self, size: int) -> Check:
        a, b = self._integers(size), self._integers(size)
        wrong = np.argwhere(self._computed(a, b, alpha=3) != 3 * exact_product(a, b))
        faults = [f"C[{row}, {column}] is wrong" for row, column in wrong]
        return check_of(f"integers {size} x {size}", faults, f"{size**2} elements")

    def _test_rounding(self, size: int) -> Check:
        """Catches what integers do not: operands that were shortened on their way (TF32).

        Rounding errors of n terms add up to some sqrt(n) u |A| |B| with u = 2**-24: Higham and
        Mary, A New Approach to Probabilistic Rounding Error Analysis, 2019. Four times that.
        """
        floats = self._random.standard_normal((2, size, size)).astype(self.PRECISION.operand)
        a, b = floats.astype(np.float64)
        bound = 4 * size**0.5 * 2.0**-24 * (np.abs(a) @ np.abs(b))
        error = np.abs(self._computed(a, b, alpha=1) - a @ b)
        worst = float((error / bound).max())
        detail = f"error is {worst:.3f} of the bound"
        return Check(f"floats {size} x {size}", passed=worst <= 1, detail=detail)

    def _computed(self, a: NDArray[Any], b: NDArray[Any], alpha: int) -> NDArray[Any]:
        small = self._product(a, b, Inputs(self._device))
        small.enqueue(0, small.tiles, alpha)
        computed, ready = small.read(slice(0, small.size))
        ready.wait()
        return computed


class GemmFp16(Gemm):
    """Host side of ``ai.gemm_fp16``: operands take half the memory."""

    NAME = "ai.gemm_fp16"
    PRECISION = product.FP16


class GemmInt8(Gemm):
    """Host side of ``ai.gemm_int8``."""

    NAME = "ai.gemm_int8"
    PRECISION = product.INT8

    def cost(self) -> Cost:
        """A processor multiplies int8 as floats, a GPU as integers; dp4a does eight at once."""
        if self._device.lanes > 1:
            return super().cost()
        return Cost({Ceiling.INT32: 1 / 8 if self._device.macros.get("DP4A") else 1.0})
