"""What the steps of ``ai.train`` say of themselves: loss, gradient norm, and their memory."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np  # noqa: TID253 - worker process only

from gpupanel.stress.ai.train_memory import BLOCK, JOURNAL_LINES, NOTHING_CHANGED
from gpupanel.stress.ai.train_shape import AVERAGED_STEPS, DEADLINE_STEPS, LEARNED_LOSS, Shape
from gpupanel.stress.workload import Check

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Journal:
    """Reads the lines that each step leaves on the device, and judges them.

    An episode begins with fresh weights at step 1, and ends when the task is learned or the
    deadline is over.

    Attributes:
        episodes: That ended.
    """

    def __init__(self, shape: Shape) -> None:
        self.episodes = 0
        self._shape = shape
        self._steps = 0
        self._judged = 0
        self._losses: deque[float] = deque(maxlen=AVERAGED_STEPS)
        self._gradient_norm = math.nan
        self._learned_step: int | None = None
        self._is_over = False
        self._not_finite: list[str] = []
        self._changed: list[str] = []
        self._outcomes: list[Check] = []

    def read(self, lines: NDArray[np.uint32], steps: int) -> None:
        """Take in what is new.

        Args:
            lines: The device's journal, (JOURNAL_LINES, 4).
            steps: Since the run began, whose lines are in it.
        """
        for step in range(self._steps, steps):
            self._add(lines[step % JOURNAL_LINES])
        self._steps = steps

    def checks(self) -> list[Check]:
        """Of the steps since the last call; none without a new step."""
        steps = self._steps - self._judged
        if not steps:
            return []
        checks = [
            _check("loss", self._not_finite, f"finite in {steps} steps"),
            _check("memory", self._changed, f"kept for {steps} steps"),
            *self._outcomes,
        ]
        self._judged = self._steps
        self._not_finite, self._changed, self._outcomes = [], [], []
        return checks

    def readings(self) -> Mapping[str, float]:
        """By the keys of the catalog; what is not known yet, or is no number, is left out."""
        readings = {
            "loss": self._loss(),
            "gradient_norm": self._gradient_norm,
            "steps": self._steps,
            "tokens_per_step": self._shape.tokens,
            "learned_step": math.nan if self._learned_step is None else self._learned_step,
        }
        return {key: value for key, value in readings.items() if math.isfinite(value)}

    def _add(self, line: NDArray[np.uint32]) -> None:
        loss, self._gradient_norm = map(float, line[:2].view(np.float32))
        changed, step = map(int, line[2:])
        if step == 1:
            self._losses.clear()
            self._is_over = False
        self._losses.append(loss)
        if not math.isfinite(loss):
            self._not_finite.append(f"the loss of step {step} is {loss}")
        if changed != NOTHING_CHANGED:
            self._changed.append(f"{self._parameters_in(changed)} lost bits before step {step}")
        if not self._is_over:
            self._judge_episode(step)

    def _judge_episode(self, step: int) -> None:
        is_learned = len(self._losses) == AVERAGED_STEPS and self._loss() < LEARNED_LOSS
        if is_learned:
            self._learned_step = step
            self._outcomes.append(Check("learning", passed=True, detail=f"learned at step {step}"))
        elif step >= DEADLINE_STEPS:
            detail = f"loss {self._loss():.3g} after {step} steps, {LEARNED_LOSS} was due"
            self._outcomes.append(Check("learning", passed=False, detail=detail))
        self._is_over = is_learned or step >= DEADLINE_STEPS
        self.episodes += self._is_over

    def _loss(self) -> float:
        return sum(self._losses) / len(self._losses) if self._losses else math.nan

    def _parameters_in(self, block: int) -> str:
        start, stop = block * BLOCK, (block + 1) * BLOCK
        inside = [
            tensor.title
            for tensor in self._shape.tensors
            if tensor.place.start < stop and start < tensor.place.stop
        ]
        return inside[0] if len(inside) == 1 else f"{inside[0]} to {inside[-1]}"


def _check(name: str, faults: list[str], otherwise: str) -> Check:
    """Told by its first fault."""
    if not faults:
        return Check(name, passed=True, detail=otherwise)
    return Check(name, passed=False, detail=f"{faults[0]}; {len(faults)} in all")
