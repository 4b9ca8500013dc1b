"""An agent that answers when it is told to, with a day that is easy to reckon with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from gpupanel.model.event import EventRecord

GPU_ID = "GPU-0f1e2d3c-1234-5678"
POWER, TEMPERATURE = "power_draw_w", "temperature_gpu_c"
WIDTH_S = 10.0


@dataclass
class Asked:
    method: str
    params: Mapping[str, Any]
    answer: Callable[[Mapping[str, Any]], None]
    refuse: Callable[[str], None]


@dataclass
class PastAgent:
    """``asked`` waits; ``answer`` answers all of it."""

    asked: list[Asked] = field(default_factory=list)
    seen: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)
    wants_processes: list[bool] = field(default_factory=list)
    metrics: tuple[str, ...] = (POWER, TEMPERATURE)
    limits: Mapping[str, Any] = field(default_factory=dict)
    events: tuple[tuple[float, str | None, str, str], ...] = ()
    energy: Mapping[str, float] | None = None
    complete: bool = True
    is_service: bool = False

    def ask(
        self,
        method: str,
        params: Mapping[str, Any],
        answer: Callable[[Mapping[str, Any]], None],
        refuse: Callable[[str], None],
    ) -> None:
        self.asked.append(Asked(method, params, answer, refuse))
        self.seen.append((method, params))

    def want_processes(self, wanted: bool) -> None:
        self.wants_processes.append(wanted)

    def answer(self) -> None:
        while self.asked:
            one = self.asked.pop(0)
            one.answer(self._result(one.method, one.params))

    def refuse(self, reason: str) -> None:
        waiting, self.asked = self.asked, []
        for one in waiting:
            one.refuse(reason)

    def _result(self, method: str, params: Mapping[str, Any]) -> Mapping[str, Any]:
        match method:
            case "remembered":
                return {"gpus": {GPU_ID: self.metrics}, "since_unix_s": 0, "until_unix_s": 1}
            case "limits":
                return {"limits": self.limits}
            case "series":
                return {"width_s": WIDTH_S, "points": self.points(params)}
            case "events":
                until_s = params["until_unix_s"]
                events = [
                    EventRecord(until_s - back_s, gpu_id, kind, text).as_json()
                    for back_s, gpu_id, kind, text in self.events
                ]
                return {"events": events, "complete": self.complete}
            case "energy":
                gpus = {} if self.energy is None else {GPU_ID: self.energy}
                return {"since_unix_s": params["since_unix_s"] // 3600 * 3600, "gpus": gpus}
        return {}

    def points(self, params: Mapping[str, Any]) -> list[tuple[float, float, float, float]]:
        """Known for the first and the last quarter of the span: 100 to 140 around 120."""
        since_s, until_s = params["since_unix_s"], params["until_unix_s"]
        quarter_s = (until_s - since_s) / 4
        first = int(since_s // WIDTH_S + 1)
        last = int(until_s // WIDTH_S)
        return [
            (number * WIDTH_S, 100.0, 120.0, 140.0)
            for number in range(first, last)
            if not since_s + quarter_s <= number * WIDTH_S < until_s - quarter_s
        ]
