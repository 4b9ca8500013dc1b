"""How long a run takes to end after it was told to: at random moments, a hundred times."""

from __future__ import annotations

import queue
import random
import time

import pytest

from gpupanel.model.workload import Event, Failed, Finished, Run
from gpupanel.stress.catalog import WORKLOADS
from gpupanel.stress.runner import Runner

TRIES = 100
LATEST_S = 3.0
"""Preparing takes about this long with warm caches: half of the moments hit it."""

LIMIT_S = 0.2


def stop_after(workload: str, wait_s: float) -> float:
    """Seconds from the order to stop until the worker is gone and its last event is here."""
    events: queue.Queue[Event] = queue.Queue()
    runner = Runner(Run(workload, "cpu", 60), events.put)
    runner.start()
    time.sleep(wait_s)  # the moment is what is random here
    start_s = time.perf_counter()
    runner.stop()
    while not isinstance(event := events.get(timeout=10), Finished | Failed):
        pass
    took_s = time.perf_counter() - start_s
    runner.close()
    assert isinstance(event, Finished), event
    return took_s


@pytest.mark.perf
def test_every_stop_is_quick() -> None:
    dice = random.Random(20261128)
    names = [info.name for info in WORKLOADS]
    took_s = sorted(
        stop_after(dice.choice(names), dice.uniform(0.0, LATEST_S)) for _ in range(TRIES)
    )
    print(
        f"\nstop: median {1000 * took_s[TRIES // 2]:.0f} ms, "
        f"95th {1000 * took_s[TRIES * 95 // 100]:.0f} ms, worst {1000 * took_s[-1]:.0f} ms"
    )
    assert took_s[-1] < LIMIT_S
