"""The matrix products against NumPy on PoCL, in the shapes of GPUs and of processors."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pyopencl as cl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpupanel.model.errors import WorkloadError
from gpupanel.model.roofline import Ceiling
from gpupanel.stress.ai import product as product_module
from gpupanel.stress.ai.gemm import Gemm, GemmFp16, GemmInt8
from gpupanel.stress.ai.inputs import Inputs
from gpupanel.stress.ai.product import FP32, INT8, Precision, Product, program_of, variants
from gpupanel.stress.catalog import WORKLOAD_BY_NAME
from gpupanel.stress.workload import Device, Variant
from tests.stress.ai import runs
from tests.stress.ai.runs import LANES, detail, failed, finish, run, verified

if TYPE_CHECKING:
    from numpy.typing import NDArray

KINDS = (Gemm, GemmFp16, GemmInt8)
GPU_VARIANTS = [
    Variant("128", 1), Variant("64", 1, {"TILE": 64, "ROWS": 64, "COLUMNS": 64})
]  # fmt: skip

MakeGemm = Callable[..., Gemm]


@pytest.fixture
def make(processor: Device) -> MakeGemm:
    def _make(size: int, lanes: int = 8, seed: int = 1, kind: type[Gemm] = Gemm) -> Gemm:
        gemm = kind(dataclasses.replace(processor, lanes=lanes), {"size": size}, seed)
        gemm.prepare(lambda step, fraction: None)
        return gemm

    return _make


@pytest.fixture(scope="module")
def product(processor: Device) -> Product:
    gemm = Gemm(dataclasses.replace(processor, lanes=8), {"size": 300}, 1)
    gemm.prepare(lambda step, fraction: None)
    return gemm.product


def fetched(product: Product, rows: slice) -> NDArray[Any]:
    computed, ready = product.read(rows)
    ready.wait()
    return computed


def overwrite(gemm: Gemm, row: int, column: int, value: float) -> None:
    runs.overwrite(gemm._device, gemm.product.c, row * gemm.product.width + column, value)


def element(gemm: Gemm, row: int, column: int) -> float:
    return float(fetched(gemm.product, slice(row, row + 1))[0, column])


def every_variant(device: Device, precision: Precision) -> list[Variant]:
    return [*variants(device, precision), *GPU_VARIANTS]


@pytest.mark.parametrize("kind", KINDS)
def test_products_are_those_of_numpy(processor: Device, kind: type[Gemm]) -> None:
    precision = kind.PRECISION
    for variant in every_variant(processor, precision):
        device = processor.with_variant(variant)
        program = program_of(device, precision)
        for size in (1, 127, 200, 384):
            random = np.random.default_rng(size)
            largest = precision.magnitude
            a, b = random.integers(-largest, largest + 1, (2, size, size))
            product = Product(device, precision, program, Inputs(device), (a, b))
            product.enqueue(0, product.tiles, alpha=7)
            computed = fetched(product, slice(0, size))
            expected = 7 * (a.astype(np.float64) @ b)
            np.testing.assert_array_equal(computed, expected, err_msg=f"{variant}, {size}")


def test_int8_takes_the_lowest_number_too(processor: Device) -> None:
    """-128 * -128 has no place in 15 bits."""
    lowest = np.full((64, 64), -128)
    for variant in every_variant(processor, INT8):
        device = processor.with_variant(variant)
        program = program_of(device, INT8)
        product = Product(device, INT8, program, Inputs(device), (lowest, lowest))
        product.enqueue(0, product.tiles, alpha=1)
        assert (fetched(product, slice(0, 64)) == 64 * 128**2).all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("lanes", LANES)
def test_self_test_passes(make: MakeGemm, lanes: int, kind: type[Gemm]) -> None:
    checks = make(256, lanes, kind=kind).self_test()
    names = ["integers 1 x 1", "integers 128 x 128", "integers 300 x 300", "floats 257 x 257"]
    assert [check.name for check in checks] == (names[:3] if kind is GemmInt8 else names)
    assert failed(checks) == []


def test_self_test_fails_on_a_product_that_is_a_little_wrong(
    make: MakeGemm, monkeypatch: pytest.MonkeyPatch
) -> None:
    gemm = make(256)
    right = Product.read

    def wrong(product: Product, rows: slice) -> Any:
        computed, ready = right(product, rows)
        ready.wait()
        computed[-1, -1] *= np.float32(1.01)
        computed[-1, -1] += np.float32(1)
        return computed, ready

    monkeypatch.setattr(Product, "read", wrong)
    assert len(failed(gemm.self_test())) == 4


def test_self_test_fails_where_operands_lose_bits(
    make: MakeGemm, monkeypatch: pytest.MonkeyPatch
) -> None:
    gemm = make(256)
    right = Product._panels

    def shortened(product: Product, matrix: Any, columns: int) -> Any:
        tf32 = matrix.astype(np.float32).view(np.uint32) & np.uint32(0xFFFFE000)
        return right(product, tf32.view(np.float32), columns)

    monkeypatch.setattr(Product, "_panels", shortened)
    # Small integers survive ten bits; only the floats tell.
    assert failed(gemm.self_test()) == ["floats 257 x 257"]


def test_there_are_no_vectors(make: MakeGemm) -> None:
    with pytest.raises(WorkloadError, match=r"ai\.gemm_int8 has no vector files"):
        make(256, kind=GemmInt8).self_test({"cases": []})


@pytest.mark.parametrize("lanes", LANES)
def test_a_run_of_uneven_launches_verifies_every_row(make: MakeGemm, lanes: int) -> None:
    gemm = make(400, lanes)
    rows = 0
    for steps in (1, 3, 5, 16, 7, 2, 30, 4, 12):
        checks = run(gemm, steps)
        assert failed(checks) == []
        rows += sum(int(check.detail.split()[0]) for check in checks if check.name == "rows")
    # 80 tiles are five passes. Rows that a later launch overwrote before anyone looked, and those
    # under way, are the difference.
    assert 3 * 400 <= rows <= 5 * 400


@given(start=st.integers(0, 300), steps=st.integers(1, 60))
def test_work_is_the_true_operations_of_the_tiles(product: Product, start: int, steps: int) -> None:
    extents = np.array([128, 128, 44])
    flop = np.tile(2 * 300 * np.outer(extents, extents).ravel(), 40)
    counted = product.work_before(start + steps) - product.work_before(start)
    assert counted == flop[start : start + steps].sum()


def test_a_pass_is_two_n_cubed(make: MakeGemm) -> None:
    gemm = make(300)
    chunk = gemm.launch(9)
    finish(gemm, chunk)
    assert chunk.work == 2 * 300**3
    # Twice and a bit: three kernels, one per pass.
    chunk = gemm.launch(19)
    finish(gemm, chunk)
    assert chunk.work == 2 * (2 * 300**3) + 2 * 300 * 128 * 128
    assert chunk.first.profile.start < chunk.last.profile.start


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize("value", [0.5, np.nan, np.inf, -np.inf])
def test_one_wrong_element_is_found_wherever_it_is(
    make: MakeGemm, lanes: int, value: float
) -> None:
    gemm = make(256, lanes)
    for row, column in [(0, 0), (255, 255), (17, 200)]:
        finish(gemm, gemm.launch(4))
        wrong = element(gemm, row, column) + value
        overwrite(gemm, row, column, wrong)
        assert detail(verified(gemm), "rows") == f"row {row} is wrong; 1 of 256 rows"
        assert failed(run(gemm, 4)) == []


def test_infinities_that_cancel_are_found(make: MakeGemm) -> None:
    gemm = make(256)
    finish(gemm, gemm.launch(4))
    overwrite(gemm, 3, 4, np.inf)
    overwrite(gemm, 3, 5, np.inf)
    overwrite(gemm, 3, 6, -np.inf)
    assert "rows" in failed(verified(gemm))


def test_errors_that_cancel_in_the_row_are_found_by_another_probe(make: MakeGemm) -> None:
    gemm = make(256)
    found = 0
    for _ in range(12):
        finish(gemm, gemm.launch(4))
        for column, error in ((10, 1), (20, -1)):
            overwrite(gemm, 5, column, element(gemm, 5, column) + error)
        found += "rows" in failed(verified(gemm))
    # One probe may miss it; that the next is another one makes it visible.
    assert 0 < found < 12


def test_single_elements_are_compared_too(make: MakeGemm) -> None:
    gemm = make(256)
    finish(gemm, gemm.launch(4))
    host = np.zeros((256, 256), np.float32)
    cl.enqueue_copy(gemm._device.queue, gemm.product.c, host)
    checks = verified(gemm)
    assert failed(checks) == ["rows", "elements"]
    assert "is 0, not" in detail(checks, "elements")
    assert "64 elements" in detail(checks, "elements")


@pytest.mark.parametrize("stale_passes", [1, 2, 3])
def test_results_of_an_earlier_pass_are_wrong(
    make: MakeGemm, monkeypatch: pytest.MonkeyPatch, stale_passes: int
) -> None:
    gemm = make(256)
    assert failed(run(gemm, 4)) == []

    def enqueue_nothing(first_tile: int, tiles: int, alpha: int) -> cl.Event:
        return cl.enqueue_marker(gemm._device.queue)

    monkeypatch.setattr(gemm.product, "enqueue", enqueue_nothing)
    assert failed(run(gemm, 4 * stale_passes)) == ["rows", "elements"]


def test_one_tile_that_was_not_computed_is_found(
    make: MakeGemm, monkeypatch: pytest.MonkeyPatch
) -> None:
    gemm = make(256)
    assert failed(run(gemm, 4)) == []
    right = gemm.product.enqueue

    def skip_the_last(first_tile: int, tiles: int, alpha: int) -> cl.Event:
        return right(first_tile, tiles - 1, alpha)

    monkeypatch.setattr(gemm.product, "enqueue", skip_the_last)
    assert detail(run(gemm, 4), "rows") == "row 128 is wrong; 128 of 256 rows"


def test_c_is_poisoned_before_the_first_pass(make: MakeGemm) -> None:
    gemm = make(256)
    assert np.isnan(fetched(gemm.product, slice(0, 256))).all()


def test_nothing_finished_is_nothing_verified(make: MakeGemm) -> None:
    gemm = make(256)
    assert [check.name for check in verified(gemm)] == ["inputs"]
    assert [check.name for check in run(gemm, 1)] == ["inputs"]
    # The second tile ends the first row of tiles.
    assert [check.detail for check in run(gemm, 1)][1:] == ["128 rows", "64 elements"]
    # A whole pass more and one tile: the first row of tiles is under way again.
    assert [check.detail for check in run(gemm, 3)][1:] == ["128 rows", "64 elements"]


def test_verify_looks_behind_chunks_in_flight(make: MakeGemm) -> None:
    gemm = make(256)
    first, second = gemm.launch(6), gemm.launch(7)
    finish(gemm, first)
    assert failed(verified(gemm)) == []
    finish(gemm, second)


def test_alpha_repeats_only_after_all_of_them(make: MakeGemm) -> None:
    gemm = make(128)
    values = []
    for _ in range(gemm.ALPHAS + 1):
        finish(gemm, gemm.launch(1))
        values.append(element(gemm, 1, 2))
    assert len(set(values[: gemm.ALPHAS])) == gemm.ALPHAS
    assert values[gemm.ALPHAS] == values[0] != 0


@pytest.mark.parametrize("kind", KINDS)
def test_exact_up_to_the_largest_size(kind: type[Gemm]) -> None:
    size = next(knob for knob in WORKLOAD_BY_NAME[kind.NAME].knobs if knob.name == "size")
    one = kind.PRECISION
    largest = one.alphas * size.high * one.magnitude**2
    assert largest < (2**31 if kind is GemmInt8 else 2**24)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("matrix", ["a", "b"])
def test_one_bit_of_an_operand_is_reported(make: MakeGemm, kind: type[Gemm], matrix: str) -> None:
    gemm = make(256, kind=kind)
    assert failed(run(gemm, 4)) == []
    runs.flip_bit(gemm._device, getattr(gemm.product, matrix), 77)
    checks = run(gemm, 4)
    assert "inputs" in failed(checks)
    assert detail(checks, "inputs") == f"memory changed: {matrix.upper()}"


@pytest.mark.parametrize("kind", KINDS)
def test_one_wrong_operand_makes_wrong_rows(make: MakeGemm, kind: type[Gemm]) -> None:
    gemm = make(256, kind=kind)
    assert failed(run(gemm, 4)) == []
    runs.flip_bit(gemm._device, gemm.product.b, 0, bit=7 if kind is GemmInt8 else 30)
    assert set(failed(run(gemm, 4))) >= {"inputs", "rows"}


def test_costs_are_of_the_unit_that_adds(processor: Device) -> None:
    gpu = dataclasses.replace(processor, lanes=1)
    fast = dataclasses.replace(gpu, macros={"DP4A": 1})
    size = {"size": 256}
    assert Gemm(gpu, size, 1).cost().amounts == {Ceiling.FP32: 1.0}
    assert GemmInt8(processor, size, 1).cost().amounts == {Ceiling.FP32: 1.0}
    assert GemmInt8(gpu, size, 1).cost().amounts == {Ceiling.INT32: 1.0}
    assert GemmInt8(fast, size, 1).cost().amounts == {Ceiling.INT32: 0.125}


def test_dp4a_is_offered_on_nvidia_alone(
    processor: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpu = dataclasses.replace(processor, is_cpu=False, lanes=1)
    assert [one.lanes for one in variants(gpu, INT8)] == [1, 1]
    monkeypatch.setattr(product_module, "is_nvidia", lambda device: True)
    assert variants(gpu, INT8)[-1].macros["DP4A"] == 1
    assert all("DP4A" not in one.macros for one in variants(gpu, FP32))


def test_the_same_seed_gives_the_same_product(make: MakeGemm) -> None:
    results = []
    for seed in (5, 5, 6):
        gemm = make(130, seed=seed)
        finish(gemm, gemm.launch(4))
        results.append(fetched(gemm.product, slice(0, 130)))
    np.testing.assert_array_equal(results[0], results[1])
    assert not np.array_equal(results[0], results[2])


def test_notes_tell_variant_and_padding(processor: Device) -> None:
    notes = Gemm(processor, {"size": 300}, 1).notes
    assert "fp32, register tiles of" in notes[0]
    assert notes[1] == "computed as 384 x 384; only true operations are counted"
    assert len(Gemm(processor, {"size": 384}, 1).notes) == 1


def test_matrices_that_do_not_fit_are_refused(processor: Device) -> None:
    device = dataclasses.replace(processor, memory_bytes=3 * 1024 * 1024)
    gemm = Gemm(device, {"size": 1024}, 1)
    with pytest.raises(
        WorkloadError, match=r"size 1024 needs 12 MiB; the device offers 3 MiB.*smaller"
    ):
        gemm.prepare(lambda step, fraction: None)


def test_preparing_reports_to_its_end(processor: Device) -> None:
    reports: list[tuple[str, float]] = []
    gemm = Gemm(processor, {"size": 256}, 1)
    gemm.prepare(lambda step, fraction: reports.append((step, fraction)))
    assert reports[0] == ("kernel", 0.0)
    assert reports[-1] == ("matrices", 1.0)
