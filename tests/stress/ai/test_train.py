"""The training on PoCL against NumPy, and every way in which it may go wrong."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pyopencl as cl
import pytest

from gpupanel.model.errors import WorkloadError
from gpupanel.model.roofline import Ceiling
from gpupanel.stress.ai import train_device, train_selftest
from gpupanel.stress.ai import train_reference as reference
from gpupanel.stress.ai.train import Train
from gpupanel.stress.ai.train_audit import Audit
from gpupanel.stress.ai.train_device import Network
from gpupanel.stress.ai.train_selftest import self_test
from gpupanel.stress.ai.train_shape import Shape
from gpupanel.stress.device import open_device
from gpupanel.stress.workload import Check, Device

if TYPE_CHECKING:
    from numpy.typing import NDArray

KNOBS = {"width": 128, "heads": 4, "ffn": 256, "layers": 1, "sequence": 64, "batch": 4}

MakeTrain = Callable[..., Train]


@pytest.fixture(scope="module")
def processor() -> Device:
    return open_device("cpu", None)


@pytest.fixture
def make(processor: Device) -> MakeTrain:
    def _make(seed: int = 1, **knobs: int) -> Train:
        train = Train(processor, {**KNOBS, **knobs}, seed)
        train.prepare(lambda step, fraction: None)
        return train

    return _make


def run(train: Train, steps: float = 1) -> list[Check]:
    """Steps of the training, or parts of one, and what verify() says then."""
    chunk = train.launch(round(steps * len(train.network.launches)))
    chunk.last.wait()
    train.complete(chunk)
    train._device.queue.finish()
    return train.verify()


def audited(train: Train, tamper: Callable[[Network], None]) -> dict[str, bool]:
    """Checks of an audited step that a fault befell between the step and its repetition."""
    between = Audit.between

    def with_fault(audit: Audit) -> None:
        tamper(train.network)
        between(audit)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Audit, "between", with_fault)
        checks = run(train, 2.5)
    return {check.name: check.passed for check in checks}


def fill(network: Network, buffer: cl.Buffer, value: float) -> None:
    cl.enqueue_fill_buffer(network.memory.queue, buffer, np.float32(value), 0, buffer.size)


def flip(network: Network, buffer: cl.Buffer, element: int, bit: int) -> None:
    """What a fault of the device's memory would do."""
    word = np.empty(1, np.uint32)
    network.memory.read(buffer, word, element).wait()
    cl.enqueue_copy(
        network.memory.queue, buffer, word ^ np.uint32(1 << bit), dst_offset=4 * element
    )


def parameters_of(train: Train) -> NDArray[Any]:
    host = np.empty(train.network.shape.stored, np.uint32)
    train.network.memory.read(train.network.memory.parameters, host).wait()
    return host


@pytest.mark.parametrize(("lanes", "head_width"), [(1, 32), (8, 32), (16, 32), (16, 16), (16, 64)])
def test_self_test_passes(processor: Device, lanes: int, head_width: int) -> None:
    checks = self_test(dataclasses.replace(processor, lanes=lanes), head_width)
    assert [check.name for check in checks] == [
        "fresh parameters", "tokens", "logits", "central differences", "all gradients",
        "Adam", "repetition",
    ]  # fmt: skip
    assert all(check.passed for check in checks), checks


def failing_self_test(device: Device) -> list[str]:
    return [check.name for check in self_test(device, 32) if not check.passed]


