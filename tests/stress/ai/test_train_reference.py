"""The NumPy transformer against central differences, and Philox against its authors."""

from __future__ import annotations

import numpy as np
import pytest

from gpupanel.stress.ai import train_reference as reference
from gpupanel.stress.ai.train_shape import VOCABULARY, Shape

SHAPE = Shape(width=64, heads=2, ffn=128, layers=2, sequence=32, batch=2)

KNOWN = [
    ([0, 0, 0, 0], (0, 0), [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
    (
        [0xFFFFFFFF] * 4,
        (0xFFFFFFFF, 0xFFFFFFFF),
        [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD],
    ),
    (
        [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
        (0xA4093822, 0x299F31D0),
        [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
    ),
]
"""Of philox4x32-10, from kat_vectors of Random123."""


@pytest.mark.parametrize(("counter", "key", "words"), KNOWN)
def test_philox_gives_its_authors_words(
    counter: list[int], key: tuple[int, int], words: list[int]
) -> None:
    assert reference.philox(np.array([counter], np.uint32), key).tolist() == [words]


def test_every_gradient_is_a_central_difference() -> None:
    random = np.random.default_rng(1)
    parameters = reference.Parameters(SHAPE, 0.3 * random.standard_normal(SHAPE.stored))
    gradients = reference.Parameters(SHAPE, np.full(SHAPE.stored, np.nan))
    tokens = reference.batch_of(SHAPE, (1, 0), 1)
    loss = reference.backward(parameters, tokens, gradients)
    assert loss == pytest.approx(reference.loss_of(parameters, tokens))
    for tensor in SHAPE.tensors:
        direction = np.zeros(SHAPE.stored)
        direction[tensor.place] = random.standard_normal(tensor.size)
        moved = [
            reference.loss_of(reference.Parameters(SHAPE, parameters.flat + by * direction), tokens)
            for by in (1e-6, -1e-6)
        ]
        along = float(gradients.flat[tensor.place] @ direction[tensor.place])
        assert (moved[0] - moved[1]) / 2e-6 == pytest.approx(along, rel=1e-5, abs=1e-9), tensor


def test_no_token_sees_a_later_one() -> None:
    random = np.random.default_rng(2)
    parameters = reference.Parameters(SHAPE, 0.3 * random.standard_normal(SHAPE.stored))
    tokens = reference.batch_of(SHAPE, (1, 0), 1)
    changed = tokens.copy()
    changed[:, 20] = (changed[:, 20] + 1) % VOCABULARY
    before, after = (reference.logits_of(parameters, one) for one in (tokens, changed))
    np.testing.assert_array_equal(before[:, :20], after[:, :20])
    assert (before[:, 20:] != after[:, 20:]).any(axis=-1).all()


def test_ignorance_costs_the_logarithm_of_the_vocabulary() -> None:
    parameters = reference.Parameters(SHAPE, np.ones(SHAPE.stored))
    tokens = reference.batch_of(SHAPE, (1, 0), 1)
    assert reference.loss_of(parameters, tokens) == pytest.approx(np.log(VOCABULARY))


def test_batches_repeat_their_phrase_and_differ() -> None:
    batches = [reference.batch_of(SHAPE, (1, 0), step) for step in (1, 2)]
    batches.append(reference.batch_of(SHAPE, (1, 1), 1))
    for batch in batches:
        np.testing.assert_array_equal(batch[:, :16], batch[:, 16:])
        assert len(np.unique(batch)) > 10
    assert not np.array_equal(batches[0], batches[1])
    assert not np.array_equal(batches[0], batches[2])


def test_adam_by_hand() -> None:
    parameters, moment1, moment2 = np.array([1.0]), np.array([0.5]), np.array([0.04])
    reference.adam((parameters, moment1, moment2), np.array([-2.0]), step=2, rate=0.1)
    assert moment1 == pytest.approx(0.9 * 0.5 - 0.2)
    assert moment2 == pytest.approx(0.95 * 0.04 + 0.05 * 4)
    first, second = 0.25 / (1 - 0.9**2), 0.238 / (1 - 0.95**2)
    assert parameters == pytest.approx(1 - 0.1 * first / second**0.5)


def test_only_gradients_longer_than_one_are_clipped() -> None:
    np.testing.assert_array_equal(reference.clipped(np.array([0.3, 0.4]), 0.5), [0.3, 0.4])
    np.testing.assert_allclose(reference.clipped(np.array([3.0, 4.0]), 5.0), [0.6, 0.8])
