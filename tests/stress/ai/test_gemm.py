"""The matrix product against NumPy on PoCL, in the shapes of GPUs and of processors."""

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
from gpupanel.stress.ai.gemm import ALPHAS, BLOCKING_BY_LANES, Gemm, Product
from gpupanel.stress.catalog import WORKLOAD_BY_NAME
from gpupanel.stress.device import open_device
from gpupanel.stress.program import build
from gpupanel.stress.workload import Check, Chunk, Device

if TYPE_CHECKING:
    from numpy.typing import NDArray

LANES = sorted(BLOCKING_BY_LANES)

MakeGemm = Callable[..., Gemm]


@pytest.fixture(scope="module")
def processor() -> Device:
    return open_device("cpu", None)


@pytest.fixture
def make(processor: Device) -> MakeGemm:
    def _make(size: int, lanes: int = 8, seed: int = 1) -> Gemm:
        gemm = Gemm(dataclasses.replace(processor, lanes=lanes), {"size": size}, seed)
        gemm.prepare(lambda step, fraction: None)
        return gemm

    return _make


@pytest.fixture(scope="module")
def product(processor: Device) -> Product:
    gemm = Gemm(processor, {"size": 300}, 1)
    gemm.prepare(lambda step, fraction: None)
    return gemm.product


def finish(gemm: Gemm, chunk: Chunk) -> None:
    chunk.last.wait()
    gemm.complete(chunk)


def run(gemm: Gemm, steps: int) -> list[Check]:
    finish(gemm, gemm.launch(steps))
    return verified(gemm)


def verified(gemm: Gemm) -> list[Check]:
    """What verify() says of all that was launched: one call fetches, the next compares."""
    gemm.verify()
    return gemm.verify()


def fetched(product: Product, rows: slice) -> NDArray[np.float32]:
    computed, ready = product.read(rows)
    ready.wait()
    return computed


def passed(checks: list[Check]) -> list[bool]:
    return [check.passed for check in checks]


def overwrite(gemm: Gemm, row: int, column: int, value: float) -> None:
    """What a fault of the device's memory would do."""
    offset = 4 * (row * gemm.product.width + column)
    cl.enqueue_copy(
        gemm.product.queue, gemm.product.c, np.full(1, value, np.float32), dst_offset=offset
    )


def element(gemm: Gemm, row: int, column: int) -> float:
    return float(fetched(gemm.product, slice(row, row + 1))[0, column])


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize("size", [1, 127, 128, 200, 384])
def test_products_are_those_of_numpy(processor: Device, lanes: int, size: int) -> None:
    device = dataclasses.replace(processor, lanes=lanes)
    blocking = BLOCKING_BY_LANES[lanes]
    macros = {"LANES": lanes, "TILE": 128, "ROWS": blocking.rows, "COLUMNS": blocking.columns}
    random = np.random.default_rng(size)
    a, b = random.integers(-4, 5, (2, size, size))
    product = Product(device, build(device.context, "ai_gemm.cl", macros), a, b)
    assert np.isnan(fetched(product, slice(0, size))).all()
    product.enqueue(0, product.tiles, alpha=7)
    np.testing.assert_array_equal(fetched(product, slice(0, size)), 7 * (a @ b))


@pytest.mark.parametrize("lanes", LANES)
def test_self_test_passes(make: MakeGemm, lanes: int) -> None:
    checks = make(256, lanes).self_test()
    assert [check.name for check in checks] == [
        "integers 1 x 1",
        "integers 128 x 128",
        "integers 300 x 300",
        "floats 257 x 257",
    ]
    assert all(passed(checks)), checks


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
    assert passed(gemm.self_test()) == [False] * 4


def test_self_test_fails_where_operands_lose_bits(
    make: MakeGemm, monkeypatch: pytest.MonkeyPatch
) -> None:
    gemm = make(256)
    right = Product._panels

    def shortened(product: Product, matrix: Any, columns: int, depth: int) -> cl.Buffer:
        tf32 = matrix.astype(np.float32).view(np.uint32) & np.uint32(0xFFFFE000)
        return right(product, tf32.view(np.float32), columns, depth)

    monkeypatch.setattr(Product, "_panels", shortened)
    # Small integers survive ten bits; only the floats tell.
    assert passed(gemm.self_test()) == [True, True, True, False]


def test_there_are_no_vectors(make: MakeGemm) -> None:
    with pytest.raises(WorkloadError, match=r"ai\.gemm has no vector files"):
        make(256).self_test({"cases": []})


@pytest.mark.parametrize("lanes", LANES)
def test_a_run_of_uneven_launches_verifies_every_row(make: MakeGemm, lanes: int) -> None:
    gemm = make(400, lanes)
    rows = 0
    for steps in (1, 3, 5, 16, 7, 2, 30, 4, 12):
        checks = run(gemm, steps)
        assert all(passed(checks)), checks
        rows += sum(int(check.detail.split()[0]) for check in checks if check.name == "rows")
    # 80 tiles are five passes. Rows that a later launch overwrote before anyone looked, and those
    # under way, are the difference.
    assert 3 * 400 <= rows <= 5 * 400


