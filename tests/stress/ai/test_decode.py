"""Token generation against NumPy on PoCL, in the shapes of GPUs and of processors."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pyopencl as cl
import pytest

from gpupanel.model.errors import WorkloadError
from gpupanel.model.roofline import Ceiling
from gpupanel.stress.ai.decode import Decode
from gpupanel.stress.ai.weights import BLOCK, DRAWN_ROWS, Matrix
from gpupanel.stress.catalog import WORKLOAD_BY_NAME
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

BITS = (32, 16, 8, 4)
KNOBS = {"hidden": 256, "ffn": 512, "layers": 1, "context": 16}

Make = Callable[..., Decode]


@pytest.fixture
def make(processor: Device) -> Make:
    def _make(bits: int = 32, lanes: int = 8, layers: int = 1) -> Decode:
        device = dataclasses.replace(processor, lanes=lanes)
        decode = Decode(device, {**KNOBS, "layers": layers, "weight_bits": bits}, 1)
        decode.prepare(lambda step, fraction: None)
        return decode

    return _make


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("lanes", LANES)
def test_tokens_are_those_of_numpy(make: Make, bits: int, lanes: int) -> None:
    decode = make(bits, lanes, layers=2)
    assert failed(decode.self_test()) == []
    for tokens in (1, 2, 20, 5):
        checks = run(decode, tokens)
        assert failed(checks) == []
        assert {"norm", "attention", "qkv", "middle", "gate", "gate_up", "out"} <= {
            check.name for check in checks
        }


def test_every_variant_passes_its_self_test(processor: Device) -> None:
    for variant in Decode.variants(processor):
        device = processor.with_variant(variant)
        decode = Decode(device, {**KNOBS, "weight_bits": 4}, 1)
        decode.prepare(lambda step, fraction: None)
        assert failed(decode.self_test()) == [], variant


@pytest.mark.parametrize("bits", BITS)
def test_what_is_stored_is_what_was_drawn(bits: int) -> None:
    matrix = Matrix("any", (1, 2), 64, 96, bits)
    exact, stored = matrix.exact(1), matrix.stored(1)
    if bits >= 16:
        np.testing.assert_array_equal(stored.weights.astype(np.float64), exact)
        return
    packed = stored.weights.reshape(DRAWN_ROWS, 96 // BLOCK, -1)
    if bits == 4:
        both = packed.view(np.uint8)
        packed = np.concatenate([both & 15, both >> 4], axis=-1).astype(np.int8) - 8
    unpacked = packed * stored.scales.astype(np.float64)[:, :, None]
    np.testing.assert_array_equal(unpacked.reshape(DRAWN_ROWS, 96), exact)


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("columns", [1024, 4096, 28672])
def test_weights_survive_half_precision_and_keep_activations_their_size(
    bits: int, columns: int
) -> None:
    matrix = Matrix("any", (3,), 32, columns, bits)
    exact = matrix.exact(0)
    assert 0.4 < np.square(exact).sum(axis=1).mean() < 6
    assert matrix.scale >= 2.0**-14  # a normal half
    assert (matrix.drawn(0)[0] == matrix.drawn(0)[0]).all()
    assert not (matrix.drawn(0)[0] == matrix.drawn(1)[0]).all()


@pytest.mark.parametrize(("bits", "per_row"), [(32, 4 * 64), (16, 2 * 64), (8, 68), (4, 36)])
def test_bytes_are_those_of_the_buffers(
    processor: Device, make: Make, bits: int, per_row: int
) -> None:
    assert Matrix("any", (1,), 32, 64, bits).bytes_per_row == per_row
    decode = make(bits)
    weights = [one.size for pair in decode.model.weights[0] for one in pair if one.size > 4]
    context = 2 * 4 * KNOBS["context"] * KNOBS["hidden"]
    amounts = decode.cost().amounts
    assert amounts[Ceiling.READ] == sum(weights) + context
    assert amounts[Ceiling.FP32] == 2 * (4 * 256**2 + 3 * 256 * 512)


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("matrix", [0, 1, 2, 3])
def test_one_bit_of_a_weight_is_reported(make: Make, bits: int, matrix: int) -> None:
    decode = make(bits)
    assert failed(run(decode, 2)) == []
    weights, scales = decode.model.weights[0][matrix]
    name = f"layer 0, {('qkv', 'output', 'gate and up', 'down')[matrix]}"
    flip_bit(decode._device, weights, 1000)
    assert detail(run(decode, 1), "inputs") == f"memory changed: {name}"
    flip_bit(decode._device, weights, 1000)
    if bits < 16:
        flip_bit(decode._device, scales, 100, bit=6)
        assert detail(run(decode, 1), "inputs") == f"memory changed: {name} scales"


@pytest.mark.parametrize(
    ("vector", "check"),
    [
        ("h", "embedding"), ("normed", "norm"), ("qkv", "attention"), ("attended", "attention"),
        ("middle", "second norm"), ("normed2", "second norm"), ("gate_up", "gate"),
        ("gated", "gate"),
    ],
)  # fmt: skip
def test_one_wrong_activation_is_found(make: Make, vector: str, check: str) -> None:
    decode = make()
    finish(decode, decode.launch(3))
    buffer = decode.model.activations[0][vector]
    overwrite(decode._device, buffer, 5, word_of(decode._device, buffer, 5) + 3.0)
    assert check in failed(verified(decode))
    assert failed(run(decode, 1)) == []


@pytest.mark.parametrize("name", ["qkv", "middle", "gate_up", "out"])
def test_one_wrong_row_of_a_product_is_found_wherever_it_is(make: Make, name: str) -> None:
    decode = make(16)
    for row in (0, 100, 255):
        finish(decode, decode.launch(3))
        buffer = decode.model.activations[0][name]
        overwrite(decode._device, buffer, row, word_of(decode._device, buffer, row) + 1.0)
        assert f"{name}, all rows" in failed(verified(decode))
        assert failed(run(decode, 1)) == []


def test_layers_and_heads_take_turns(processor: Device) -> None:
    knobs = {"hidden": 3072, "ffn": 128, "layers": 2, "context": 16, "weight_bits": 4}
    decode = Decode(processor, knobs, 1)
    decode.prepare(lambda step, fraction: None)
    finish(decode, decode.launch(1))
    seen = []
    for _ in range(5):
        assert failed(verified(decode)) == []
        assert decode._fetched is not None
        token, ready = decode._fetched
        ready.wait()
        seen.append((token.layer, token.first_head, len(token.keys)))
    assert seen == [(1, 0, 16), (1, 16, 8), (1, 8, 16), (1, 0, 16), (1, 16, 8)]


@pytest.mark.parametrize("bits", [32, 4])
def test_wrong_products_are_found(make: Make, bits: int) -> None:
    decode = make(bits)
    finish(decode, decode.launch(3))
    for name in ("qkv", "middle", "gate_up", "out"):
        buffer = decode.model.activations[0][name]
        host = np.empty(buffer.size // 4, np.float32)
        cl.enqueue_copy(decode._device.queue, host, buffer)
        cl.enqueue_copy(decode._device.queue, buffer, host * np.float32(1.0002))
    assert set(failed(verified(decode))) >= {"qkv", "middle", "gate_up", "out"}


def test_a_key_that_is_not_the_token_s_own_is_found(make: Make) -> None:
    decode = make()
    finish(decode, decode.launch(20))
    for head in range(2):  # slot 3 is the newest token's
        overwrite(decode._device, decode.model.keys[0], (head * 16 + 3) * 128, 50.0)
    assert "context" in failed(verified(decode))


def test_a_token_that_was_not_computed_is_found(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    decode = make()
    assert failed(run(decode, 4)) == []
    marker = cl.enqueue_marker(decode._device.queue)
    monkeypatch.setattr(decode.model, "enqueue", lambda token: (marker, marker))
    assert "embedding" in failed(run(decode, 1))


def test_activations_keep_their_size(make: Make) -> None:
    decode = make(8, layers=3)
    finish(decode, decode.launch(200))
    fetched, ready = decode.model.fetch(2, range(1), 199)
    ready.wait()
    for name, vector in fetched.vectors.items():
        assert 0.05 < np.abs(vector).mean() < 20, name


def test_a_token_is_a_unit(make: Make) -> None:
    decode = make()
    assert [check.name for check in verified(decode)] == ["inputs"]
    chunk = decode.launch(7)
    finish(decode, chunk)
    assert chunk.work == 7


def test_sizes_of_the_catalog_fit_the_kernel() -> None:
    knobs = {knob.name: knob for knob in WORKLOAD_BY_NAME["ai.decode"].knobs}
    for name in ("hidden", "ffn"):
        assert all(size % 128 == 0 for size in knobs[name].choices)
    assert all(count % 16 == 0 for count in knobs["context"].choices)


def test_what_does_not_fit_is_refused(processor: Device) -> None:
    device = dataclasses.replace(processor, memory_bytes=1 << 20)
    decode = Decode(device, {**KNOBS, "weight_bits": 32}, 1)
    with pytest.raises(WorkloadError, match="1 million weights needs 2 MiB; the device offers 1"):
        decode.prepare(lambda step, fraction: None)


def test_there_are_no_vectors(make: Make) -> None:
    with pytest.raises(WorkloadError, match=r"ai\.decode has no vector files"):
        make().self_test({})
