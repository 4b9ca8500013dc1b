"""The long memory over the protocol: questions that clients ask of it, each answer bounded.

The database is opened anew for each question, so that a chart that is drawn keeps neither a file
nor a thread; the sampler's thread is never waited for.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gpupanel.ipc.server import Method
from gpupanel.model.errors import HistoryRefused
from gpupanel.model.metrics import METRIC_BY_KEY
from gpupanel.sampling.energy import ENERGY_SPAN_S
from gpupanel.sampling.ledger import DAY_S, HeldMinute
from gpupanel.sampling.recall import Recall

MOST_POINTS = 1000
"""Of one series in one answer; no screen shows more."""

MOST_EVENTS = 500
"""In one answer: the newest; how many were left off is told."""

LONGEST_S = 366 * DAY_S


class Memory:
    """Answers from one database, or says why there is none."""

    def __init__(self, path: Path | None) -> None:
        """``path`` is None for an agent that writes no history."""
        self._path = path
        self.methods: Mapping[str, Method] = {
            "remembered": self._remembered,
            "series": self._series,
            "events": self._events,
            "energy": self._energy,
        }

    def held_minutes(self, now_unix_s: float) -> list[HeldMinute]:
        """The ledger of the last day; empty where nothing was remembered yet."""
        try:
            with self._open() as recall:
                return recall.held(now_unix_s - DAY_S)
        except HistoryRefused:
            # Who cannot read it cannot write it either, which the store tells; and an account
            # says how much of its time was watched.
            return []

    def _open(self) -> Recall:
        if self._path is None:
            raise HistoryRefused("this agent writes no history")
        return Recall(self._path)

    def _remembered(self, params: Mapping[str, Any]) -> Mapping[str, Any]:
        """Which metrics there are of which GPUs, and from when to when."""
        del params
        metrics: dict[str, list[str]] = {}
        with self._open() as recall:
            for gpu_id, key in recall.names():
                if key in METRIC_BY_KEY:
                    metrics.setdefault(gpu_id, []).append(key)
            since_s, until_s = recall.span_s() or (None, None)
        return {"gpus": metrics, "since_unix_s": since_s, "until_unix_s": until_s}

    def _series(self, params: Mapping[str, Any]) -> Mapping[str, Any]:
        """One metric of one GPU; points that are further apart than the width are a gap."""
        since_s, until_s = _span(params)
        most = int(params["points"])
        if not 0 < most <= MOST_POINTS:
            raise ValueError(f"points is 1 to {MOST_POINTS}")
        with self._open() as recall:
            width_s = recall.width_s(since_s, until_s, most)
            points = recall.series(params["gpu"], params["metric"], since_s, until_s, most)
        # As many digits as a 32-bit float has.
        return {
            "width_s": width_s,
            "points": [
                (time_s, *(float(f"{value:.7g}") for value in values)) for time_s, *values in points
            ],
        }

    def _events(self, params: Mapping[str, Any]) -> Mapping[str, Any]:
        since_s, until_s = _span(params)
        with self._open() as recall:
            events = recall.events(since_s, until_s, MOST_EVENTS + 1)
        return {
            "events": [one.as_json() for one in events[-MOST_EVENTS:]],
            "complete": len(events) <= MOST_EVENTS,
        }

    def _energy(self, params: Mapping[str, Any]) -> Mapping[str, Any]:
        """What each GPU took in the whole hours that the span touches."""
        since_s, until_s = _span(params)
        with self._open() as recall:
            by_gpu = recall.energy(since_s, until_s)
        return {
            "since_unix_s": since_s // ENERGY_SPAN_S * ENERGY_SPAN_S,
            "gpus": {gpu_id: energy._asdict() for gpu_id, energy in by_gpu.items()},
        }


def _span(params: Mapping[str, Any]) -> tuple[float, float]:
    since_s, until_s = float(params["since_unix_s"]), float(params["until_unix_s"])
    if not 0 <= since_s < until_s <= since_s + LONGEST_S:
        raise ValueError("since_unix_s is before until_unix_s, by a year at most")
    return since_s, until_s
