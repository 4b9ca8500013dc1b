"""ai.train beside NumPy doing the same step in fp32, in one run."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from gpupanel.stress.ai.train import Train
from gpupanel.stress.ai.train_shape import Shape
from gpupanel.stress.catalog import WORKLOAD_BY_NAME, choose_knobs
from gpupanel.stress.device import open_device
from gpupanel.stress.workload import Device

pytestmark = pytest.mark.perf

ROUNDS = 9
STEPS = 60

NUMPY_STEPS = """
import sys, time
import numpy as np
from gpupanel.stress.ai import train_reference as reference
from gpupanel.stress.ai.train_shape import Shape

shape = Shape(*map(int, sys.argv[1:]))
parameters = reference.Parameters(shape, reference.fresh(shape, (1, 0)))
gradients = reference.Parameters(shape, np.zeros_like(parameters.flat))
state = [parameters.flat, *np.zeros((2, shape.stored), np.float32)]
step = 0
for line in sys.stdin:
    batches = [reference.batch_of(shape, (1, 0), step + at) for at in range(int(line))]
    start = time.perf_counter()
    for tokens in batches:
        step += 1
        reference.backward(parameters, tokens, gradients)
        norm = float(np.linalg.norm(gradients.flat))
        clipped = reference.clipped(gradients.flat, norm)
        rate = shape.learning_rate(step)
        reference.adam(state, clipped, step, rate)
    print(time.perf_counter() - start, flush=True)
"""


@contextmanager
def numpy_steps(shape: Shape) -> Iterator[Callable[[int], float]]:
    """Seconds of so many steps in a process of its own: idle threads of its BLAS sleep there."""
    sizes = [str(getattr(shape, name)) for name in shape.__dataclass_fields__]
    child = subprocess.Popen(
        [sys.executable, "-P", "-c", NUMPY_STEPS, *sizes],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "2"},
    )  # fmt: skip
    with child:
        assert child.stdin is not None
        assert child.stdout is not None
        tell, answer = child.stdin, child.stdout

        def run(steps: int) -> float:
            tell.write(f"{steps}\n")
            return float(answer.readline())

        yield run


def device_steps(device: Device, knobs: dict[str, int]) -> Callable[[int], float]:
    train = Train(device, knobs, seed=1)
    train.prepare(lambda step, fraction: None)

    def run(steps: int) -> float:
        start = time.perf_counter()
        chunk = train.launch(steps * len(train.network.launches))
        chunk.last.wait()
        train.complete(chunk)
        return time.perf_counter() - start

    return run


@pytest.mark.parametrize("knobs", [{}, {"sequence": 128}, {"width": 256, "ffn": 1024, "heads": 8}])
def test_a_step_takes_half_of_numpy_at_most(knobs: dict[str, int]) -> None:
    device = open_device("cpu", None)
    chosen = choose_knobs(WORKLOAD_BY_NAME["ai.train"], knobs, is_cpu=True)
    shape = Shape.of(chosen)
    ours = device_steps(device, chosen)
    with numpy_steps(shape) as theirs:
        ours(2)
        theirs(2)
        rounds = [(ours(STEPS), theirs(STEPS)) for _ in range(ROUNDS)]
    ratios = sorted(numpy_s / device_s for device_s, numpy_s in rounds)
    ms = [1000 * statistics.median(side) / STEPS for side in zip(*rounds, strict=True)]
    gflop_per_s = shape.flop_per_step / ms[0] * 1e-6
    print(
        f"ai.train {knobs}: {ms[0]:.2f} ms a step, {gflop_per_s:.0f} GFLOP/s; NumPy {ms[1]:.2f} ms;"
        f" ratio {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
    )
    assert statistics.median(ratios) > 2
