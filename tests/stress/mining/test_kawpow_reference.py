"""The drawing of programs and the oracle, against published figures and a second oracle."""

from __future__ import annotations

from itertools import islice
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpupanel import paths
from gpupanel.stress.mining import kawpow_program, kawpow_reference
from gpupanel.stress.mining.ethash_reference import Words, make_items, make_light_cache, seed_hash
from gpupanel.stress.mining.kawpow_program import (
    CacheRead,
    Kiss99,
    Math,
    Merge,
    Operation,
    fnv1a,
    opencl_source,
    program_of,
)
from gpupanel.stress.mining.kawpow_reference import (
    EPOCH_PERIODS,
    PARENTS,
    first_words,
    kawpow_light,
    pages_of,
    pages_read,
)
from tests.stress.mining import kawpow_oracle

# Enough for the first 16 KiB.
PAGES = 67


@pytest.fixture(scope="module")
def lines() -> Words:
    return make_light_cache(64 * 31, seed_hash(0))


def test_fnv1a_and_kiss99_give_the_published_numbers(units: dict[str, Any]) -> None:
    for start, word, result in units["fnv1a"]:
        assert fnv1a(int(start, 16), int(word, 16)) == int(result, 16)
    numbers = list(islice(Kiss99(362436069, 521288629, 123456789, 380116160), 100_000))
    published = units["kiss99_z362436069_w521288629_jsr123456789_jcong380116160"]
    assert {at: numbers[int(at) - 1] for at in published} == published


def test_registers_are_filled_as_published(units: dict[str, Any]) -> None:
    mix = kawpow_reference._filled(np.array([0xDDD0A47B], "u4"), np.array([0xEE304846], "u4"))
    for lane, words in units["fill_mix_seed_ee304846ddd0a47b"].items():
        assert mix[:, 0, int(lane)].tolist() == [int(word, 16) for word in words.split()]


def test_registers_are_shuffled_as_published(units: dict[str, Any]) -> None:
    z = fnv1a(0x811C9DC5, 600)
    w = fnv1a(z, 0)
    jsr = fnv1a(w, 600)
    walks = kawpow_program._shuffled_registers(Kiss99(z, w, jsr, fnv1a(jsr, 0)))
    targets, sources = (list(islice(walk, 64)) for walk in walks)
    assert targets == units["registers_of_period_600"]["targets"] * 2
    assert sources == units["registers_of_period_600"]["sources"] * 2


def test_operations_give_the_published_results(units: dict[str, Any]) -> None:
    seen = set()
    for row in units["math"]:
        a, b, selector, result = (int(word, 16) for word in row)
        operation = tuple(Operation)[selector % 11]
        math = Math(0, 1, operation, Merge.drawn(0, 0))
        computed = kawpow_reference._computed(math, np.array([[a], [b]], np.uint32))
        assert (operation, computed.tolist()) == (operation, [result])
        seen.add(operation)
    assert seen == set(Operation)


def test_merging_gives_the_published_results(units: dict[str, Any]) -> None:
    for row in units["merge"]:
        a, b, selector, result = (int(word, 16) for word in row)
        mix = np.array([[a]], np.uint32)
        kawpow_reference._merge(mix, Merge.drawn(0, selector), np.array([b], np.uint32))
        assert mix.tolist() == [[result]]


def test_the_first_words_of_epoch_0_are_the_published_ones(
    kawpow_vectors: dict[str, Any], epoch0_lines: Words
) -> None:
    published = kawpow_vectors["l1_cache_epoch0_first20_u32"]
    assert first_words(epoch0_lines)[:20].tolist() == published


def test_hashes_of_epoch_0_are_the_published_ones(
    kawpow_vectors: dict[str, Any], epoch0_lines: Words
) -> None:
    cases = [case for case in kawpow_vectors["cases"] if case["epoch"] == 0]
    assert len(cases) == 4
    for case in cases:
        nonce, header = int(case["nonce"], 16), bytes.fromhex(case["header_hash"])
        program = program_of(case["block"] // 3)
        hashed = kawpow_light(program, header, [nonce], pages_of(0, 0), epoch0_lines)[0]
        assert (hashed.mix.hex(), hashed.result.hex()) == (case["mix"], case["result"])


@settings(max_examples=10, deadline=None)
@given(
    period=st.integers(0, 2**33),
    header=st.binary(min_size=32, max_size=32),
    nonce=st.integers(0, 2**64 - 1),
    pages=st.integers(1, PAGES),
)
def test_any_program_runs_as_in_plain_integers(
    lines: Words, period: int, header: bytes, nonce: int, pages: int
) -> None:
    words = make_items(lines, np.arange(4 * PAGES, dtype=np.uint32), PARENTS).ravel().tolist()
    # The other nonce of the batch must not matter.
    hashed = kawpow_light(program_of(period), header, [nonce ^ 1, nonce], pages, lines)[1]
    expected = kawpow_oracle.kawpow(period, header, nonce, pages, words.__getitem__)
    assert (hashed.mix, hashed.result) == expected


def test_pages_read_are_those_that_the_hash_depends_on(lines: Words) -> None:
    read: set[int] = set()
    words = make_items(lines, np.arange(4 * 4099, dtype=np.uint32), PARENTS).ravel().tolist()

    def word(index: int) -> int:
        read.add(index // 64)
        return int(words[index])

    kawpow_oracle.kawpow(5, bytes(32), 6, 4099, word)
    wanted = set(pages_read(program_of(5), bytes(32), 6, 4099, lines))
    # The first 64 pages are the cache as well.
    assert wanted - set(range(64)) == read - set(range(64))
    assert 55 < len(wanted) <= 64


def test_a_program_has_the_steps_of_the_specification() -> None:
    for period in (0, 1, EPOCH_PERIODS - 1, 10**9):
        program = program_of(period)
        kinds = [type(step) for step in program.steps]
        assert kinds == [CacheRead, Math] * 11 + [Math] * 7
        assert program.page_merges[0].register == 0
        assert len(program.page_merges) == 4
        assert all(step.first != step.second for step in program.steps if isinstance(step, Math))
    assert program_of(3) != program_of(4)


def test_the_included_program_is_that_of_period_0() -> None:
    included = (paths.data_dir("kernels") / "kawpow_program.cl").read_text(encoding="utf-8")
    assert included == opencl_source(program_of(0))


def test_generated_source_says_what_it_is() -> None:
    first, *_ = opencl_source(program_of(16)).splitlines()
    assert first == "// The random program of period 16: blocks 48 to 50."


def test_a_table_is_half_as_many_pages_as_ethash_has() -> None:
    assert pages_of(0, 0) == 8388593 // 2
    assert pages_of(0, 1) == 8191 // 2
