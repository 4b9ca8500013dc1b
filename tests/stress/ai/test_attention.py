"""Attention against NumPy on PoCL, in the shapes of GPUs and of processors."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pyopencl as cl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpupanel.model.errors import WorkloadError
from gpupanel.stress.ai.attention import Attention, Heads, reference
from gpupanel.stress.workload import Device, Variant
from tests.stress.ai.runs import LANES, detail, failed, finish, flip_bit, overwrite, run, verified

Make = Callable[..., Attention]

GPU_VARIANTS = [Variant("16", 1, {"KEYS": 16}), Variant("32", 1, {"KEYS": 32})]


@pytest.fixture
def make(processor: Device) -> Make:
    def _make(lanes: int = 8, seq: int = 200, head_dim: int = 64, **changes: Any) -> Attention:
        device = dataclasses.replace(processor, lanes=lanes, **changes)
        attention = Attention(device, {"seq": seq, "heads": 2, "head_dim": head_dim}, 1)
        attention.prepare(lambda step, fraction: None)
        return attention

    return _make


@pytest.fixture(scope="module")
def heads(processor: Device) -> Heads:
    device = dataclasses.replace(processor, lanes=16)
    attention = Attention(device, {"seq": 200, "heads": 3, "head_dim": 64}, 1)
    attention.prepare(lambda step, fraction: None)
    return attention.result


@pytest.mark.parametrize("head_dim", [64, 128])
def test_every_variant_passes_its_self_test(processor: Device, make: Make, head_dim: int) -> None:
    for variant in [*Attention.variants(processor), *GPU_VARIANTS]:
        attention = make(variant.lanes, head_dim=head_dim, macros=variant.macros)
        checks = attention.self_test()
        assert [check.detail for check in checks][-1] == "600 positions", variant
        assert failed(checks) == [], variant


@pytest.mark.parametrize("lanes", LANES)
def test_a_run_of_uneven_launches_is_right(make: Make, lanes: int) -> None:
    attention = make(lanes)
    for steps in (1, 3, 9, 30, 5):
        assert failed(run(attention, steps)) == []


def test_the_reference_is_softmax_over_the_past() -> None:
    random = np.random.default_rng(1)
    q, k, v = random.standard_normal((3, 9, 64))
    expected = []
    for position in range(9):
        weights = np.exp([q[position] @ k[key] / 8 for key in range(position + 1)])
        expected.append(weights @ v[: position + 1] / weights.sum())
    computed, bound = reference(q, k, v, np.arange(9))
    np.testing.assert_allclose(computed, expected, rtol=1e-12, atol=1e-14)
    assert (bound < 1e-4).all()


@given(start=st.integers(0, 100), steps=st.integers(1, 60))
def test_work_counts_pairs_of_positions(heads: Heads, start: int, steps: int) -> None:
    # 200 positions are seven blocks of 32 queries, the last of eight.
    pairs = [sum(range(at + 1, min(at + 32, 200) + 1)) for at in range(0, 200, 32)]
    flop = 4 * 64 * np.tile(pairs, 24)
    counted = heads.work_before(start + steps) - heads.work_before(start)
    assert counted == flop[start : start + steps].sum()


@pytest.mark.parametrize("lanes", LANES)
def test_results_that_are_a_little_wrong_are_found(
    make: Make, monkeypatch: pytest.MonkeyPatch, lanes: int
) -> None:
    attention = make(lanes, seq=128)
    tiles = attention.result.tiles
    assert failed(run(attention, tiles)) == []
    host = np.empty(2 * 128 * 64, np.float32)
    finish(attention, attention.launch(tiles))
    cl.enqueue_copy(attention._device.queue, host, attention.result.o)
    cl.enqueue_copy(attention._device.queue, attention.result.o, host * np.float32(1.0001))
    assert failed(verified(attention)) == ["positions"]
    assert failed(run(attention, tiles)) == []


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e3])
def test_one_wrong_number_of_a_position_that_is_looked_at_is_found(
    make: Make, monkeypatch: pytest.MonkeyPatch, value: float
) -> None:
    attention = make(1, seq=128)
    monkeypatch.setattr("gpupanel.stress.ai.attention.ROWS_PER_BLOCK", 32)
    monkeypatch.setattr(attention, "_blocks_per_verify", 8)
    finish(attention, attention.launch(attention.result.tiles))
    overwrite(attention._device, attention.result.o, (128 + 77) * 64 + 5, value)
    assert "head 1, position 77 is wrong" in detail(verified(attention), "positions")


@pytest.mark.parametrize("lanes", LANES)
def test_one_bit_of_an_input_is_reported(make: Make, lanes: int) -> None:
    attention = make(lanes)
    assert failed(run(attention, 14)) == []
    for operand, name in zip(attention.result.operands, "QKV", strict=True):
        flip_bit(attention._device, operand, 4321)
        assert detail(run(attention, 14), "inputs") == f"memory changed: {name}"
        flip_bit(attention._device, operand, 4321)
    assert failed(run(attention, 14)) == []


def test_results_of_an_earlier_pass_are_wrong(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    attention = make()
    tiles = attention.result.tiles
    assert failed(run(attention, tiles)) == []
    monkeypatch.setattr(
        attention.result, "enqueue", lambda *_: cl.enqueue_marker(attention._device.queue)
    )
    assert failed(run(attention, tiles)) == ["positions"]


def test_positions_ahead_have_no_influence(make: Make) -> None:
    attention = make(16, seq=64)
    qkv = attention._draw((2, 64, 64))
    before: list[Any] = []
    after: list[Any] = []
    for changed, results in ((0.0, before), (100.0, after)):
        qkv[1:, :, 40:] += np.float32(changed)
        heads = attention._on_device(qkv, attention._inputs)
        heads.enqueue(0, heads.tiles, 1)
        for tile in range(heads.tiles):
            computed, ready = heads.read(heads.rows_of(tile))
            ready.wait()
            results.append(computed)
    np.testing.assert_array_equal(np.concatenate(before[:2])[:40], np.concatenate(after[:2])[:40])
    assert not np.array_equal(before[1][8:], after[1][8:])


def test_what_does_not_fit_is_refused(processor: Device) -> None:
    device = dataclasses.replace(processor, memory_bytes=1 << 20)
    attention = Attention(device, {"seq": 4096, "heads": 2, "head_dim": 64}, 1)
    with pytest.raises(WorkloadError, match="needs 8 MiB; the device offers 1 MiB"):
        attention.prepare(lambda step, fraction: None)


def test_a_gpu_with_little_local_memory_looks_at_few_keys(processor: Device) -> None:
    gpu = dataclasses.replace(processor, is_cpu=False, lanes=1)
    assert [one.macros["KEYS"] for one in Attention.variants(gpu)] == [16, 32]


def test_there_are_no_vectors(make: Make) -> None:
    with pytest.raises(WorkloadError, match=r"ai\.attention has no vector files"):
        make().self_test({})
