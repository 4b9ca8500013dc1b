"""One step of ``ai.train`` looked at closely while the training runs.

The step is computed twice from the same state, which has to give the same bits; and what it read
and wrote is fetched in parts and computed anew by NumPy: the batch, one layer forward and backward
on one sequence, the head and the loss of that sequence, a part of one weight's gradient, and Adam
on some parameters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np  # noqa: TID253 - worker process only
import pyopencl as cl  # noqa: TID253 - worker process only

from gpupanel.stress.ai import train_reference as reference
from gpupanel.stress.ai.train_device import Network
from gpupanel.stress.workload import Check

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

TOLERANCE = 1e-4
"""Of the largest value: two orders of fp32 in two orders of summing stay far below."""

INPUTS, OUTPUTS = 8, 64
"""Of a weight, whose gradients are computed anew."""

UPDATED = 4096
"""Parameters whose update is computed anew."""


class Spare:
    """Room for the state before an audited step."""

    def __init__(self, network: Network) -> None:
        memory = network.memory
        self.parameters, self.moment1, self.moment2, self.digests = self.state = tuple(
            memory.like(buffer) for buffer in memory.state
        )


class Audit:
    """Of one step.

    Its methods are called in their order around the launches of the step and its repetition; none
    waits, save checks().
    """

    def __init__(
        self, network: Network, spare: Spare, random: np.random.Generator, key: tuple[int, int],
        step: int,
    ) -> None:  # fmt: skip
        self._network = network
        self._memory = network.memory
        self._shape = shape = network.shape
        self._spare = spare
        self._key, self._step = key, step
        self._layer = int(random.integers(shape.layers))
        self._sequence = int(random.integers(shape.batch))
        name = str(random.choice(["qkv", "out", "up", "down"]))
        self._weight = shape.tensor(name, self._layer)
        self._input = int(random.integers(self._weight.rows - INPUTS + 1))
        self._output = int(random.integers(self._weight.columns - OUTPUTS + 1))
        first = int(random.integers(max(1, shape.stored - UPDATED)))
        self._updated = slice(first, min(first + UPDATED, shape.stored))
        self._ready: cl.Event | None = None

    def before(self) -> None:
        """Keep the state."""
        for kept, buffer in zip(self._spare.state, self._memory.state, strict=True):
            cl.enqueue_copy(self._memory.queue, kept, buffer)

    def between(self) -> None:
        """Fetch what the step read and wrote, and put the state back."""
        memory = self._memory
        self._fetch_parameters()
        self._fetch_streams()
        self._fetch_gradient()
        self._fetch_update()
        self._digests = self._fetched(memory.digests, memory.digests.size // 4, kind=np.uint32)
        for kept, buffer in zip(self._spare.state, memory.state, strict=True):
            cl.enqueue_copy(memory.queue, buffer, kept)
        self._network.transpose.enqueue(memory.queue)

    def after(self) -> None:
        """Fetch what tells whether the repetition did the same."""
        self._digests_again = np.empty_like(self._digests)
        self._ready = self._memory.read(self._memory.digests, self._digests_again)

    @property
    def is_ready(self) -> bool:
        """Whether all that was fetched is there."""
        complete = cl.command_execution_status.COMPLETE
        return self._ready is not None and self._ready.command_execution_status == complete

    def checks(self) -> list[Check]:
        """Compare; 5 ms for the sizes of a processor, 70 ms for a GPU, 220 ms for the largest."""
        # A wrong infinity shall fail the comparison, not warn on the way there.
        with np.errstate(all="ignore"):
            return [
                self._check_repetition(),
                self._check_batch(),
                *self._check_layer(),
                *self._check_head(),
                self._check_gradient(),
                self._check_update(),
            ]

    def _fetched(
        self, buffer: cl.Buffer, count: int, first: int = 0, kind: type[np.generic] = np.float32
    ) -> NDArray[Any]:
        host = np.empty(count, kind)
        self._memory.read(buffer, host, first)
        return host

    def _fetch_parameters(self) -> None:
        """Those of the layer and of what is outside the layers; the others are left at 0."""
        self._parameters = np.zeros(self._shape.stored, np.float32)
        for tensor in self._shape.tensors:
            if tensor.layer in (self._layer, None):
                self._memory.read(
                    self._spare.parameters, self._parameters[tensor.place], tensor.offset
                )

    def _fetch_streams(self) -> None:
        memory, shape = self._memory, self._shape
        halves = [memory.halves[at] for at in (0, 2 * self._layer, 2 * self._layer + 2, -1)]
        streams = [self._of_sequence(half.stream) for half in halves]
        dstreams = [self._of_sequence(half.dstream) for half in halves]
        self._start, self._in, self._out, self._last = streams
        _, self._din, self._dout, self._dlast = dstreams
        first = self._sequence * shape.sequence
        self._losses = self._fetched(memory.losses, shape.sequence, first)
        self._tokens = self._fetched(memory.tokens, shape.tokens, kind=np.uint32)

    def _of_sequence(self, buffer: cl.Buffer) -> Floats:
        """Its rows (1, sequence, width)."""
        shape = self._shape
        count = shape.sequence * shape.width
        rows = self._fetched(buffer, count, self._sequence * count)
        return rows.reshape(1, shape.sequence, shape.width)

    def _fetch_gradient(self) -> None:
        memory, weight, tokens = self._memory, self._weight, self._shape.tokens
        inputs, doutputs = self._sides_of_weight()
        self._inputs = np.empty((tokens, INPUTS), np.float32)
        self._doutputs = np.empty((tokens, OUTPUTS), np.float32)
        memory.read_columns(inputs, self._inputs, weight.rows, self._input)
        memory.read_columns(doutputs, self._doutputs, weight.columns, self._output)
        first = weight.offset + self._input * weight.columns
        rows = self._fetched(memory.gradients, INPUTS * weight.columns, first)
        self._gradient = rows.reshape(INPUTS, weight.columns)

    def _sides_of_weight(self) -> tuple[cl.Buffer, cl.Buffer]:
        """Its inputs, and the gradients of its outputs, in the whole batch."""
        kept = self._memory.layers[self._layer]
        first, second, third = self._memory.halves[2 * self._layer : 2 * self._layer + 3]
        sides = {
            "qkv": (first.normed, kept.dqkv),
            "out": (kept.mixed, second.dstream),
            "up": (second.normed, kept.dup),
            "down": (kept.active, third.dstream),
        }
        return sides[self._weight.name]

    def _fetch_update(self) -> None:
        memory, spare = self._memory, self._spare
        count, first = self._updated.stop - self._updated.start, self._updated.start
        self._old = [
            self._fetched(buffer, count, first)
            for buffer in (spare.parameters, spare.moment1, spare.moment2, memory.gradients)
        ]
        self._new = [self._fetched(buffer, count, first) for buffer in memory.state[:3]]
        self._norm = self._fetched(memory.norm, 1)

    def _check_repetition(self) -> Check:
        differing = np.flatnonzero(self._digests != self._digests_again)
        detail = f"{len(differing)} of {len(self._digests)} digests of step {self._step} differ"
        return Check("repetition", passed=not len(differing), detail=detail)

    def _check_batch(self) -> Check:
        """To the bit: tokens, and the sum of their embeddings and their positions'."""
        parameters = self._reference
        start = parameters("embedding")[self._batch[self._sequence]] + parameters("position")
        same = np.array_equal(self._tokens, self._batch.ravel()) and np.array_equal(
            self._start[0], start
        )
        return Check("batch", passed=same, detail=f"of step {self._step}")

    def _check_layer(self) -> list[Check]:
        trace = reference.layer_forward(self._reference, self._layer, self._in)
        din = reference.layer_backward(self._reference, self._layer, trace, self._dout, None)
        return [
            _compare(f"layer {self._layer} forward", self._out, trace.out, _largest(trace.out)),
            _compare(f"layer {self._layer} backward", self._din, din, _largest(din)),
        ]

    def _check_head(self) -> list[Check]:
        """The loss of a token well known is a small difference of large numbers."""
        shape = self._shape
        tokens = self._batch[self._sequence, None]
        losses, dlast = reference.head_backward(self._reference, self._last, tokens, None)
        computed = self._losses[shape.phrase - 1 :] * np.float32(shape.counted)
        head = _largest(self._reference("head")) * _largest(reference.Norm.of(self._last).scale)
        size = _largest(dlast) + 0.01 * head / shape.counted
        return [
            _compare("loss of a sequence", computed, losses[0], max(1.0, _largest(losses))),
            _compare("gradient of the logits", self._dlast, dlast, size),
        ]

    def _check_gradient(self) -> Check:
        expected = self._inputs.T @ self._doutputs
        size = np.abs(self._inputs.T) @ np.abs(self._doutputs)
        computed = self._gradient[:, self._output : self._output + OUTPUTS]
        return _compare(f"gradient of {self._weight.title}", computed, expected, _largest(size))

    def _check_update(self) -> Check:
        parameters, moment1, moment2, gradients = self._old
        rate = self._shape.learning_rate(self._step)
        expected = [one.copy() for one in (parameters, moment1, moment2)]
        gradients = reference.clipped(gradients, float(self._norm[0]))
        reference.adam(expected, gradients, self._step, rate)
        sizes = [rate + 0.01 * _largest(parameters), _largest(moment1), _largest(moment2)]
        errors = [
            _error(computed, right, size)
            for computed, right, size in zip(self._new, expected, sizes, strict=True)
        ]
        return _judged("update", max(errors))

    @property
    def _batch(self) -> NDArray[np.int64]:
        """What the tokens have to be."""
        return reference.batch_of(self._shape, self._key, self._step)

    @property
    def _reference(self) -> reference.Parameters:
        return reference.Parameters(self._shape, self._parameters)


def _largest(values: Floats) -> float:
    return float(np.abs(values).max())


def _error(computed: Floats, expected: Floats, size: float) -> float:
    """Largest difference in units of ``size``; infinite where something is not a number."""
    error = float(np.abs(computed - expected).max()) / (size + 1e-30)
    return error if np.isfinite(error) else np.inf


def _compare(name: str, computed: Floats, expected: Floats, size: float) -> Check:
    return _judged(name, _error(computed, expected, size))


def _judged(name: str, error: float) -> Check:
    return Check(name, passed=error <= TOLERANCE, detail=f"off by {error:.1e}, {TOLERANCE} allowed")
