from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gpupanel.policy.limiter import MAX_HOLD_S, Limiter

LONGEST_S = 0.25
CHUNKS = st.lists(st.floats(0.001, LONGEST_S), min_size=1, max_size=20)


@dataclass
class Device:
    """A device that runs chunks one after another and rests as long as it is told, or longer."""

    limiter: Limiter
    chunks: Iterator[float]
    late_s: float = 0.0
    now_s: float = 1000.0
    busy_s: float = 0.0
    spans: list[tuple[float, float]] = field(default_factory=list)
    holds: list[float] = field(default_factory=list)
    bursts: list[int] = field(default_factory=lambda: [0])

    def until(self, end_s: float) -> None:
        """At least until ``end_s``, and to the end of the rest that follows."""
        while self.now_s < end_s + 100:
            hold_s = self.limiter.wait_s(self.now_s)
            assert 0 <= hold_s <= MAX_HOLD_S
            if hold_s == 0 and self.now_s >= end_s and self.bursts[-1] == 0:
                return
            if hold_s > 0:
                self.now_s += hold_s + self.late_s
                self.holds.append(hold_s)
                self.bursts += [0] if self.bursts[-1] else []
            else:
                self.run_one()
        raise AssertionError("the limiter does not rest")

    def run_one(self) -> None:
        chunk_s = next(self.chunks)
        start_s, self.now_s = self.now_s, self.now_s + chunk_s
        self.busy_s += chunk_s
        self.spans.append((start_s, self.now_s))
        self.bursts[-1] += 1
        self.limiter.charge(chunk_s, self.now_s)


def device(cap_percent: int, chunks: Iterable[float], late_s: float = 0.0) -> Device:
    return Device(Limiter(cap_percent), itertools.cycle(chunks), late_s)


def share_percent(run: Device) -> float:
    return 100 * run.busy_s / (run.now_s - 1000)


@given(st.integers(5, 95), CHUNKS)
@example(50, [0.001])
@example(5, [LONGEST_S])
@example(95, [LONGEST_S, 0.001])
def test_the_share_is_the_cap_over_whole_bursts_and_rests(cap: int, chunks: list[float]) -> None:
    run = device(cap, chunks)
    run.until(1030)
    assert share_percent(run) == pytest.approx(cap, abs=0.5)


@given(st.integers(5, 95), st.floats(0.001, 0.05), st.floats(30, 32))
def test_the_share_is_the_cap_at_any_instant(cap: int, chunk_s: float, end_s: float) -> None:
    run = device(cap, [chunk_s])
    run.until(1000 + end_s + 1 / (cap / 100))
    busy_s = sum(max(0.0, min(end, 1000 + end_s) - start) for start, end in run.spans
                 if start < 1000 + end_s)  # fmt: skip
    assert 100 * busy_s / end_s == pytest.approx(cap, abs=0.6)


@given(st.integers(5, 95), CHUNKS)
def test_no_window_holds_more_than_the_cap_and_one_burst(cap: int, chunks: list[float]) -> None:
    run = device(cap, chunks)
    run.until(1030)
    share = cap / 100
    burst_s = share * 1.0 + share * (1 - share) / 2 + LONGEST_S
    busy_s = least = 0.0
    for start_s, end_s in run.spans:
        # The most over all windows that begin with a chunk and end with a later one.
        least = min(least, busy_s - share * (start_s - 1000))
        busy_s += end_s - start_s
        assert busy_s - share * (end_s - 1000) - least <= burst_s + 1e-9


@given(st.integers(5, 95), st.integers(5, 95), CHUNKS, st.floats(1, 20))
def test_a_new_cap_holds_from_then_on(
    first: int, second: int, chunks: list[float], after_s: float
) -> None:
    run = device(first, chunks)
    run.until(1000 + after_s)
    run.limiter.set_cap(second, run.now_s)
    changed_s, busy_before_s = run.now_s, run.busy_s
    run.until(changed_s + 60)
    share = 100 * (run.busy_s - busy_before_s) / (run.now_s - changed_s)
    assert share == pytest.approx(second, abs=0.5)


@given(st.integers(5, 95), CHUNKS)
def test_resting_longer_than_asked_is_not_lost(cap: int, chunks: list[float]) -> None:
    run = device(cap, chunks, late_s=0.01)
    run.until(1060)
    assert share_percent(run) == pytest.approx(cap, abs=0.5)


def test_the_device_runs_in_bursts_of_several_chunks() -> None:
    run = device(50, [0.01])
    run.until(1030)
    whole = run.bursts[1:-1]
    assert min(whole) >= 40
    assert len(whole) == pytest.approx(30, abs=2)


def test_long_chunks_at_a_small_cap_are_paid_off_in_holds_of_five_seconds() -> None:
    run = device(1, [LONGEST_S])
    run.until(1200)
    assert max(run.holds) == MAX_HOLD_S
    assert share_percent(run) == pytest.approx(1, abs=0.1)


def test_the_closed_cap_pays_for_the_longest_launch_within_one_hold() -> None:
    run = device(5, [LONGEST_S])
    run.until(1100)
    # Only the first, which starts without credit, is paid for in two.
    assert len(run.holds) == len(run.spans) + 1


@given(CHUNKS)
def test_full_speed_never_rests(chunks: list[float]) -> None:
    limiter, now_s = Limiter(100), 0.0
    for chunk_s in chunks * 10:
        # Overlapping work: more device time than wall time.
        limiter.charge(chunk_s * 2, now_s := now_s + chunk_s)
        assert limiter.wait_s(now_s) == 0
    limiter.set_cap(50, now_s)
    assert limiter.wait_s(now_s) == 0


@settings(max_examples=50)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["charge", "wait", "cap"]),
            st.floats(-1e6, 1e6),
            st.floats(0, 10),
            st.integers(1, 100),
        ),
        max_size=50,
    ),
    st.floats(1e-6, 100),
)
def test_any_clock_gives_waits_in_bounds_and_never_more_credit_than_one_window(
    calls: list[tuple[str, float, float, int]], window_s: float
) -> None:
    limiter = Limiter(50, window_s)
    for call, now_s, gpu_s, cap in calls:
        if call == "charge":
            limiter.charge(gpu_s, now_s)
        elif call == "cap":
            limiter.set_cap(cap, now_s)
        assert 0 <= limiter.wait_s(now_s) <= MAX_HOLD_S
    # However long it was idle, one window's worth of work makes it rest.
    limiter.set_cap(50, 2e6)
    limiter.charge(window_s, 2e6)
    assert limiter.wait_s(2e6) > 0


def test_a_clock_that_goes_back_earns_nothing_and_does_not_block() -> None:
    limiter = Limiter(50)
    limiter.charge(1, 100)
    before = limiter.wait_s(100)
    assert limiter.wait_s(50) == before
    assert limiter.wait_s(51) == pytest.approx(before - 1)


@pytest.mark.parametrize("gpu_seconds", [-0.1, float("nan"), float("inf")])
def test_impossible_work_is_refused(gpu_seconds: float) -> None:
    with pytest.raises(ValueError, match="GPU time"):
        Limiter(50).charge(gpu_seconds, 1)


@pytest.mark.parametrize(("cap", "window_s"), [(0, 1), (101, 1), (50, 0), (50, float("nan"))])
def test_impossible_limits_are_refused(cap: int, window_s: float) -> None:
    with pytest.raises(ValueError, match="expected"):
        Limiter(cap, window_s)
    with pytest.raises(ValueError, match="expected"):
        Limiter(50).set_cap(101, 0)
