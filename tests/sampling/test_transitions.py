"""State changes become events, once each."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from gpupanel.model.gpu import GpuState, Sample, Snapshot
from gpupanel.sampling.transitions import Transitions


def snapshot(time_s: float, **states: GpuState) -> Snapshot:
    samples = tuple(Sample(gpu_id, {}, state) for gpu_id, state in states.items())
    return Snapshot(1e9 + time_s, time_s, samples)


def test_each_change_is_told_once_with_its_time() -> None:
    transitions = Transitions()
    lives = [GpuState.ACTIVE, GpuState.ASLEEP, GpuState.ASLEEP, GpuState.ACTIVE, GpuState.LOST]
    told = [transitions.events(snapshot(n, a=state)) for n, state in enumerate(lives)]
    kinds = [[event.kind for event in events] for events in told]
    assert kinds == [[], ["asleep"], [], ["awake"], ["lost"]]
    assert told[1][0].time_unix_s == 1e9 + 1
    assert told[1][0].gpu_id == "a"


@given(st.lists(st.sampled_from(GpuState), min_size=1, max_size=30))
def test_there_are_as_many_events_as_changes(states: list[GpuState]) -> None:
    transitions = Transitions()
    told = [
        event
        for n, state in enumerate(states)
        for event in transitions.events(snapshot(n, a=state))
    ]
    changes = sum(before is not after for before, after in itertools.pairwise(states))
    assert len(told) == changes


def limited(time_s: float, *names: str) -> Snapshot:
    return Snapshot(1e9 + time_s, time_s, (Sample("a", {}, limited_by=names),))


def test_a_fault_that_holds_the_clocks_is_told_at_its_begin_and_its_end() -> None:
    transitions = Transitions()
    told = []
    for second in range(100):
        names = ("thermal", "power_cap") if 10 <= second < 40 else ("power_cap",)
        told += transitions.events(limited(float(second), *names))
    assert [(one.kind, one.time_unix_s - 1e9, one.text) for one in told] == [
        ("throttle", 10.0, "a is slowed down: temperature"),
        ("throttle", 50.0, "a is no longer slowed down: temperature, for 29 s"),
    ]


def test_a_fault_that_flickers_is_one_event() -> None:
    transitions = Transitions()
    told = [
        event
        for second in range(60)
        for event in transitions.events(limited(float(second), *("thermal",) * (second % 3 == 0)))
    ]
    assert [one.text for one in told] == ["a is slowed down: temperature"]


def test_a_fault_of_a_card_that_sleeps_ends_when_it_is_awake() -> None:
    transitions = Transitions()
    transitions.events(limited(0.0, "thermal"))
    assert [one.kind for one in transitions.events(snapshot(30.0, a=GpuState.ASLEEP))] == ["asleep"]
    kinds = [one.kind for one in transitions.events(limited(60.0))]
    assert kinds == ["awake", "throttle"]
