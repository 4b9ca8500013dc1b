"""The normalisations against NumPy on PoCL, in the shapes of GPUs and of processors."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest

from gpupanel.model.errors import WorkloadError
from gpupanel.stress.ai.norm import LayerNorm, Norm, RmsNorm, Softmax
from gpupanel.stress.workload import Device
from tests.stress.ai.runs import (
    LANES,
    detail,
    failed,
    finish,
    flip_bit,
    overwrite,
    run,
    verified,
    word_of,
)

KINDS = (LayerNorm, RmsNorm, Softmax)
WIDTH = 1024

Make = Callable[..., Norm]


@pytest.fixture
def make(processor: Device) -> Make:
    def _make(kind: type[Norm], lanes: int = 8, rows: int = 64, seed: int = 1) -> Norm:
        device = dataclasses.replace(processor, lanes=lanes)
        norm = kind(device, {"rows": rows, "width": WIDTH}, seed)
        norm.prepare(lambda step, fraction: None)
        return norm

    return _make


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("lanes", LANES)
def test_rows_are_those_of_numpy(make: Make, kind: type[Norm], lanes: int) -> None:
    norm = make(kind, lanes)
    assert failed(norm.self_test()) == []
    for steps in (1, 2, 5, 4):
        assert failed(run(norm, steps)) == []


def test_the_references_are_the_textbook() -> None:
    x = np.array([[1.0, 2.0, 3.0, 4.0]])
    norm = object.__new__(LayerNorm)
    norm._gain, norm._bias = np.array([1, 1, 1, 2], np.float32), np.array([0, 0, 0, 1], np.float32)
    y, _ = norm._reference(x)
    np.testing.assert_allclose(y, [[-1.3416, -0.4472, 0.4472, 3.6833]], atol=1e-4)
    rms = object.__new__(RmsNorm)
    rms._gain = np.array([1, 1, 1, 2], np.float32)
    y, _ = rms._reference(x)
    np.testing.assert_allclose(y, [[0.3651, 0.7303, 1.0954, 2.9212]], atol=1e-4)
    y, _ = object.__new__(Softmax)._reference(x)
    np.testing.assert_allclose(y, [[0.0321, 0.0871, 0.2369, 0.6439]], atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("factor", [1.001, np.nan, np.inf, 0.0])
def test_one_wrong_number_is_found(make: Make, kind: type[Norm], factor: float) -> None:
    norm = make(kind)
    finish(norm, norm.launch(4))
    word = 17 * WIDTH + 300
    overwrite(
        norm._device, norm.result.y, word, word_of(norm._device, norm.result.y, word) * factor
    )
    checks = verified(norm)
    assert failed(checks) == ["rows"]
    assert detail(checks, "rows").startswith("row 17 is wrong; 1 of 64 rows")
    assert failed(run(norm, 4)) == []


@pytest.mark.parametrize("kind", KINDS)
def test_one_bit_of_an_input_is_reported(make: Make, kind: type[Norm]) -> None:
    norm = make(kind)
    assert failed(run(norm, 4)) == []
    for operand, name in zip(norm.result.operands, ("rows", "gain", "bias"), strict=True):
        flip_bit(norm._device, operand, 100)
        assert detail(run(norm, 4), "inputs") == f"memory changed: {name}"
        flip_bit(norm._device, operand, 100)
    assert failed(run(norm, 4)) == []


@pytest.mark.parametrize("stale_passes", [1, 2])
def test_results_of_an_earlier_pass_are_wrong(
    make: Make, monkeypatch: pytest.MonkeyPatch, stale_passes: int
) -> None:
    import pyopencl as cl

    norm = make(LayerNorm)
    assert failed(run(norm, 4)) == []
    monkeypatch.setattr(
        norm.result, "enqueue", lambda *arguments: cl.enqueue_marker(norm._device.queue)
    )
    assert failed(run(norm, 4 * stale_passes)) == ["rows"]


def test_work_is_bytes_in_and_out(make: Make) -> None:
    norm = make(RmsNorm)
    chunk = norm.launch(6)
    finish(norm, chunk)
    assert chunk.work == 6 * 16 * WIDTH * (4 + 4)


def test_verify_looks_at_the_newest_rows_alone(make: Make) -> None:
    norm = make(Softmax)
    assert [check.name for check in verified(norm)] == ["inputs"]
    assert detail(run(norm, 3), "rows").startswith("48 rows")
    assert detail(run(norm, 2), "rows").startswith("32 rows")
    assert detail(run(norm, 40), "rows").startswith("64 rows")


def test_rows_are_counted_in_whole_blocks(make: Make) -> None:
    assert make(Softmax, rows=17).result.tiles == 2


def test_what_does_not_fit_is_refused(processor: Device) -> None:
    device = dataclasses.replace(processor, memory_bytes=1 << 20)
    with pytest.raises(WorkloadError, match="needs 8 MiB; the device offers 1 MiB"):
        LayerNorm(device, {"rows": 1024, "width": WIDTH}, 1).prepare(lambda step, fraction: None)


def test_there_are_no_vectors(make: Make) -> None:
    with pytest.raises(WorkloadError, match=r"ai\.softmax has no vector files"):
        make(Softmax).self_test({})
