"""What changed between two snapshots, as events: a GPU slept, woke, was lost, came back."""

from __future__ import annotations

from collections.abc import Mapping

from gpupanel.model.event import EventRecord
from gpupanel.model.gpu import GpuId, GpuState, Snapshot

_KINDS: Mapping[tuple[GpuState, GpuState], tuple[str, str]] = {
    (GpuState.ACTIVE, GpuState.ASLEEP): ("asleep", "fell asleep"),
    (GpuState.LOST, GpuState.ASLEEP): ("asleep", "fell asleep"),
    (GpuState.ASLEEP, GpuState.ACTIVE): ("awake", "woke up"),
    (GpuState.LOST, GpuState.ACTIVE): ("recovered", "answers again"),
    (GpuState.ACTIVE, GpuState.LOST): ("lost", "does not answer any more"),
    (GpuState.ASLEEP, GpuState.LOST): ("lost", "does not answer any more"),
}
"""From and to: kind and words."""


class Transitions:
    """Compares each snapshot with the one before. One thread at a time."""

    def __init__(self) -> None:
        self._states: dict[GpuId, GpuState] = {}

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
        return found
