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
