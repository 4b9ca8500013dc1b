"""What the long memory costs: seven days of eight GPUs on a simulated clock."""

from __future__ import annotations

import gc
import random
import statistics
import time
from collections.abc import Iterator, Sequence
from math import inf
from pathlib import Path

import pytest

from gpupanel.model.gpu import Sample, Snapshot
from gpupanel.model.metrics import METRICS, Metric
from gpupanel.sampling import store as store_module
from gpupanel.sampling.recall import Recall
from gpupanel.sampling.rolling import SPAN_S
from gpupanel.sampling.store import Store

pytestmark = pytest.mark.perf

START_S = 1_800_000_000
DAYS = 7
TICKS = DAYS * 86400


def reading(metric: Metric, rng: random.Random) -> float:
    """Noise in whole steps where a driver counts in them, the worst to pack elsewhere."""
    if metric.high <= 200:
        return float(rng.randrange(int(metric.high)))
    return rng.random() * metric.high / 10


def noisy(count: int) -> Sequence[tuple[Sample, ...]]:
    rng = random.Random(1)
    return [
        tuple(
            Sample(f"GPU-{gpu}", {metric.key: reading(metric, rng) for metric in METRICS})
            for gpu in range(8)
        )
        for _ in range(count)
    ]


def test_seven_days_of_eight_gpus_at_one_hertz(tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    pool = noisy(997)
    store = Store(path)
    began_s = time.process_time()
    longest_s = 0.0
    for second in range(TICKS):
        before_s = time.perf_counter()
        store.append(Snapshot(START_S + second, float(second), pool[second % 997]))
        longest_s = max(longest_s, time.perf_counter() - before_s)
    tick_us = (time.process_time() - began_s) / TICKS * 1e6
    assert store.problem == ""
    size = sum(file.stat().st_size for file in tmp_path.iterdir())
    day_ms = []
    with Recall(path) as recall:
        end_s = START_S + TICKS
        for gpu in range(8):
            began_s = time.perf_counter()
            points = recall.series(f"GPU-{gpu}", "power_draw_w", end_s - 86400, end_s, 1000)
            day_ms.append((time.perf_counter() - began_s) * 1e3)
            assert len(points) >= 900
        began_s = time.perf_counter()
        week = recall.bins("GPU-0", "power_draw_w", START_S, end_s)
        week_ms = (time.perf_counter() - began_s) * 1e3
    store.close()
    assert sum(one.readings for one in week) == TICKS
    print(
        f"{size / 1e6:.1f} MB; a day {statistics.median(day_ms):.1f} ms (worst {max(day_ms):.1f}),"
        f" the week {week_ms:.1f} ms; {tick_us:.0f} us CPU a tick, longest {longest_s * 1e3:.0f} ms"
    )
    assert size <= 120e6
    assert statistics.median(day_ms) <= 30


BLOCKS = 6


@pytest.fixture
def pool() -> Iterator[Sequence[tuple[Sample, ...]]]:
    """Kept from Python's garbage collector, for the program has no such heap to look through."""
    made = noisy(997)
    gc.freeze()
    yield made
    gc.unfreeze()


def longest_holds_ms(path: Path, pool: Sequence[tuple[Sample, ...]]) -> list[float]:
    """The longest time that ``append`` held its tick, for each block that was rolled up."""
    store = Store(path)
    longest = [0.0] * (BLOCKS + 1)
    for second in range((BLOCKS + 1) * SPAN_S):
        before_s = time.perf_counter()
        store.append(Snapshot(START_S + second, float(second), pool[second % 997]))
        hold_ms = (time.perf_counter() - before_s) * 1e3
        longest[second // SPAN_S] = max(longest[second // SPAN_S], hold_ms)
    assert store.problem == ""
    store.close()
    return longest[1:]  # in the first, nothing is over yet


def test_rolling_up_holds_no_tick_for_long(
    tmp_path: Path, pool: Sequence[tuple[Sample, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    in_steps = longest_holds_ms(tmp_path / "steps.db", pool)
    monkeypatch.setattr(store_module, "ROLL_S", inf)
    at_once = longest_holds_ms(tmp_path / "once.db", pool)
    steps_ms, once_ms = statistics.median(in_steps), statistics.median(at_once)
    print(
        f"8 GPUs, longest hold of a tick: {steps_ms:.1f} ms in steps (worst {max(in_steps):.1f}), "
        f"{once_ms:.1f} ms at once: {once_ms / steps_ms:.0f} times less"
    )
    assert steps_ms <= 5
    assert once_ms / steps_ms >= 5
