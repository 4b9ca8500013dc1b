"""What the sampler read lately, in memory of fixed size: the last hour fine, the last day coarse.

A point is the least, mean and greatest value of a bin. Bins follow the phase of the first
snapshot, so that ticks of whole seconds fall into the middle of a bin and jitter moves none into
the next. Values are kept as 32-bit floats: seven digits, which no chart shows.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Mapping
from math import floor, isnan, nan
from typing import NamedTuple

from gpupanel.model.gpu import GpuId, Snapshot, Unavailable
from gpupanel.model.metrics import METRIC_BY_KEY

_SeriesId = tuple[GpuId, str]


class Point(NamedTuple):
    """One metric of one GPU in one bin; the three values are None together, in a gap.

    Attributes:
        time_monotonic_s: Of the bin's first snapshot.
    """

    time_monotonic_s: float
    low: float | None
    mean: float | None
    high: float | None


class History:
    """The last hour in bins of 1 s, and, where nothing is on disk, the last day in bins of 10 s.

    A reading that is Unavailable and a time without snapshots are gaps. One thread at a time.
    """

    def __init__(self, *, keeps_day: bool = True) -> None:
        """Remember nothing yet; a day of eight GPUs takes 20 MB."""
        self._last_s = float("-inf")
        hour, day = _Tier(width_s=1.0, capacity=3600), _Tier(width_s=10.0, capacity=8640)
        self._tiers = (hour, day) if keeps_day else (hour,)

    def append(self, snapshot: Snapshot) -> None:
        """Remember ``snapshot``.

        Raises:
            ValueError: It is not newer than the last one.
        """
        if snapshot.time_monotonic_s <= self._last_s:
            raise ValueError("snapshots of a history must be in the order of their time")
        self._last_s = snapshot.time_monotonic_s
        numbers = {
            (sample.gpu_id, key): reading
            for sample in snapshot.samples
            for key, reading in sample.readings.items()
            if METRIC_BY_KEY[key].is_remembered and not isinstance(reading, Unavailable)
        }
        for tier in self._tiers:
            tier.append(snapshot.time_monotonic_s, numbers)

    def series(self, gpu_id: GpuId, key: str, seconds: float) -> list[Point]:
        """The last ``seconds`` before the newest snapshot, oldest point first.

        Bins are of 1 s up to an hour, and of 10 s beyond. Empty when this GPU has never
        reported this metric.
        """
        tier = next((tier for tier in self._tiers if seconds <= tier.span_s), self._tiers[-1])
        return tier.points((gpu_id, key), self._last_s - seconds)


class _Series:
    """One metric of one GPU: three rings, and what the newest bin adds up to."""

    __slots__ = ("_count", "_total", "high", "low", "mean")

    def __init__(self, capacity: int) -> None:
        self.low = array("f", [nan]) * capacity
        self.mean = array("f", [nan]) * capacity
        self.high = array("f", [nan]) * capacity
        self._total = 0.0
        self._count = 0

    def clear(self, place: int) -> None:
        self.low[place] = self.mean[place] = self.high[place] = nan
        self._total, self._count = 0.0, 0

    def add(self, place: int, value: float) -> None:
        """One more value of the bin at ``place``."""
        self._total += value
        self._count += 1
        self.mean[place] = self._total / self._count
        if self._count == 1:
            self.low[place] = self.high[place] = value
        elif value < self.low[place]:
            self.low[place] = value
        elif value > self.high[place]:
            self.high[place] = value


class _Tier:
    """The newest ``capacity`` bins of ``width_s`` that had snapshots, and the gaps between them.

    All series share one ring of times; their rings have the same places.
    """

    def __init__(self, width_s: float, capacity: int) -> None:
        self.span_s = width_s * capacity
        self._width_s = width_s
        self._capacity = capacity
        self._times_s = array("d", [nan]) * capacity
        self._series: dict[_SeriesId, _Series] = {}
        self._written = 0
        self._bin = -1
        self._origin_s = self._last_s = nan
        self._pace_s = 0.0

    def append(self, time_s: float, numbers: Mapping[_SeriesId, float]) -> None:
        """One tick: the value of every series that has one."""
        if self._written == 0:
            self._origin_s = self._last_s = time_s
        self._mark_gap(time_s)
        number = floor((time_s - self._origin_s) / self._width_s + 0.5)
        if number != self._bin:
            self._bin = number
            self._open(time_s)
        place = (self._written - 1) % self._capacity
        for name, value in numbers.items():
            series = self._series.get(name)
            if series is None:
                series = self._series[name] = _Series(self._capacity)
            series.add(place, value)

    def points(self, name: _SeriesId, since_s: float) -> list[Point]:
        series = self._series.get(name)
        if series is None:
            return []
        kept = range(max(0, self._written - self._capacity), self._written)
        first = bisect_left(kept, since_s, key=lambda n: self._times_s[n % self._capacity])
        return [self._point(series, number % self._capacity) for number in kept[first:]]

    def _point(self, series: _Series, place: int) -> Point:
        mean = series.mean[place]
        if isnan(mean):
            return Point(self._times_s[place], None, None, None)
        return Point(self._times_s[place], series.low[place], mean, series.high[place])

    def _mark_gap(self, time_s: float) -> None:
        """Put an empty bin behind the last snapshot when the next took unusually long."""
        elapsed_s = time_s - self._last_s
        if elapsed_s > 3 * max(self._pace_s, self._width_s):
            self._open(self._last_s + self._width_s)
        self._pace_s = elapsed_s
        self._last_s = time_s

    def _open(self, time_s: float) -> None:
        place = self._written % self._capacity
        self._times_s[place] = time_s
        for series in self._series.values():
            series.clear(place)
        self._written += 1
