"""One cell under one limiter, on a made-up GPU whose queue drains after each hold."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpupanel.enforcement.cap import LEARN_S, Cap, Pace
from gpupanel.model.gpu import Unavailable
from gpupanel.policy.limiter import MAX_HOLD_S
from tests.enforcement.worlds import ModelCell, ModelMeter, World


def run_s(cap: Cap, world: World, seconds: float) -> float:
    """GPU time that was used, in seconds a second."""
    began_s, used_s = world.now_s, world.used_s
    while world.now_s < began_s + seconds:
        world.pass_s(cap.step(world.now_s))
    return (world.used_s - used_s) / (world.now_s - began_s)


def made(world: World, percent: int) -> tuple[Cap, ModelCell]:
    cell = ModelCell(world, ())
    return Cap(cell, ModelMeter(world), percent, world.now_s), cell


@pytest.mark.parametrize("percent", [10, 25, 50, 80])
@pytest.mark.parametrize(
    ("batch_s", "settling_s"), [(0.001, 30), (0.01, 30), (0.05, 60), (0.2, 120)]
)
def test_a_queue_of_any_length_keeps_to_the_cap(
    percent: int, batch_s: float, settling_s: float
) -> None:
    world = World(batch_s=batch_s)
    cap, _ = made(world, percent)
    run_s(cap, world, settling_s)
    assert 100 * run_s(cap, world, max(60.0, cap.window_s)) == pytest.approx(percent, abs=1.0)
    assert cap.efficiency_percent() == pytest.approx(percent, abs=4)


@settings(max_examples=40)
@given(st.integers(2, 99), st.floats(0.05, 1.0), st.floats(0.001, 0.1))
def test_the_cap_is_a_share_of_what_is_done_uncapped(
    percent: int, demand: float, batch_s: float
) -> None:
    world = World(demand=demand, batch_s=batch_s)
    cap, _ = made(world, percent)
    run_s(cap, world, 60)
    used = run_s(cap, world, 120)
    assert 100 * used / demand == pytest.approx(percent, abs=max(2.0, 0.06 * percent))


def test_nobody_is_held_while_it_learns() -> None:
    world = World()
    cap, cell = made(world, 25)
    run_s(cap, world, LEARN_S - 0.3)
    assert cell.freezes == 0
    assert isinstance(cap.efficiency_percent(), Unavailable)
    run_s(cap, world, 2)
    assert cell.freezes > 0


def test_whoever_does_nothing_is_never_held() -> None:
    world = World(demand=0.001)
    cap, cell = made(world, 1)
    run_s(cap, world, 60)
    assert cell.freezes == 0


def longest_hold_s(batch_s: float, percent: int) -> float:
    world = World(batch_s=batch_s)
    cap, cell = made(world, percent)
    run_s(cap, world, 60)
    held_since_s, longest_s, until_s = world.now_s, 0.0, world.now_s + 120
    while world.now_s < until_s:
        due_s = cap.step(world.now_s)
        if not cell.frozen:
            held_since_s = world.now_s
        else:
            longest_s = max(longest_s, world.now_s + due_s - held_since_s)
        world.pass_s(due_s)
    return longest_s


def test_no_hold_is_longer_than_a_connection_lives() -> None:
    assert MAX_HOLD_S / 2 < longest_hold_s(0.005, 1) <= MAX_HOLD_S + 0.02


def test_unless_a_breath_would_feed_the_gpu_with_more_than_the_cap_allows() -> None:
    assert longest_hold_s(1.0, 5) > 2 * MAX_HOLD_S
    world = World(batch_s=1.0)
    cap, _ = made(world, 5)
    run_s(cap, world, 120)
    assert 100 * run_s(cap, world, 600) == pytest.approx(5, abs=1)


def test_turns_get_longer_with_the_queue_and_so_does_the_window() -> None:
    short, long = World(batch_s=0.005), World(batch_s=0.2)
    caps = [made(world, 50)[0] for world in (short, long)]
    for cap, world in zip(caps, (short, long), strict=True):
        run_s(cap, world, 60)
    assert caps[0].drain_s < 0.05
    assert 0.3 < caps[1].drain_s < 0.6
    assert caps[0].window_s == 10.0
    assert caps[1].window_s == pytest.approx(100 * caps[1].drain_s)


def test_another_cap_counts_at_once() -> None:
    world = World()
    cap, _ = made(world, 50)
    run_s(cap, world, 30)
    cap.set_cap(10, world.now_s)
    assert 100 * run_s(cap, world, 60) == pytest.approx(10, abs=1.0)


def test_a_neighbour_that_takes_half_of_the_gpu_halves_what_the_cap_is_of() -> None:
    world = World()
    cap, _ = made(world, 50)
    run_s(cap, world, 30)
    world.demand = 0.5
    run_s(cap, world, 120)
    assert cap.share == pytest.approx(0.5, abs=0.05)
    assert run_s(cap, world, 60) == pytest.approx(0.25, abs=0.03)


def test_what_an_earlier_daemon_learned_needs_no_learning() -> None:
    world = World()
    cap, cell = made(world, 25)
    cap.know(1.0)
    assert 100 * run_s(cap, world, 5) == pytest.approx(25, abs=12)
    assert cell.freezes > 0


def test_a_counter_that_jumps_holds_nobody_for_long() -> None:
    world = World()
    cap, cell = made(world, 50)
    run_s(cap, world, 10)
    world.used_s += 1e6
    run_s(cap, world, 70)
    assert 100 * run_s(cap, world, 60) == pytest.approx(50, abs=3)
    cap.let_go()
    assert not cell.frozen


@given(st.lists(st.tuples(st.floats(0.01, 3), st.floats(0, 2)), min_size=2, max_size=200))
def test_pace_is_the_difference_over_at_least_the_window(steps: list[tuple[float, float]]) -> None:
    pace = Pace(10.0)
    now_s = used_s = 0.0
    points = []
    for step_s, spent_s in steps:
        now_s, used_s = now_s + step_s, used_s + spent_s
        points.append((now_s, used_s))
        pace.append(now_s, used_s)
    share = pace.share(1.0)
    if now_s - points[0][0] >= 1.5:
        assert share is not None
    if share is not None:
        spans = [
            (used_s - before_s) / (now_s - then_s)
            for then_s, before_s in points
            if now_s - then_s >= 1.0
        ]
        assert any(share == pytest.approx(one) for one in spans)
