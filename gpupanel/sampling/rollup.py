"""Bins: the least, mean and greatest value of a time, put together and packed for the disk.

All arithmetic of the long memory is here, without a database, so that it can be held against a
model that keeps everything. Values are 32-bit floats: seven digits, which no chart shows.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from itertools import chain, compress, groupby
from math import fsum
from operator import gt, mul
from struct import Struct
from struct import error as StructError  # noqa: N812 - it is a class
from typing import NamedTuple

BINS_PER_BLOCK = 60

FLOAT32_MAX = 3.4028234663852886e38

_MOST_COUNTED = 0xFFFF
_BLOCK = Struct(f"<{3 * BINS_PER_BLOCK}f{BINS_PER_BLOCK}H")
_EMPTY = (0.0,) * BINS_PER_BLOCK


class Bin(NamedTuple):
    """What so many ``readings`` from ``start_s`` on came to; there is no bin of no readings.

    Attributes:
        start_s: Seconds since 1970, a multiple of the bin's width.
    """

    start_s: int
    readings: int
    low: float
    mean: float
    high: float


class Columns(NamedTuple):
    """Many bins, a sequence per field: a chart of a day merges thousands, and tuples cost time."""

    starts_s: Sequence[int]
    readings: Sequence[int]
    lows: Sequence[float]
    means: Sequence[float]
    highs: Sequence[float]

    def between(self, first: int, last: int) -> Columns:
        """Bins number ``first`` to before ``last``."""
        return Columns._make(column[first:last] for column in self)


def joined(parts: Iterable[Columns]) -> Columns:
    """One after the other."""
    kept = (Columns((), (), (), (), ()), *parts)
    return Columns._make(tuple(chain.from_iterable(column)) for column in zip(*kept, strict=True))


def combined(bins: Iterable[Bin], width_s: int) -> list[Bin]:
    """``bins`` in wider ones of ``width_s``, oldest first; they may come in any order."""
    ordered = sorted(bins)
    return merged(Columns(*zip(*ordered, strict=True)), width_s) if ordered else []


def merged(columns: Columns, width_s: int) -> list[Bin]:
    """As ``combined``."""
    starts_s, readings, lows, means, highs = columns
    if any(map(gt, starts_s, starts_s[1:])):
        return combined(map(Bin._make, zip(*columns, strict=True)), width_s)  # a clock went back
    wider = []
    end = 0
    for number, group in groupby([start_s // width_s for start_s in starts_s]):
        begin, end = end, end + len(list(group))
        part = slice(begin, end)
        count, low, high = sum(readings[part]), min(lows[part]), max(highs[part])
        mean = fsum(map(mul, readings[part], means[part])) / count
        # The sum rounds: a mean of equal values must not lie outside of them.
        wider.append(Bin(number * width_s, count, low, min(max(mean, low), high), high))
    return wider


class Edge(NamedTuple):
    """Which readings fall into one bin.

    Attributes:
        begin: Number of the first.
        end: Number behind the last.
    """

    start_s: int
    begin: int
    end: int


def edges(times_s: Iterable[float], width_s: int) -> list[Edge]:
    """The bins of ``width_s`` that readings at ``times_s``, in ascending order, fall into."""
    found = []
    begin = 0
    for start_s, group in groupby(int(time_s // width_s) * width_s for time_s in times_s):
        end = begin + sum(1 for _ in group)
        found.append(Edge(start_s, begin, end))
        begin = end
    return found


def binned(bins: Sequence[Edge], columns: Iterable[Sequence[float]]) -> list[list[Bin]]:
    """Each of ``columns``, one per metric of a GPU, as bins; NaN is no reading."""
    return [
        [
            Bin(start_s, len(known), min(known), fsum(known) / len(known), max(known))
            for start_s, begin, end in bins
            if (known := [value for value in column[begin:end] if value == value])  # noqa: PLR0124 - NaN
        ]
        for column in columns
    ]


def packed(bins: Sequence[Bin], block_start_s: int, width_s: int) -> bytes:
    """``bins`` of one block of BINS_PER_BLOCK; ``unpacked`` gives them back as 32-bit floats."""
    lows, means, highs = list(_EMPTY), list(_EMPTY), list(_EMPTY)
    counts = [0] * BINS_PER_BLOCK
    for start_s, count, low, mean, high in bins:
        place = (start_s - block_start_s) // width_s
        lows[place], means[place], highs[place] = low, mean, high
        counts[place] = min(count, _MOST_COUNTED)
    return zlib.compress(_BLOCK.pack(*lows, *means, *highs, *counts), 1)


def unpacked(blob: bytes, block_start_s: int, width_s: int) -> Columns:
    """Inverse of ``packed``, oldest first.

    Raises:
        ValueError: This was not written by ``packed``.
    """
    try:
        numbers = _BLOCK.unpack(zlib.decompress(blob))
    except (zlib.error, StructError) as error:
        raise ValueError(f"a block of readings is damaged: {error}") from error
    size = BINS_PER_BLOCK
    readings = numbers[3 * size :]
    columns = Columns(
        range(block_start_s, block_start_s + size * width_s, width_s),
        readings,
        numbers[:size],
        numbers[size : 2 * size],
        numbers[2 * size : 3 * size],
    )
    if all(readings):
        return columns
    return Columns._make(list(compress(column, readings)) for column in columns)
