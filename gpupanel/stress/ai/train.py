"""The load ``ai.train``: a small transformer trained for real, forward, backward and Adam in fp32.

It learns to copy. Within a fixed number of steps its loss has to be low, whatever the seed; then
fresh weights start over, so that the load goes on evenly for as long as the run. The unit of work
is a token; one step of launch() is one launch of some fifty that make a training step.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np  # noqa: TID253 - worker process only

from gpupanel.model.errors import WorkloadError
from gpupanel.model.roofline import Ceiling, Cost
from gpupanel.stress.ai.train_audit import Audit, Spare
from gpupanel.stress.ai.train_device import Network
from gpupanel.stress.ai.train_journal import Journal
from gpupanel.stress.ai.train_memory import JOURNAL_LINES
from gpupanel.stress.ai.train_selftest import self_test
from gpupanel.stress.ai.train_shape import DEADLINE_STEPS, Shape
from gpupanel.stress.workload import Check, Chunk, Device, Report, Variant, lane_variants

if TYPE_CHECKING:
    import pyopencl as cl


class Train:
    """Host side of ``ai.train``.

    What is verified: every step's loss is a number, every step finds the parameters as the last
    one left them, every episode reaches a low loss; and once a second a step is audited.

    Attributes:
        network: Set by prepare().
    """

    network: Network

    def __init__(self, device: Device, knobs: Mapping[str, int], seed: int) -> None:
        self._device = device
        self._shape = shape = Shape.of(knobs)
        self._seed = seed & 0xFFFFFFFF
        self._random = np.random.default_rng(seed)
        self._journal = Journal(shape)
        self._steps = 0
        self._is_audit_due = True
        self._audit: Audit | None = None
        self.notes: tuple[str, ...] = (
            f"fp32, {shape.parameters:,} parameters, {shape.tokens:,} tokens per step",
            f"learns to copy within {DEADLINE_STEPS} steps, then starts over from fresh weights",
        )

    @classmethod
    def variants(cls, device: Device) -> tuple[Variant, ...]:
        """By vector width."""
        return lane_variants(device)

    def prepare(self, report: Report) -> None:
        """Build the program and allocate; the device draws weights and batches itself."""
        report("model", 0.0)
        self.network = Network(self._device, self._shape, self._seed)
        self._spare = Spare(self.network)
        self._course = self._train()
        self._device.queue.finish()
        report("model", 1.0)

    def self_test(self, vectors: Mapping[str, Any] | None = None) -> list[Check]:
        """A small model with heads of the same width against NumPy.

        Raises:
            WorkloadError: Vectors were given; there is no file format for trainings.
        """
        if vectors is not None:
            raise WorkloadError("ai.train has no vector files")
        return self_test(self._device, self._shape.head_width)

    def cost(self) -> Cost:
        """The products of a step, spread over its tokens."""
        return Cost({Ceiling.FP32: self._shape.flop_per_step / self._shape.tokens})

    def launch(self, steps: int) -> Chunk:
        """Enqueue the next ``steps`` launches of the training, across its steps and episodes."""
        done = list(itertools.islice(self._course, steps))
        flop = sum(part for _, part in done)
        lines = np.empty((JOURNAL_LINES, 4), np.uint32)
        last = self.network.memory.read(self.network.memory.journal, lines)
        self._device.queue.flush()
        return Chunk(
            work=self._shape.tokens * flop / self._shape.flop_per_step,
            first=done[0][0],
            last=last,
            state=(lines, self._steps),
        )

    def complete(self, chunk: Chunk) -> None:
        """Read the journal of the steps that ended."""
        self._journal.read(*chunk.state)

    def verify(self) -> list[Check]:
        """Judge the steps since the last call, and the audited one if there is one."""
        checks = self._journal.checks()
        if self._audit is not None and self._audit.is_ready:
            checks += self._audit.checks()
            self._audit = None
        self._is_audit_due = self._audit is None
        return checks

    def readings(self) -> Mapping[str, float]:
        """How the training goes."""
        return self._journal.readings()

    def frame(self) -> None:
        """A training has no picture."""

    def _train(self) -> Iterator[tuple[cl.Event, int]]:
        """Enqueue launch after launch, for ever; yields each one's event and flop."""
        for episode in itertools.count():
            self.network.begin_episode(episode)
            for step in itertools.count(1):
                if self._journal.episodes > episode:
                    break
                if self._is_audit_due:
                    self._is_audit_due = False
                    yield from self._audited_step(episode, step)
                else:
                    yield from self._step(episode, step)

    def _step(self, episode: int, step: int) -> Iterator[tuple[cl.Event, int]]:
        self.network.begin_step(episode, step, self._steps % JOURNAL_LINES)
        for launch in self.network.launches:
            yield launch.enqueue(self._device.queue), launch.flop
        self._steps += 1

    def _audited_step(self, episode: int, step: int) -> Iterator[tuple[cl.Event, int]]:
        """A step and its repetition, which takes time and is no work."""
        key = (self._seed, episode)
        audit = Audit(self.network, self._spare, self._random, key, step)
        audit.before()
        yield from self._step(episode, step)
        audit.between()
        self.network.begin_step(episode, step, JOURNAL_LINES)
        for launch in self.network.launches:
            yield launch.enqueue(self._device.queue), 0
        audit.after()
        self._audit = audit
