"""The convolution against NumPy on PoCL, in the shapes of GPUs and of processors."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest

from gpupanel.model.errors import WorkloadError
from gpupanel.stress.ai.conv import MAGNITUDE, Conv, convolved
from gpupanel.stress.catalog import WORKLOAD_BY_NAME
from gpupanel.stress.workload import Device, Variant
from tests.stress.ai.runs import LANES, detail, failed, finish, flip_bit, overwrite, run, verified

Make = Callable[..., Conv]


@pytest.fixture
def make(processor: Device) -> Make:
    def _make(lanes: int = 8, channels: int = 64, macros: dict[str, int] | None = None) -> Conv:
        device = dataclasses.replace(processor, lanes=lanes, macros=macros or {})
        conv = Conv(device, {"size": 16, "channels": channels, "pictures": 2}, 1)
        conv.prepare(lambda step, fraction: None)
        return conv

    return _make


def test_the_reference_is_a_sum_over_neighbours() -> None:
    random = np.random.default_rng(1)
    x = random.integers(-4, 5, (2, 4, 4, 3), np.int8)
    weights = random.integers(-4, 5, (9, 3, 2), np.int8)
    y = convolved(x, weights).reshape(2, 4, 4, 2)
    for at in np.ndindex(2, 4, 4, 2):
        picture, row, column, channel = at
        total = 0
        for down in (-1, 0, 1):
            for right in (-1, 0, 1):
                if 0 <= row + down < 4 and 0 <= column + right < 4:
                    pixel = x[picture, row + down, column + right].astype(int)
                    tap = weights[3 * (down + 1) + right + 1, :, channel].astype(int)
                    total += int(pixel @ tap)
        assert y[at] == total


@pytest.mark.parametrize("channels", [64, 128])
def test_every_variant_passes_its_self_test(processor: Device, make: Make, channels: int) -> None:
    for variant in [*Conv.variants(processor), Variant("GPU", 1)]:
        checks = make(variant.lanes, channels, dict(variant.macros)).self_test()
        assert failed(checks) == [], variant


@pytest.mark.parametrize("lanes", LANES)
def test_a_run_of_uneven_launches_is_right(make: Make, lanes: int) -> None:
    conv = make(lanes)
    for steps in (1, 3, 8, 20):
        assert failed(run(conv, steps)) == []


@pytest.mark.parametrize("value", [0.5, np.nan, 1e9])
def test_one_wrong_number_is_found(make: Make, value: float) -> None:
    conv = make()
    finish(conv, conv.launch(8))
    overwrite(conv._device, conv.pictures.y, 300 * 64 + 63, value)
    checks = verified(conv)
    assert "rows" in failed(checks)
    assert detail(checks, "rows") == "row 300 is wrong; 1 of 512 rows"


@pytest.mark.parametrize("operand", [0, 1])
def test_one_bit_of_an_input_is_reported(make: Make, operand: int) -> None:
    conv = make()
    assert failed(run(conv, 8)) == []
    flip_bit(conv._device, conv.pictures.operands[operand], 20 * 64 + 5, bit=30)
    checks = run(conv, 8)
    assert set(failed(checks)) >= {"inputs", "rows"}
    name = ("pictures", "weights")[operand]
    assert detail(checks, "inputs") == f"memory changed: {name}"


def test_single_numbers_are_compared_too(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    conv = make()
    finish(conv, conv.launch(8))
    monkeypatch.setattr(conv, "_wrong_rows", lambda *_: [])
    assert failed(verified(conv)) == []
    conv._weights = -conv._weights
    finish(conv, conv.launch(8))
    assert failed(verified(conv)) == ["elements"]


def test_a_pass_counts_nine_taps_of_every_pixel(make: Make) -> None:
    conv = make()
    chunk = conv.launch(conv.pictures.tiles)
    finish(conv, chunk)
    assert chunk.work == 2 * (2 * 16 * 16) * 9 * 64 * 64


def test_exact_up_to_the_most_channels() -> None:
    knobs = {knob.name: knob for knob in WORKLOAD_BY_NAME["ai.conv"].knobs}
    largest = Conv.ALPHAS * 9 * knobs["channels"].high * MAGNITUDE**2
    assert largest < 2**24
    assert all(size % 8 == 0 for size in knobs["size"].choices)


def test_what_does_not_fit_is_refused(processor: Device) -> None:
    device = dataclasses.replace(processor, memory_bytes=1 << 20)
    conv = Conv(device, {"size": 128, "channels": 64, "pictures": 1}, 1)
    with pytest.raises(WorkloadError, match="the device offers 1 MiB"):
        conv.prepare(lambda step, fraction: None)


def test_there_are_no_vectors(make: Make) -> None:
    with pytest.raises(WorkloadError, match=r"ai\.conv has no vector files"):
        make().self_test({})