@given(start=st.integers(0, 300), steps=st.integers(1, 60))
def test_work_is_the_true_operations_of_the_tiles(product: Product, start: int, steps: int) -> None:
    extents = np.array([128, 128, 44])
    flop = np.tile(2 * 300 * np.outer(extents, extents).ravel(), 40)
    counted = product.flop_before(start + steps) - product.flop_before(start)
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
        rows, _ = verified(gemm)
        assert not rows.passed
        assert rows.detail == f"row {row} is wrong; 1 of 256 rows"
        assert all(passed(run(gemm, 4)))


def test_infinities_that_cancel_are_found(make: MakeGemm) -> None:
    gemm = make(256)
    finish(gemm, gemm.launch(4))
    overwrite(gemm, 3, 4, np.inf)
    overwrite(gemm, 3, 5, np.inf)
    overwrite(gemm, 3, 6, -np.inf)
    assert not verified(gemm)[0].passed


def test_errors_that_cancel_in_the_row_are_found_by_another_probe(make: MakeGemm) -> None:
    gemm = make(256)
    found = 0
    for _ in range(12):
        finish(gemm, gemm.launch(4))
        for column, error in ((10, 1), (20, -1)):
            overwrite(gemm, 5, column, element(gemm, 5, column) + error)
        found += not verified(gemm)[0].passed
    # One probe may miss it; that the next is another one makes it visible.
    assert 0 < found < 12


def test_single_elements_are_compared_too(make: MakeGemm) -> None:
    gemm = make(256)
    finish(gemm, gemm.launch(4))
    host = np.zeros((256, 256), np.float32)
    cl.enqueue_copy(gemm.product.queue, gemm.product.c, host)
    _, elements = verified(gemm)
    assert not elements.passed
    assert "is 0, not" in elements.detail
    assert "64 elements" in elements.detail


@pytest.mark.parametrize("stale_passes", [1, 2, 3])
def test_results_of_an_earlier_pass_are_wrong(
    make: MakeGemm, monkeypatch: pytest.MonkeyPatch, stale_passes: int
) -> None:
    gemm = make(256)
    assert passed(run(gemm, 4)) == [True, True]

    def enqueue_nothing(first_tile: int, tiles: int, alpha: int) -> cl.Event:
        return cl.enqueue_marker(gemm.product.queue)

    monkeypatch.setattr(gemm.product, "enqueue", enqueue_nothing)
    assert passed(run(gemm, 4 * stale_passes)) == [False, False]


def test_one_tile_that_was_not_computed_is_found(
    make: MakeGemm, monkeypatch: pytest.MonkeyPatch
) -> None:
    gemm = make(256)
    assert all(passed(run(gemm, 4)))
    right = gemm.product.enqueue

    def skip_the_last(first_tile: int, tiles: int, alpha: int) -> cl.Event:
        return right(first_tile, tiles - 1, alpha)

    monkeypatch.setattr(gemm.product, "enqueue", skip_the_last)
    rows, _ = run(gemm, 4)
    assert rows.detail == "row 128 is wrong; 128 of 256 rows"


def test_c_is_poisoned_before_the_first_pass(make: MakeGemm) -> None:
    gemm = make(256)
    assert np.isnan(fetched(gemm.product, slice(0, 256))).all()


def test_nothing_finished_is_nothing_verified(make: MakeGemm) -> None:
    gemm = make(256)
    assert verified(gemm) == []
    assert run(gemm, 1) == []
    # The second tile ends the first row of tiles.
    assert [check.detail for check in run(gemm, 1)] == ["128 rows", "64 elements"]
    # A whole pass more and one tile: the first row of tiles is under way again.
    assert [check.detail for check in run(gemm, 3)] == ["128 rows", "64 elements"]


def test_verify_looks_behind_chunks_in_flight(make: MakeGemm) -> None:
    gemm = make(256)
    first, second = gemm.launch(6), gemm.launch(7)
    finish(gemm, first)
    assert all(passed(verified(gemm)))
    finish(gemm, second)


def test_alpha_repeats_only_after_all_of_them(make: MakeGemm) -> None:
    gemm = make(128)
    values = []
    for _ in range(ALPHAS + 1):
        finish(gemm, gemm.launch(1))
        values.append(element(gemm, 1, 2))
    assert len(set(values[:ALPHAS])) == ALPHAS
    assert values[ALPHAS] == values[0] != 0


def test_exact_up_to_the_largest_size() -> None:
    size = next(knob for knob in WORKLOAD_BY_NAME["ai.gemm"].knobs if knob.name == "size")
    largest = ALPHAS * size.high * 4 * 4
    assert np.float32(largest) == largest
    assert largest < 2**24


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
    assert "vectors of 16" in notes[0] or "vectors of 8" in notes[0]
    assert notes[1] == "computed as 384 x 384; only true operations are counted"
    assert len(Gemm(processor, {"size": 384}, 1).notes) == 1


def test_matrices_that_do_not_fit_are_refused(processor: Device) -> None:
    device = dataclasses.replace(processor, memory_bytes=3 * 1024 * 1024)
    gemm = Gemm(device, {"size": 1024}, 1)
    with pytest.raises(WorkloadError, match=r"need 3 x 4 MiB; the device offers 3 MiB.*smaller"):
        gemm.prepare(lambda step, fraction: None)


def test_preparing_reports_to_its_end(processor: Device) -> None:
    reports: list[tuple[str, float]] = []
    gemm = Gemm(processor, {"size": 256}, 1)
    gemm.prepare(lambda step, fraction: reports.append((step, fraction)))
    assert reports[0] == ("kernel", 0.0)
    assert reports[-1] == ("matrices", 1.0)
