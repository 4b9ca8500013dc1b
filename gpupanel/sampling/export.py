"""The long memory as a file for other programs: CSV and JSON, written as it is read.

A row is one GPU at the start of one bin; times are ISO 8601 in UTC, units stand in the header. An
hour is held in memory at a time, however long the range.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import IO, Any, NamedTuple, Protocol

from gpupanel.model.event import EventRecord
from gpupanel.model.gpu import GpuId
from gpupanel.model.metrics import METRIC_BY_KEY
from gpupanel.sampling.rollup import Bin

FORMAT = "gpupanel-history"
VERSION = 1

_CHUNK_S = 3600
_FIELDS = ("low", "mean", "high")


class Source(Protocol):
    """What an export reads: ``gpupanel.sampling.recall.Recall``."""

    def bins(self, gpu_id: GpuId, metric: str, since_s: float, until_s: float) -> list[Bin]:
        """One metric of one GPU, oldest first."""

    def events(self, since_s: float, until_s: float) -> list[EventRecord]:
        """What happened, oldest first."""


class Selection(NamedTuple):
    """What to export.

    Attributes:
        since_s: Seconds since 1970.
        until_s: The first moment that is not exported.
        metrics: Keys of METRICS, in the order of columns.
    """

    since_s: float
    until_s: float
    gpus: Sequence[GpuId]
    metrics: Sequence[str]


_Row = tuple[int, GpuId, Mapping[str, Bin]]


def write_csv(source: Source, selection: Selection, file: IO[str]) -> None:
    """Write a header and one row per GPU and bin; a value that is not known is empty."""
    writer = csv.writer(file, lineterminator="\n")
    heads = [f"{_head(key)} {field}" for key in selection.metrics for field in _FIELDS]
    writer.writerow(["time_utc", "gpu", *heads])
    for time_s, gpu, bins in _rows(source, selection):
        cells: list[float | str] = []
        for key in selection.metrics:
            cells += _values(bins[key]) if key in bins else ("", "", "")
        writer.writerow([utc_text(time_s), gpu, *cells])


def write_json(source: Source, selection: Selection, file: IO[str]) -> None:
    """Write one document: units, readings, each of one GPU in one bin, and events."""
    head = {
        "format": FORMAT,
        "version": VERSION,
        "since": utc_text(selection.since_s),
        "until": utc_text(selection.until_s),
        "units": {key: METRIC_BY_KEY[key].unit for key in selection.metrics},
    }
    file.write(json.dumps(head)[:-1] + ', "readings": [')
    between = "\n"
    for time_s, gpu, bins in _rows(source, selection):
        metrics = {key: dict(zip(_FIELDS, _values(one), strict=True)) for key, one in bins.items()}
        reading = {"time_utc": utc_text(time_s), "gpu": gpu, "metrics": metrics}
        file.write(between + json.dumps(reading))
        between = ",\n"
    events = [_event(one) for one in source.events(selection.since_s, selection.until_s)]
    file.write(f'\n], "events": {json.dumps(events)}}}\n')


def utc_text(time_s: float) -> str:
    """``2026-07-18T10:15:30Z``; with milliseconds where there are any."""
    spec = "seconds" if float(time_s).is_integer() else "milliseconds"
    return datetime.fromtimestamp(time_s, UTC).isoformat(timespec=spec).replace("+00:00", "Z")


def _head(key: str) -> str:
    unit = METRIC_BY_KEY[key].unit
    return f"{key} [{unit}]" if unit else key


def _values(one: Bin) -> tuple[float, float, float]:
    return _short(one.low), _short(one.mean), _short(one.high)


def _short(value: float) -> float:
    """As many digits as a 32-bit float has."""
    return float(f"{value:.7g}")


def _event(record: EventRecord) -> dict[str, Any]:
    document = record.as_json()
    return {"time_utc": utc_text(document.pop("time_unix_s")), **document}


def _rows(source: Source, selection: Selection) -> Iterator[_Row]:
    """In the order of time, then of ``gpus``; metrics that have no bin at a time are absent."""
    begin_s = selection.since_s
    while begin_s < selection.until_s:
        end_s = min(selection.until_s, (begin_s // _CHUNK_S + 1) * _CHUNK_S)
        chunk: dict[tuple[int, int], dict[str, Bin]] = {}
        for place, gpu in enumerate(selection.gpus):
            for key in selection.metrics:
                for one in source.bins(gpu, key, begin_s, end_s):
                    chunk.setdefault((one.start_s, place), {})[key] = one
        for (time_s, place), bins in sorted(chunk.items(), key=lambda item: item[0]):
            yield time_s, selection.gpus[place], bins
        begin_s = end_s
