"""A run as it was: what was asked, every event, and what the card did meanwhile."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from gpupanel import __version__
from gpupanel.model.errors import RecordError
from gpupanel.model.gpu import GpuInfo, Sample, Unavailable
from gpupanel.model.workload import (
    Event,
    Failed,
    Finished,
    Progress,
    Run,
    Started,
    event_as_json,
    event_from_json,
)

FORMAT = "gpupanel.run"
FORMAT_VERSION = 1

TRACED = (
    "power_draw_w",
    "power_limit_w",
    "temperature_gpu_c",
    "temperature_hotspot_c",
    "temperature_memory_c",
    "clock_graphics_mhz",
    "clock_memory_mhz",
    "utilization_gpu_percent",
    "fan_speed_percent",
)
"""Metrics of the GPU that a record keeps."""


@dataclass(frozen=True, slots=True)
class TracePoint:
    """The GPU at one instant of the run.

    Attributes:
        seconds: Since measuring began.
        readings: Those of TRACED that were known then.
        limited_by: Names of LIMITS that held the clocks down.
    """

    seconds: float
    readings: Mapping[str, float]
    limited_by: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One run, whole.

    Attributes:
        gpupanel: Version of the program that made it.
        time_unix_s: When measuring began, or the run was asked for if it never did.
        started: None if the run failed before.
        last: How it ended.
    """

    gpupanel: str
    time_unix_s: float
    run: Run
    gpu: GpuInfo
    started: Started | None
    progress: tuple[Progress, ...]
    last: Finished | Failed
    trace: tuple[TracePoint, ...]

    @property
    def work_per_j(self) -> float | None:
        """Work per joule over the run; None without a power sensor."""
        last = self.last
        if isinstance(last, Failed) or not last.energy_j:
            return None
        return last.work / last.energy_j

    def as_json(self) -> dict[str, Any]:
        """The document that ``--report FILE.json`` writes."""
        return {
            "format": FORMAT,
            "version": FORMAT_VERSION,
            "gpupanel": self.gpupanel,
            "time_unix_s": self.time_unix_s,
            "run": asdict(self.run),
            "gpu": self.gpu.as_json(),
            "started": event_as_json(self.started) if self.started else None,
            "progress": [event_as_json(event) for event in self.progress],
            "last": event_as_json(self.last),
            "work_per_j": self.work_per_j,
            "trace": [asdict(point) for point in self.trace],
        }

    @classmethod
    def from_json(cls, document: object) -> RunRecord:
        """Inverse of ``as_json``.

        Raises:
            RecordError: It is no record of a run, or one of a later version.
        """
        if not isinstance(document, dict) or document.get("format") != FORMAT:
            raise RecordError("it is not a record of a run (gpupanelctl stress run --report)")
        if document.get("version") != FORMAT_VERSION:
            raise RecordError(f"its version is {document.get('version')}: update gpupanel")
        try:
            return cls._from_json(document)
        except (KeyError, TypeError, ValueError, AttributeError) as fault:
            raise RecordError(f"it is damaged: {type(fault).__name__} {fault}") from fault

    @classmethod
    def _from_json(cls, document: Mapping[str, Any]) -> RunRecord:
        started = document["started"] and event_from_json(document["started"])
        last = event_from_json(document["last"])
        progress = tuple(event_from_json(entry) for entry in document["progress"])
        if not isinstance(last, Finished | Failed) or not isinstance(started, Started | None):
            raise ValueError("the events are of the wrong kind")
        return cls(
            gpupanel=str(document["gpupanel"]),
            time_unix_s=float(document["time_unix_s"]),
            run=Run(**document["run"]),
            gpu=GpuInfo.from_json(document["gpu"]),
            started=started,
            progress=tuple(event for event in progress if isinstance(event, Progress)),
            last=last,
            trace=tuple(
                TracePoint(point["seconds"], point["readings"], tuple(point["limited_by"]))
                for point in document["trace"]
            ),
        )


def read_record(text: str) -> RunRecord:
    """A record from the text of its file.

    Raises:
        RecordError: It is not one.
    """
    try:
        document = json.loads(text)
    except ValueError as fault:
        raise RecordError(f"it is not JSON: {fault}") from fault
    return RunRecord.from_json(document)


class Recorder:
    """Collects a run as it happens; events and samples may come on different threads."""

    def __init__(self, run: Run, gpu: GpuInfo, time_unix_s: float) -> None:
        self._run = run
        self._gpu = gpu
        self._time_unix_s = time_unix_s
        self._start_s: float | None = None
        self._started: Started | None = None
        self._progress: list[Progress] = []
        self._last: Finished | Failed | None = None
        self._trace: list[TracePoint] = []
        self._lock = threading.Lock()

    def event(self, event: Event, now_s: float, time_unix_s: float) -> None:
        """Take note of the run's next event.

        Args:
            event: Preparing is not kept.
            now_s: Monotonic clock.
            time_unix_s: Wall clock.
        """
        with self._lock:
            if isinstance(event, Started):
                self._started, self._start_s, self._time_unix_s = event, now_s, time_unix_s
            elif isinstance(event, Progress):
                self._progress.append(event)
            elif isinstance(event, Finished | Failed):
                self._last = event

    def sample(self, sample: Sample, now_s: float) -> None:
        """Take note of the GPU; before measuring begins and after its end nothing is kept."""
        with self._lock:
            if self._start_s is None or self._last is not None:
                return
            known = {key: sample.readings.get(key) for key in TRACED}
            readings = {k: v for k, v in known.items() if isinstance(v, int | float)}
            limits = sample.limited_by
            names = () if isinstance(limits, Unavailable) else limits
            self._trace.append(TracePoint(now_s - self._start_s, readings, names))

    def record(self) -> RunRecord:
        """The whole run; call after its last event."""
        with self._lock:
            assert self._last is not None
            return RunRecord(
                gpupanel=__version__,
                time_unix_s=self._time_unix_s,
                run=self._run,
                gpu=self._gpu,
                started=self._started,
                progress=tuple(self._progress),
                last=self._last,
                trace=tuple(self._trace),
            )
