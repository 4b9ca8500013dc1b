"""Bins against a model that keeps every reading."""

from __future__ import annotations

import zlib
from collections import defaultdict
from math import fsum, isnan, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpupanel.sampling.rollup import Bin, binned, combined, edges, packed, unpacked

floats = st.floats(-1e9, 1e9, width=32)
timed = st.lists(st.tuples(st.floats(0, 5000), floats | st.just(nan)), max_size=80)


def naive(reads: list[tuple[float, float]], width_s: int) -> list[Bin]:
    by_bin: dict[int, list[float]] = defaultdict(list)
    for time_s, value in reads:
        if not isnan(value):
            by_bin[int(time_s) // width_s * width_s].append(value)
    return [
        Bin(start, len(values), min(values), fsum(values) / len(values), max(values))
        for start, values in sorted(by_bin.items())
    ]


def back(blob: bytes, start_s: int, width_s: int) -> list[Bin]:
    return [Bin(*fields) for fields in zip(*unpacked(blob, start_s, width_s), strict=True)]


def assert_same(found: list[Bin], expected: list[Bin]) -> None:
    assert [one._replace(mean=0) for one in found] == [one._replace(mean=0) for one in expected]
    for mine, theirs in zip(found, expected, strict=True):
        largest = max(abs(theirs.low), abs(theirs.high))
        assert mine.mean == pytest.approx(theirs.mean, rel=1e-6, abs=1e-6 * largest)
        assert mine.low <= mine.mean <= mine.high


@given(timed, st.sampled_from([10, 60, 120, 600]))
def test_bins_of_bins_are_bins_of_readings(reads: list[tuple[float, float]], width_s: int) -> None:
    reads.sort(key=lambda read: read[0])
    column = [value for _, value in reads]
    (fine,) = binned(edges((time_s for time_s, _ in reads), 10), [column])
    assert_same(combined(reversed(fine), width_s), naive(reads, width_s))


@given(timed, st.integers(0, 80), st.sampled_from([10, 60]))
def test_what_is_folded_in_parts_is_the_same(
    reads: list[tuple[float, float]], cut: int, width_s: int
) -> None:
    parts = [naive(reads[:cut], width_s), naive(reads[cut:], width_s)]
    assert_same(combined([*parts[0], *parts[1]], width_s), naive(reads, width_s))


@given(
    st.lists(
        st.tuples(st.integers(0, 59), st.integers(1, 65535), floats), unique_by=lambda r: r[0]
    ),
    st.sampled_from([10, 60]),
)
def test_a_block_comes_back_as_it_was(rows: list[tuple[int, int, float]], width_s: int) -> None:
    start_s = 1_800_000_000
    bins = [Bin(start_s + n * width_s, count, v, v, v) for n, count, v in sorted(rows)]
    assert back(packed(bins, start_s, width_s), start_s, width_s) == bins


def test_more_readings_than_can_be_counted_stay_a_bin() -> None:
    (one,) = back(packed([Bin(600, 1 << 20, 1.0, 2.0, 3.0)], 600, 10), 600, 10)
    assert one == Bin(600, 65535, 1.0, 2.0, 3.0)


@given(st.binary(max_size=60) | st.binary(max_size=839).map(zlib.compress))
def test_no_bytes_are_more_than_a_refusal(raw: bytes) -> None:
    with pytest.raises(ValueError, match="damaged"):
        unpacked(raw, 0, 10)
