"""Sizes, places and costs of the transformer, and the journal of its steps."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpupanel.model.errors import WorkloadError
from gpupanel.stress.ai.train_journal import Journal
from gpupanel.stress.ai.train_memory import JOURNAL_LINES, NOTHING_CHANGED
from gpupanel.stress.ai.train_shape import ALIGNMENT, DEADLINE_STEPS, VOCABULARY, Shape
from gpupanel.stress.catalog import WORKLOAD_BY_NAME
from gpupanel.stress.workload import Check

if TYPE_CHECKING:
    from numpy.typing import NDArray

INFO = WORKLOAD_BY_NAME["ai.train"]
SHAPE = Shape(width=128, heads=4, ffn=512, layers=2, sequence=64, batch=4)


@given(st.data())
def test_all_that_the_knobs_allow_fits_the_kernels_or_is_refused(data: st.DataObject) -> None:
    knobs = {
        knob.name: data.draw(
            st.sampled_from(knob.choices) if knob.choices else st.integers(knob.low, knob.high)
        )
        for knob in INFO.knobs
    }
    try:
        shape = Shape.of(knobs)
    except WorkloadError as error:
        assert "choose" in str(error)  # noqa: PT017 - either outcome is fine, and checked
        return
    assert shape.head_width in (16, 32, 64)
    for extent in (
        shape.tokens,
        *(side for one in shape.weights for side in (one.rows, one.columns)),
    ):
        assert extent % 64 == 0
    places = [tensor.place for tensor in shape.tensors]
    for before, after in itertools.pairwise(places):
        assert before.stop <= after.start < before.stop + ALIGNMENT
        assert after.start % ALIGNMENT == 0
    assert shape.stored < 2**31


@pytest.mark.parametrize("is_cpu", [True, False])
def test_the_defaults_fit(is_cpu: bool) -> None:
    knobs = {knob.name: knob.default_cpu if is_cpu else knob.default for knob in INFO.knobs}
    shape = Shape.of(knobs)
    width, ffn = shape.width, shape.ffn
    per_layer = 4 * width**2 + 2 * width * ffn + 2 * width
    outside = (2 * VOCABULARY + shape.sequence + 1) * width
    assert shape.parameters == shape.layers * per_layer + outside


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"heads": 16}, "heads=16 does not cut width=128.*choose heads from 2, 4, 8"),
        ({"ffn": 128}, "ffn=128 is too narrow.*choose ffn=256"),
    ],
)
def test_what_does_not_fit_is_refused_with_a_remedy(change: dict[str, int], complaint: str) -> None:
    knobs = {name: getattr(SHAPE, name) for name in SHAPE.__dataclass_fields__}
    with pytest.raises(WorkloadError, match=complaint):
        Shape.of({**knobs, **change})


def test_flop_are_six_per_weight_and_twelve_per_pair_and_column() -> None:
    pairs = sum(key <= query for query in range(64) for key in range(64))
    weights = 2 * (128 * 384 + 128 * 128 + 2 * 128 * 512) + 128 * 64
    assert SHAPE.flop_per_step == 6 * 256 * weights + 12 * 4 * pairs * 128 * 2


def lines_of(
    losses: Sequence[float], first_step: int = 1, changed: int = NOTHING_CHANGED
) -> NDArray[np.uint32]:
    lines = np.zeros((JOURNAL_LINES, 4), np.uint32)
    for at, loss in enumerate(losses):
        lines[at] = [*np.array([loss, 1.5], np.float32).view(np.uint32), changed, first_step + at]
    return lines


def judged(losses: Sequence[float], **line: int) -> tuple[Journal, list[Check]]:
    journal = Journal(SHAPE)
    journal.read(lines_of(losses, **line), len(losses))
    return journal, journal.checks()


def test_a_quiet_step_is_told() -> None:
    journal, checks = judged([4.0, 3.0])
    assert [(check.name, check.passed, check.detail) for check in checks] == [
        ("loss", True, "finite in 2 steps"),
        ("memory", True, "kept for 2 steps"),
    ]
    assert journal.readings() == {
        "loss": 3.5, "gradient_norm": 1.5, "steps": 2, "tokens_per_step": 256,
    }  # fmt: skip
    assert journal.checks() == []


def test_readings_are_those_of_the_catalog() -> None:
    journal, _ = judged([0.1] * 8)
    assert set(journal.readings()) == {reading.key for reading in INFO.readings}


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_no_number_fails_and_is_no_reading(loss: float) -> None:
    journal, (check, _) = judged([4.0, loss, 3.0])
    assert not check.passed
    assert check.detail == f"the loss of step 2 is {loss}; 1 in all"
    assert "loss" not in journal.readings()


def test_an_episode_ends_when_the_mean_of_eight_losses_is_low() -> None:
    journal, checks = judged([4.0, *[0.45] * 20])
    assert [check.detail for check in checks if check.name == "learning"] == ["learned at step 9"]
    assert journal.episodes == 1
    assert journal.readings()["learned_step"] == 9


def test_a_single_low_loss_is_luck() -> None:
    assert judged([4.0, 4.0, 4.0, 0.0] * 4)[0].episodes == 0


def test_an_episode_past_its_deadline_fails_once() -> None:
    journal, checks = judged([4.0] * 20, first_step=DEADLINE_STEPS - 10)
    assert [check.passed for check in checks if check.name == "learning"] == [False]
    assert journal.episodes == 1
    assert "learned_step" not in journal.readings()


def test_fresh_weights_begin_a_new_episode() -> None:
    journal = Journal(SHAPE)
    journal.read(lines_of([0.1] * 10), 10)
    lines = np.roll(lines_of([4.0] * 3), 10, axis=0)
    journal.read(lines, 13)
    assert journal.episodes == 1
    assert journal.readings()["loss"] == 4.0


@pytest.mark.parametrize(
    ("block", "title"),
    [
        (1, "embedding"),
        (3, "position"),
        (4, "layer 0 attention gain to layer 0 qkv"),
        (6, "layer 0 qkv"),
    ],
)
def test_lost_bits_are_told_by_the_parameters_that_lost_them(block: int, title: str) -> None:
    _, (_, check) = judged([4.0], changed=block)
    assert not check.passed
    assert check.detail == f"{title} lost bits before step 1; 1 in all"