def test_self_test_sees_a_gradient_that_is_a_little_wrong(
    processor: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = Network._gradient

    def without_gradient(self: Network, x: Any, dy: Any, name: str, layer: int | None) -> Any:
        return () if (name, layer) == ("out", 1) else right(self, x, dy, name, layer)

    monkeypatch.setattr(Network, "_gradient", without_gradient)
    assert failing_self_test(processor) == ["central differences", "all gradients"]


@pytest.mark.parametrize(
    ("name", "value", "failing"),
    [
        ("ADD", train_device.PLAIN, ["logits", "central differences", "all gradients"]),
        ("DECAY2", 0.96, ["Adam"]),
    ],
)
def test_self_test_sees_a_wrong_step(
    processor: Device,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    value: float,
    failing: list[str],
) -> None:
    monkeypatch.setattr(train_device, name, value)
    assert failing_self_test(processor) == failing


def test_self_test_sees_what_is_no_number(
    processor: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Shape, "learning_rate", lambda shape, step: np.nan)
    assert failing_self_test(processor) == ["Adam"]


def test_self_test_sees_other_random_numbers(
    processor: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train_selftest, "KEY", (1, 3))
    monkeypatch.setattr(Network, "_key", lambda self, episode: np.array([1, 2], np.uint32))
    assert failing_self_test(processor) == ["fresh parameters", "tokens"]


def test_there_are_no_vectors(make: MakeTrain) -> None:
    with pytest.raises(WorkloadError, match=r"ai\.train has no vector files"):
        make().self_test({"cases": []})


def test_it_learns_and_starts_over(make: MakeTrain) -> None:
    train = make()
    checks = [check for _ in range(30) for check in run(train, 10)]
    learned = [check for check in checks if check.name == "learning"]
    assert len(learned) >= 2
    assert all(check.passed for check in checks), checks
    readings = train.readings()
    assert readings["steps"] > 250
    assert 20 < readings["learned_step"] < 200


def test_the_same_seed_gives_the_same_bits(make: MakeTrain) -> None:
    results = []
    for seed in (5, 5, 6):
        train = make(seed)
        run(train, 5)
        results.append(parameters_of(train))
    np.testing.assert_array_equal(results[0], results[1])
    assert not np.array_equal(results[0], results[2])


def test_chunks_of_any_length_give_the_same_training(make: MakeTrain) -> None:
    whole, pieces = make(), make()
    count = len(whole.network.launches)
    run(whole, 4)  # the first step twice: it is audited
    for steps in (1, 7, 2 * count - 3, 5, 2 * count - 10):
        pieces.launch(steps).last.wait()
    np.testing.assert_array_equal(parameters_of(whole), parameters_of(pieces))


def test_work_is_the_tokens_of_whole_steps(make: MakeTrain) -> None:
    train = make()
    count = len(train.network.launches)
    chunks = [train.launch(steps) for steps in (5, count - 5, count, count)]
    # The second step is the audited first one's repetition, and no work.
    assert chunks[0].work + chunks[1].work == pytest.approx(256)
    assert [chunk.work for chunk in chunks[2:]] == [0, pytest.approx(256)]
    chunks[-1].last.wait()


def test_cost_is_that_of_the_launches(make: MakeTrain, monkeypatch: pytest.MonkeyPatch) -> None:
    for limit in (1 << 29, 1_000_000):
        monkeypatch.setattr(train_device, "LAUNCH_FLOP_CPU", limit)
        train = make(layers=2)
        flop = sum(launch.flop for launch in train.network.launches)
        assert train.cost().amounts == {Ceiling.FP32: flop / 256}
    assert max(launch.flop for launch in train.network.launches) < 4_000_000


def test_launches_that_were_cut_give_the_same_bits(
    make: MakeTrain, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = []
    for limit in (1 << 29, 1_000_000):
        monkeypatch.setattr(train_device, "LAUNCH_FLOP_CPU", limit)
        train = make()
        run(train, 3)
        results.append(parameters_of(train))
    np.testing.assert_array_equal(results[0], results[1])


@pytest.mark.parametrize("seed", range(6))
def test_an_audit_of_any_part_passes(make: MakeTrain, seed: int) -> None:
    checks = run(make(seed, layers=2), 2.5)
    assert all(check.passed for check in checks), checks
    assert len(checks) == 10


def test_a_second_audit_follows_the_first(make: MakeTrain) -> None:
    train = make()
    assert len(run(train, 2.5)) == 10
    assert len(run(train, 1)) == 2
    assert len(run(train, 2)) == 10


def test_an_audit_that_is_under_way_is_waited_for(make: MakeTrain) -> None:
    train = make()
    assert [check.name for check in run(train, 1.5)] == ["loss", "memory"]
    assert next(check.name for check in run(train, 0.6)) == "repetition"


@pytest.mark.parametrize("buffer", ["parameters", "moment1", "moment2"])
@pytest.mark.parametrize("bit", [0, 31])
def test_a_bit_that_memory_lost_is_found_within_a_step(
    make: MakeTrain, buffer: str, bit: int
) -> None:
    train = make()
    assert all(check.passed for check in run(train, 3.5))
    tensor = train.network.shape.tensor("down", 0)
    flip(train.network, getattr(train.network.memory, buffer), tensor.offset + 4321, bit)
    # The step under way reads it.
    _, memory, *_ = run(train)
    assert not memory.passed
    assert "layer 0 down" in memory.detail
    assert all(check.passed for check in run(train, 2) if check.name == "memory")


def test_a_weight_that_is_no_number_fails_the_loss(make: MakeTrain) -> None:
    train = make()
    run(train, 3)
    fill(train.network, train.network.memory.part(train.network.memory.parameters, "head"), np.nan)
    names = [check.name for check in run(train, 4) if not check.passed]
    assert names[:2] == ["loss", "memory"]
    assert "loss" not in train.readings()


@pytest.mark.parametrize(
    ("part", "failing"),
    [
        (lambda memory: memory.halves[-1].stream, {"layer 0 forward", "loss of a sequence"}),
        (lambda memory: memory.halves[0].stream, {"batch", "layer 0 forward"}),
        (lambda memory: memory.halves[0].dstream, {"layer 0 backward"}),
        (lambda memory: memory.halves[-1].dstream, {"gradient of the logits"}),
        (lambda memory: memory.losses, {"loss of a sequence"}),
        (lambda memory: memory.tokens, {"batch"}),
        (lambda memory: memory.gradients, {"update"}),
        (lambda memory: memory.parameters, {"update"}),
        (lambda memory: memory.moment1, {"update"}),
        (lambda memory: memory.moment2, {"update"}),
        (lambda memory: memory.digests, {"repetition"}),
    ],
)
@pytest.mark.parametrize("value", [0.001, np.nan, np.inf])
def test_an_audit_finds_what_is_wrong(
    make: MakeTrain, part: Callable[[Any], cl.Buffer], failing: set[str], value: float
) -> None:
    def tamper(network: Network) -> None:
        fill(network, part(network.memory), value)

    checks = audited(make(), tamper)
    assert failing <= {name for name, passed in checks.items() if not passed}


def test_an_audit_finds_a_wrong_gradient_of_a_weight(make: MakeTrain) -> None:
    checks = audited(make(), lambda network: fill(network, network.memory.gradients, 0.001))
    (name,) = [name for name in checks if name.startswith("gradient of layer")]
    assert not checks[name]


def test_a_step_that_is_not_repeatable_is_found(
    make: MakeTrain, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = make()
    between = Audit.between

    def change_a_weight(audit: Audit) -> None:
        between(audit)
        flip(train.network, train.network.memory.parameters, 1000, 20)

    monkeypatch.setattr(Audit, "between", change_a_weight)
    failed = [check.name for check in run(train, 2.5) if not check.passed]
    assert failed == ["repetition"]


def test_an_audit_leaves_the_training_as_it_was(make: MakeTrain) -> None:
    audited_one, plain = make(), make()
    plain._is_audit_due = False
    run(audited_one, 4)
    run(plain, 3)
    np.testing.assert_array_equal(parameters_of(audited_one), parameters_of(plain))


def test_a_task_that_nobody_learns_fails(make: MakeTrain, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gpupanel.stress.ai.train_journal.DEADLINE_STEPS", 10)
    monkeypatch.setattr(Shape, "learning_rate", lambda shape, step: 0.0)
    train = make()
    checks = [check for _ in range(3) for check in run(train, 6)]
    assert [check.passed for check in checks if check.name == "learning"] == [False]
    assert train.readings()["loss"] > 4


def test_a_model_that_does_not_fit_is_refused(processor: Device) -> None:
    device = dataclasses.replace(processor, memory_bytes=1 << 20)
    with pytest.raises(WorkloadError, match=r"no room for this model.*smaller batch"):
        Train(device, KNOBS, 1).prepare(lambda step, fraction: None)


def test_a_loss_of_the_device_is_that_of_numpy(make: MakeTrain) -> None:
    train = make(seed=9)
    run(train, 2.5)
    shape = train.network.shape
    parameters = reference.Parameters(shape, reference.fresh(shape, (9, 0)).astype(np.float64))
    expected = reference.loss_of(parameters, reference.batch_of(shape, (9, 0), 1))
    assert train.readings()["loss"] == pytest.approx(expected, rel=1e-5)
