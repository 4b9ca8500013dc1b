"""The service's long memory, asked as if it were a file of our own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from gpupanel.model.event import EventRecord
from gpupanel.model.gpu import GpuId
from gpupanel.sampling.energy import Energy
from gpupanel.sampling.rollup import Bin

_POINTS = 1000
"""An hour, which is what an export asks for at a time, has 360 of the finest."""

_SHORTEST_S = 1.0


class ServiceMemory:
    """Answers what ``gpupanel.sampling.recall.Recall`` answers of a file."""

    def __init__(self, ask: Callable[[str, Mapping[str, Any]], Mapping[str, Any]]) -> None:
        """``ask`` is ``Client.call``."""
        self._ask = ask

    def names(self) -> list[tuple[GpuId, str]]:
        """Every (GPU, metric) that was ever remembered."""
        known = self._ask("remembered", {})["gpus"]
        return [(gpu, key) for gpu, keys in known.items() for key in keys]

    def span_s(self) -> tuple[float, float] | None:
        """Time of the oldest and the newest reading; None when there is none."""
        told = self._ask("remembered", {})
        since_s, until_s = told["since_unix_s"], told["until_unix_s"]
        return None if since_s is None else (since_s, until_s)

    def bins(self, gpu_id: GpuId, metric: str, since_s: float, until_s: float) -> list[Bin]:
        """One metric of one GPU, oldest first; how many readings are in a bin is not told."""
        span = {"since_unix_s": since_s, "until_unix_s": until_s}
        asked = {"gpu": gpu_id, "metric": metric, "points": _POINTS, **span}
        points = self._ask("series", asked)["points"]
        return [Bin(int(start_s), 1, *values) for start_s, *values in points]

    def events(self, since_s: float, until_s: float) -> list[EventRecord]:
        """What happened, oldest first; asked for in halves where there is too much for once."""
        told = self._ask("events", {"since_unix_s": since_s, "until_unix_s": until_s})
        if told["complete"] or until_s - since_s < _SHORTEST_S:
            return [EventRecord.from_json(one) for one in told["events"]]
        middle_s = (since_s + until_s) / 2
        return [*self.events(since_s, middle_s), *self.events(middle_s, until_s)]

    def energy(self, since_s: float, until_s: float) -> dict[GpuId, Energy]:
        """What each GPU took in the whole hours that the span touches."""
        told = self._ask("energy", {"since_unix_s": since_s, "until_unix_s": until_s})["gpus"]
        return {gpu: Energy(**taken) for gpu, taken in told.items()}
