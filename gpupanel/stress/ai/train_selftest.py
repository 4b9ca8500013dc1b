"""Known answers of ``ai.train``: a small model on the device against NumPy in double precision."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np  # noqa: TID253 - worker process only

from gpupanel.stress.ai import train_reference as reference
from gpupanel.stress.ai.train_device import Network
from gpupanel.stress.ai.train_shape import VOCABULARY, Shape
from gpupanel.stress.workload import Check, Device

if TYPE_CHECKING:
    import pyopencl as cl
    from numpy.typing import NDArray

SAMPLES_PER_TENSOR = 2
"""Of 16 tensors in two layers: 32 weights."""

DIFFERENCE = 1e-5
"""Half the distance of central differences; their own error is its square."""

STEP = 3
KEY = (1, 2)
SPREAD = 0.3
"""Of random parameters and moments: large, so that attention is far from even."""


def self_test(device: Device, head_width: int) -> list[Check]:
    """Fresh parameters and tokens to the bit; logits, gradients and Adam to fp32's accuracy."""
    shape = _small_shape(head_width)
    network = Network(device, shape, KEY[0])
    checks = [_check_fresh(network)]
    random = np.random.default_rng(KEY)
    state = SPREAD * random.standard_normal((3, shape.stored)).astype(np.float32)
    state[2] **= 2
    first, second = (_Step(network, state) for _ in range(2))
    same = all(np.array_equal(*pair) for pair in zip(first.results, second.results, strict=True))
    return [
        *checks,
        Check("tokens", np.array_equal(first.tokens, reference.batch_of(shape, KEY, STEP))),
        _check_logits(shape, state[0], first),
        _check_differences(shape, state[0], first, random),
        _check_gradients(shape, state[0], first),
        _check_adam(shape, state, first),
        Check("repetition", same, "the same step twice"),
    ]


class _Step:
    """One step of the small model, from a state that is the host's."""

    def __init__(self, network: Network, state: NDArray[np.float32]) -> None:
        import pyopencl as cl

        self._network = network
        memory, shape = network.memory, network.shape
        for buffer, values in zip(memory.state, state, strict=False):
            cl.enqueue_copy(memory.queue, buffer, values)
        network.transpose.enqueue(memory.queue)
        network.begin_step(KEY[1], STEP, 0)
        for launch in network.launches:
            if launch.kernel.function_name == "loss":
                self.logits = self._read(memory.logits).reshape(-1, VOCABULARY)
            launch.enqueue(memory.queue)
        tokens = self._read(memory.tokens).view(np.uint32).astype(np.int64)
        self.tokens = tokens.reshape(shape.batch, shape.sequence)
        self.gradients = self._read(memory.gradients)
        self.state = [self._read(buffer) for buffer in memory.state[:3]]

    @property
    def results(self) -> list[NDArray[np.uint32]]:
        """All that it computed, as words."""
        return [one.view(np.uint32) for one in (self.logits, self.gradients, *self.state)]

    def _read(self, buffer: cl.Buffer) -> NDArray[np.float32]:
        host = np.empty(buffer.size // 4, np.float32)
        self._network.memory.read(buffer, host).wait()
        return host


def _small_shape(head_width: int) -> Shape:
    width = max(64, 2 * head_width)
    return Shape(width, width // head_width, 2 * width, layers=2, sequence=32, batch=2)


def _check_fresh(network: Network) -> Check:
    network.begin_episode(KEY[1])
    computed = np.empty(network.shape.stored, np.float32)
    network.memory.read(network.memory.parameters, computed).wait()
    wrong = np.count_nonzero(computed != reference.fresh(network.shape, KEY))
    return Check("fresh parameters", passed=not wrong, detail=f"{wrong} are wrong")


def _check_logits(shape: Shape, parameters: NDArray[Any], step: _Step) -> Check:
    exact = reference.Parameters(shape, parameters.astype(np.float64))
    expected = reference.logits_of(exact, step.tokens).reshape(-1, VOCABULARY)
    error = np.abs(step.logits - expected).max() / np.abs(expected).max()
    return Check("logits", passed=bool(error < 1e-5), detail=f"off by {error:.1e}")


def _check_differences(
    shape: Shape, parameters: NDArray[Any], step: _Step, random: np.random.Generator
) -> Check:
    """Gradients of random weights of each tensor, against central differences of the loss."""
    exact = reference.Parameters(shape, parameters.astype(np.float64))
    errors, titles = [], []
    for tensor in shape.tensors:
        largest = np.abs(step.gradients[tensor.place]).max()
        for at in tensor.offset + random.integers(tensor.size, size=SAMPLES_PER_TENSOR):
            expected = _central_difference(exact, int(at), step.tokens)
            errors.append(abs(step.gradients[at] - expected) / (abs(expected) + 1e-3 * largest))
            titles.append(tensor.title)
    return _judged("central differences", errors, titles, 1e-3)


def _central_difference(parameters: reference.Parameters, at: int, tokens: NDArray[Any]) -> float:
    middle = parameters.flat[at]
    losses = []
    for moved in (middle + DIFFERENCE, middle - DIFFERENCE):
        parameters.flat[at] = moved
        losses.append(reference.loss_of(parameters, tokens))
    parameters.flat[at] = middle
    return (losses[0] - losses[1]) / (2 * DIFFERENCE)


def _check_gradients(shape: Shape, parameters: NDArray[Any], step: _Step) -> Check:
    """All of them, against NumPy's own backward."""
    exact = reference.Parameters(shape, parameters.astype(np.float64))
    expected = reference.Parameters(shape, np.zeros(shape.stored))
    reference.backward(exact, step.tokens, expected)
    errors = [
        np.abs(step.gradients[tensor.place] - expected.flat[tensor.place]).max()
        / np.abs(expected.flat[tensor.place]).max()
        for tensor in shape.tensors
    ]
    return _judged("all gradients", errors, [tensor.title for tensor in shape.tensors], 1e-4)


def _check_adam(shape: Shape, state: NDArray[Any], step: _Step) -> Check:
    expected = list(state.astype(np.float64))
    gradients = step.gradients.astype(np.float64)
    gradients = reference.clipped(gradients, float(np.linalg.norm(gradients)))
    reference.adam(expected, gradients, STEP, shape.learning_rate(STEP))
    errors = [
        np.abs(computed - right).max() for computed, right in zip(step.state, expected, strict=True)
    ]
    return _judged("Adam", errors, ["the parameters", "the first moment", "the second"], 1e-6)


def _judged(name: str, errors: list[Any], places: list[str], tolerance: float) -> Check:
    """By the largest error; what is not a number is larger than all (NumPy's argmax)."""
    worst = int(np.argmax(errors))
    detail = f"off by {errors[worst]:.1e} in {places[worst]}, {len(errors)} compared"
    return Check(name, passed=bool(errors[worst] < tolerance), detail=detail)
