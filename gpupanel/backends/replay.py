"""Plays a recording as if its GPUs were in this machine: in the window, in tests, in bug reports.

Opened by its path and not through BACKENDS. The whole file is checked before anything is played;
after that a line is read when its time has come, so that an hour of eight GPUs costs no memory.
"""

from __future__ import annotations

import json
import time
from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import replace
from math import isfinite
from pathlib import Path
from typing import Any, TypeVar

from gpupanel.backends.base import ProbeResult, ProbeState, checked
from gpupanel.model.errors import BackendError, DriverMissing
from gpupanel.model.gpu import (
    GpuId,
    GpuInfo,
    ProcessSample,
    Reading,
    Sample,
    Snapshot,
    Unavailable,
)
from gpupanel.model.limits import LIMIT_BY_NAME
from gpupanel.model.metrics import METRIC_BY_KEY

FORMAT = "gpupanel-recording"
VERSION = 1

NOT_RECORDED = Unavailable("not in the recording")

LONGEST_LINE_BYTES = 4 << 20

_Parsed = TypeVar("_Parsed")


class ReplayBackend:
    """The GPUs of one recording, from its first snapshot at ``probe``, again and again.

    A snapshot holds until the next, and the last for as long as the one before. Who was not in
    the recording's first line is not played.
    """

    name = "replay"
    hidden_processes_reason = ""

    def __init__(self, path: Path, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._monotonic_s = monotonic_s
        self._gpus: tuple[GpuInfo, ...] = ()
        self._times_s: list[float] = []
        self._offsets: list[int] = []
        self._length_s = self._started_s = 0.0
        self._shown: tuple[int, Mapping[GpuId, Sample]] = (-1, {})

    def probe(self) -> ProbeResult:
        """Check the whole file, and begin to play.

        Raises:
            DriverMissing: There is no such file.
            BackendError: It is no recording; names the line.
        """
        self.close()
        try:
            reason = self._index()
        except FileNotFoundError as error:
            raise DriverMissing(f"{self._path}: there is no such recording") from error
        except OSError as error:
            raise BackendError(f"{self._path}: {error.strerror}") from error
        steps_s = [b - a for a, b in zip(self._times_s, self._times_s[1:], strict=False)]
        self._length_s = self._times_s[-1] - self._times_s[0] + (steps_s[-1] if steps_s else 1.0)
        self._started_s = self._monotonic_s()
        return ProbeResult(self.name, ProbeState.OK, reason)

    def gpus(self) -> tuple[GpuInfo, ...]:
        """As recorded, with this backend's name."""
        return self._gpus

    def sample(self, gpu_id: GpuId) -> Sample:
        """What this GPU said then.

        Raises:
            BackendError: It was not in that snapshot, or the file changed since ``probe``.
        """
        if not self._times_s:
            raise BackendError(f"{self._path}: the recording is not open")
        into_s = (self._monotonic_s() - self._started_s) % self._length_s
        place = max(0, bisect_right(self._times_s, self._times_s[0] + into_s) - 1)
        if self._shown[0] != place:
            self._shown = place, self._read(place)
        try:
            return self._shown[1][gpu_id]
        except KeyError:
            raise BackendError(f"{gpu_id} was not there at this point of the recording") from None

    def processes(self) -> tuple[ProcessSample, ...]:
        """Recordings hold no processes: whose they were is nobody's business."""
        return ()

    def close(self) -> None:
        """Forget the file."""
        self._gpus, self._times_s, self._offsets = (), [], []
        self._shown = (-1, {})

    def _index(self) -> str:
        """Check every line, and note where each snapshot begins; returns what was left out."""
        with self._path.open("rb") as file:
            gpus = self._checked_line(1, file.readline(LONGEST_LINE_BYTES), _gpus_of)
            times_s: list[float] = []
            offsets: list[int] = []
            offset, left_out = file.tell(), ""
            while raw := file.readline(LONGEST_LINE_BYTES):
                number = len(times_s) + 2
                if not raw.endswith(b"\n") and len(raw) < LONGEST_LINE_BYTES:
                    left_out = f"{self._path}:{number}: the last line is not complete; left out"
                    break
                times_s.append(self._checked_line(number, raw, snapshot_of).time_monotonic_s)
                offsets.append(offset)
                offset = file.tell()
                if len(times_s) > 1 and times_s[-1] <= times_s[-2]:
                    raise BackendError(f"{self._path}:{number}: time does not go on")
        if not times_s:
            raise BackendError(f"{self._path}:2: the recording has no snapshot")
        self._gpus, self._times_s, self._offsets = gpus, times_s, offsets
        return left_out

    def _read(self, place: int) -> Mapping[GpuId, Sample]:
        try:
            with self._path.open("rb") as file:
                file.seek(self._offsets[place])
                raw = file.readline(LONGEST_LINE_BYTES)
        except OSError as error:
            raise BackendError(f"{self._path}: {error.strerror}") from error
        snapshot = self._checked_line(place + 2, raw, snapshot_of)
        return {sample.gpu_id: sample for sample in snapshot.samples}

    def _checked_line(self, number: int, raw: bytes, parse: Callable[[Any], _Parsed]) -> _Parsed:
        try:
            return parse(json.loads(raw))
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            why = f"{error} is missing" if isinstance(error, KeyError) else str(error)
            raise BackendError(f"{self._path}:{number}: not a recording: {why}") from error


def _gpus_of(document: Mapping[str, Any]) -> tuple[GpuInfo, ...]:
    if document["format"] != FORMAT:
        raise ValueError(f"the format is {document['format']!r}, not {FORMAT!r}")
    if document["version"] != VERSION:
        raise ValueError(f"version {document['version']!r}; this gpupanel knows {VERSION}")
    gpus = tuple(replace(_gpu_of(entry), backend="replay") for entry in document["gpus"])
    if len({gpu.id for gpu in gpus}) < len(gpus):
        raise ValueError("a GPU is listed twice")
    return gpus


def _gpu_of(entry: Mapping[str, Any]) -> GpuInfo:
    gpu = GpuInfo.from_json(entry)
    for key in ("id", "name", "vendor"):
        _require(isinstance(entry[key], str) and entry[key], f"{key} must be text")
    for key in ("driver_version", "pci_bus_id"):
        _require(isinstance(entry[key], str | None), f"{key} must be text")
    if gpu.memory_total_bytes is not None:
        _number("memory_total_bytes", gpu.memory_total_bytes)
    _require(all(isinstance(text, str) for text in gpu.details.values()), "details must be text")
    return replace(
        gpu,
        limits={
            key: value
            for key, value in gpu.limits.items()
            if key in METRIC_BY_KEY and _number(key, value)
        },
        details=dict(gpu.details),
    )


def snapshot_of(document: Mapping[str, Any]) -> Snapshot:
    """One line of a recording, complete and plausible: what METRICS does not know is left out.

    Raises:
        ValueError, TypeError, KeyError, AttributeError: It is none.
    """
    snapshot = Snapshot.from_json(document)
    for key in ("time_unix_s", "time_monotonic_s"):
        _number(key, document[key])
    return replace(snapshot, samples=tuple(_complete(sample) for sample in snapshot.samples))


def _complete(sample: Sample) -> Sample:
    _require(isinstance(sample.gpu_id, str), "the id of a GPU must be text")
    limits = sample.limited_by
    if isinstance(limits, Unavailable):
        _require(isinstance(limits.reason, str), "a reason must be text")
    else:
        limits = tuple(name if name in LIMIT_BY_NAME else "other" for name in limits)
    since_s = sample.state_since_unix_s
    return replace(
        sample,
        readings={
            key: _reading(key, sample.readings.get(key, NOT_RECORDED)) for key in METRIC_BY_KEY
        },
        state_since_unix_s=None if since_s is None else _number("state_since_unix_s", since_s),
        limited_by=limits,
        limited_s={
            name: _number(name, seconds)
            for name, seconds in sample.limited_s.items()
            if name in LIMIT_BY_NAME
        },
    )


def _reading(key: str, reading: Reading) -> Reading:
    if isinstance(reading, Unavailable):
        _require(isinstance(reading.reason, str), f"{key}: a reason must be text")
        return reading
    _require(_is_number(reading), f"{key}: {str(reading)[:40]!r} is not a number")
    return checked(key, reading)


def _number(name: str, value: float) -> float:
    _require(_is_number(value) and isfinite(value), f"{name} must be a number")
    return value


def _is_number(value: object) -> bool:
    # Whole numbers beyond 64 bits are no readings, and arithmetic with floats overflows.
    return isinstance(value, float) or (type(value) is int and abs(value) < 1 << 63)


def _require(is_right: object, text: str) -> None:
    if not is_right:
        raise ValueError(text)
