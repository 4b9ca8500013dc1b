"""What changed between two snapshots, as events.

A GPU slept, woke, was lost, came back; or something that a person should look into began or ceased
to hold its clocks down.
"""

from __future__ import annotations

from collections.abc import Mapping

from gpupanel.model.event import EventRecord
from gpupanel.model.gpu import GpuId, GpuState, Sample, Snapshot, Unavailable
from gpupanel.model.limits import LIMIT_BY_NAME

_KINDS: Mapping[tuple[GpuState, GpuState], tuple[str, str]] = {
    (GpuState.ACTIVE, GpuState.ASLEEP): ("asleep", "fell asleep"),
    (GpuState.LOST, GpuState.ASLEEP): ("asleep", "fell asleep"),
    (GpuState.ASLEEP, GpuState.ACTIVE): ("awake", "woke up"),
    (GpuState.LOST, GpuState.ACTIVE): ("recovered", "answers again"),
    (GpuState.ACTIVE, GpuState.LOST): ("lost", "does not answer any more"),
    (GpuState.ASLEEP, GpuState.LOST): ("lost", "does not answer any more"),
}
"""From and to: kind and words."""


QUIET_S = 10.0
"""A reason that comes and goes faster than this is one event, not a hundred."""


class Transitions:
    """Compares each snapshot with the one before. One thread at a time."""

    def __init__(self) -> None:
        self._states: dict[GpuId, GpuState] = {}
        self._held: dict[tuple[GpuId, str], tuple[float, float]] = {}

    def events(self, snapshot: Snapshot) -> list[EventRecord]:
        """What changed since the last call; a GPU that is new, or new again, is no change."""
        found = []
        states, self._states = self._states, {one.gpu_id: one.state for one in snapshot.samples}
        for sample in snapshot.samples:
            before = states.get(sample.gpu_id, sample.state)
            if before is not sample.state:
                kind, words = _KINDS[before, sample.state]
                text = f"{sample.gpu_id} {words}"
                found.append(EventRecord(snapshot.time_unix_s, sample.gpu_id, kind, text))
            found += [
                EventRecord(snapshot.time_unix_s, sample.gpu_id, "throttle", text)
                for text in self._throttling(sample, snapshot.time_monotonic_s)
            ]
        return found

    def _throttling(self, sample: Sample, now_s: float) -> list[str]:
        """What to tell of the faults among the limits: their begin, and their end when it lasts."""
        if sample.state is not GpuState.ACTIVE or isinstance(sample.limited_by, Unavailable):
            return []
        told = []
        faults = [name for name in sample.limited_by if _is_fault(name)]
        for name in faults:
            key = sample.gpu_id, name
            if key not in self._held:
                told.append(f"{sample.gpu_id} is slowed down: {_words(name)}")
            self._held[key] = self._held.get(key, (now_s, now_s))[0], now_s
        for key, (since_s, last_s) in list(self._held.items()):
            if key[0] == sample.gpu_id and now_s - last_s > QUIET_S:
                del self._held[key]
                lasted_s = max(1, round(last_s - since_s))
                told.append(
                    f"{sample.gpu_id} is no longer slowed down: {_words(key[1])}, for {lasted_s} s"
                )
        return told


def _is_fault(name: str) -> bool:
    return name in LIMIT_BY_NAME and LIMIT_BY_NAME[name].is_fault


def _words(name: str) -> str:
    return LIMIT_BY_NAME[name].label.lower()
