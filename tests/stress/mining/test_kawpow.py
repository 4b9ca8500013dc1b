from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import reduce
from operator import xor
from threading import Event
from typing import Any

import numpy as np
import pyopencl as cl
import pytest

from gpupanel.model.errors import BuildFailed, WorkloadError
from gpupanel.model.roofline import Ceiling
from gpupanel.stress.catalog import WORKLOAD_BY_NAME
from gpupanel.stress.mining.ethash_device import ItemMaker, Kernels, Table
from gpupanel.stress.mining.ethash_reference import Words, make_items, make_light_cache, seed_hash
from gpupanel.stress.mining.kawpow import Kawpow
from gpupanel.stress.mining.kawpow_device import KAWPOW, ProgramSearcher, Setting
from gpupanel.stress.mining.kawpow_program import program_of
from gpupanel.stress.mining.kawpow_reference import PARENTS, kawpow_light
from gpupanel.stress.mining.known_answers import built_in
from gpupanel.stress.workload import Chunk, Device, host_class

DeviceOf = Callable[[int], Device]
SearcherOf = Callable[[int, int], ProgramSearcher]

ALL = 2**64 - 1
HEADER = hashlib.sha256(b"a header").digest()
PAGES = 101
KNOBS = {"epoch": 0, "dag_mib": 1, "program_seconds": 5}
WIDTHS = pytest.mark.parametrize("lanes", [1, 8, 16])


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture(scope="module")
def lines() -> Words:
    return make_light_cache(64 * 31, seed_hash(0))


@pytest.fixture(scope="module")
def searcher_of(device_of: DeviceOf, lines: Words) -> SearcherOf:
    """Over a small table, by lanes and pieces."""
    made: dict[tuple[int, int], ProgramSearcher] = {}

    def searcher(lanes: int, pieces: int) -> ProgramSearcher:
        if (lanes, pieces) not in made:
            table = Table(ItemMaker(Kernels(device_of(lanes), pieces, KAWPOW), lines), PAGES)
            table.fill(lambda _: None)
            made[lanes, pieces] = ProgramSearcher(Setting.of(table), HEADER, program_of(0))
        return made[lanes, pieces]

    return searcher


@pytest.fixture
def load(device_of: DeviceOf, epoch0_lines: Words) -> Iterator[Kawpow]:
    """The load with a table of 1 MiB and a clock of our own, ready to launch."""
    assert len(epoch0_lines) == 262139
    workload = _prepared(device_of(16), seed=7)
    yield workload
    workload._coming_program.searcher()


def _prepared(device: Device, seed: int) -> Kawpow:
    workload = Kawpow(device, KNOBS, seed)
    workload._clock_s = Clock()
    workload.prepare(lambda _step, _fraction: None)
    return workload


def _complete(load: Kawpow, steps: int) -> Chunk:
    chunk = load.launch(steps)
    chunk.last.wait()
    load.complete(chunk)
    chunk.state.reads.finish()
    return chunk


def _change_program(load: Kawpow) -> None:
    """The next launch uses the next program."""
    load._coming_program.searcher()
    clock = load._clock_s
    assert isinstance(clock, Clock)
    clock.now_s += KNOBS["program_seconds"]


def _flip_bits(load: Kawpow) -> None:
    """Turn the lowest bit of each 16th page."""
    queue = load._device.queue
    content = load._table.content()
    for page in range(0, len(content), 16):
        word = content[page, :1] ^ np.uint32(1)
        cl.enqueue_copy(queue, load._table.buffers[0], word, dst_offset=page * 256)


@WIDTHS
@pytest.mark.parametrize("pieces", [1, 2, 4])
def test_items_have_512_parents(device_of: DeviceOf, lines: Words, lanes: int, pieces: int) -> None:
    table = Table(ItemMaker(Kernels(device_of(lanes), pieces, KAWPOW), lines), PAGES)
    table.fill(lambda _: None)
    expected = make_items(lines, np.arange(4 * PAGES, dtype=np.uint32), PARENTS)
    np.testing.assert_array_equal(table.content(), expected.reshape(PAGES, 64))


@WIDTHS
def test_every_nonce_is_hashed_as_on_the_host(
    searcher_of: SearcherOf, lines: Words, lanes: int
) -> None:
    # 2^64 - 32: the nonces of one launch wrap around.
    results = searcher_of(lanes, 4).enqueue(2**64 - 32, 128, ALL).results()
    assert results.count == 128
    nonces = [hashed.nonce for hashed in results.found]
    assert len(set(nonces)) == 64
    assert {(nonce + 32) % 2**64 for nonce in nonces} <= set(range(128))
    assert list(results.found) == kawpow_light(program_of(0), HEADER, nonces, PAGES, lines)


def test_lanes_and_pieces_do_not_change_any_result(searcher_of: SearcherOf) -> None:
    all_results = [
        searcher_of(lanes, pieces).enqueue(1600, 2048, 2**64 // 100).results()
        for lanes, pieces in ((1, 1), (1, 2), (1, 4), (8, 1), (8, 4), (16, 1), (16, 2), (16, 4))
    ]
    assert all(results == all_results[0] for results in all_results)
    assert 0 < all_results[0].count < 64


def test_digests_cover_every_result(searcher_of: SearcherOf, lines: Words) -> None:
    results = searcher_of(16, 1).enqueue(0, 256, ALL).results()
    host = kawpow_light(program_of(0), HEADER, range(256), PAGES, lines)
    words = [int.from_bytes(hashed.result[:8], "little") for hashed in host]
    stripes = (words[first : first + 32] for first in range(0, 256, 32))
    assert results.digests == tuple(reduce(xor, stripe) for stripe in stripes)


@WIDTHS
def test_every_published_answer_of_epoch_0_is_met(
    device_of: DeviceOf, epoch0_lines: Words, kawpow_vectors: dict[str, Any], lanes: int
) -> None:
    assert len(epoch0_lines)
    load = _prepared(device_of(lanes), seed=7)
    cases = [case for case in kawpow_vectors["cases"] if case["epoch"] == 0]
    checks = load.self_test({**kawpow_vectors, "cases": cases, "block30000_case": None})
    assert [(check.passed, check.detail) for check in checks] == [
        (True, "device"), *[(True, "device, its pages of the table")] * 4
    ]  # fmt: skip
    load._coming_program.searcher()


@pytest.mark.long
@WIDTHS
def test_every_published_answer_is_met(
    device_of: DeviceOf, epoch0_lines: Words, kawpow_vectors: dict[str, Any], lanes: int
) -> None:
    assert len(epoch0_lines)
    load = _prepared(device_of(lanes), seed=7)
    checks = load.self_test(kawpow_vectors)
    assert len(checks) == 15
    assert all(check.passed for check in checks), checks
    load._coming_program.searcher()


def test_built_in_vectors_are_the_published_ones(kawpow_vectors: dict[str, Any]) -> None:
    assert built_in("kawpow") == kawpow_vectors
    assert len(kawpow_vectors["cases"]) == 13


def test_self_test_asks_for_the_answers_of_the_epoch(load: Kawpow) -> None:
    checks = load.self_test()
    assert [check.name for check in checks if check.passed] == [
        "first words of epoch 0",
        "hash of block 0, nonce 0",
        "hash of block 49, nonce 7073c07",
        "hash of block 50, nonce 76e482e",
        "hash of block 99, nonce 3917afab",
    ]


def test_a_wrong_answer_fails_its_check(load: Kawpow, kawpow_vectors: dict[str, Any]) -> None:
    first, second = kawpow_vectors["cases"][:2]
    words = [*kawpow_vectors["l1_cache_epoch0_first20_u32"][:-1], 0]
    checks = load.self_test(
        {
            "l1_cache_epoch0_first20_u32": words,
            "cases": [{**first, "mix": second["mix"]}, {**first, "result": second["result"]}],
        }
    )
    assert [check.passed for check in checks] == [False] * 3


def test_vectors_without_an_answer_do_not_pass(load: Kawpow) -> None:
    assert [check.passed for check in load.self_test({})] == [False]


def test_vectors_of_another_form_are_refused(load: Kawpow) -> None:
    with pytest.raises(WorkloadError, match="vectors of kawpow"):
        load.self_test({"cases": [{"block": 1}]})


def test_a_run_agrees_with_the_host_through_changes_of_program(load: Kawpow) -> None:
    heights = []
    for _ in range(3):
        assert _complete(load, 1).work == 256
        heights.append(load.readings()["block_height"])
        _change_program(load)
    assert np.diff(heights).tolist() == [3, 3]
    assert load.readings()["programs"] == 3
    assert load.readings()["compile_s"] > 0
    # Some of the newest 8 come of each of the programs, as each launch returned two.
    checks = load.verify()
    assert len(checks) > 2
    assert all(check.passed for check in checks), checks


def test_later_verifications_take_several_calls(load: Kawpow) -> None:
    for _ in range(4):
        _complete(load, 1)
    assert load.verify()
    for _ in range(4):
        _complete(load, 1)
    calls = [len(load.verify()) for _ in range(2)]
    assert calls[0] == 0
    assert calls[1] > 0
    # Nothing is verified twice.
    assert [load.verify() for _ in range(2)] == [[], []]


def test_programs_change_only_when_their_time_has_come(load: Kawpow) -> None:
    load._coming_program.searcher()
    first = load.readings()
    _complete(load, 1)
    assert load.readings() == first


def test_no_launch_waits_for_a_compiler(load: Kawpow, monkeypatch: pytest.MonkeyPatch) -> None:
    _change_program(load)
    compiling, warm_up = Event(), ProgramSearcher.warm_up

    def slow(searcher: ProgramSearcher) -> None:
        assert compiling.wait(30)
        warm_up(searcher)

    monkeypatch.setattr(ProgramSearcher, "warm_up", slow)
    _complete(load, 1)
    assert load.readings()["programs"] == 2
    clock = load._clock_s
    assert isinstance(clock, Clock)
    clock.now_s += 100
    _complete(load, 1)
    assert load.readings()["programs"] == 2
    compiling.set()
    load._coming_program.searcher()
    _complete(load, 1)
    assert load.readings()["programs"] == 3


def test_a_program_that_does_not_compile_ends_the_run(
    load: Kawpow, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_searcher: ProgramSearcher) -> None:
        raise BuildFailed("no")

    _change_program(load)
    with monkeypatch.context() as patch:
        patch.setattr(ProgramSearcher, "warm_up", refuse)
        _complete(load, 1)
        with pytest.raises(BuildFailed):
            load._coming_program.searcher()
    clock = load._clock_s
    assert isinstance(clock, Clock)
    clock.now_s += 100
    with pytest.raises(BuildFailed, match="no"):
        load.launch(1)
    load._coming_program = load._compiling(load._period)


def test_a_launch_of_an_earlier_program_is_repeated_with_it(load: Kawpow) -> None:
    _complete(load, 8)
    load.verify()
    remembered = load._remembered
    assert remembered is not None
    _change_program(load)
    load.launch(1).last.wait()
    assert remembered.search.kernel is not load._searcher
    assert load._remembered is remembered
    assert _next_repetition(load)


def _next_repetition(load: Kawpow) -> bool:
    """Whether the next repeated launch agreed with its original."""
    for _ in range(7):
        for check in load.verify():
            if check.name == "repeated launch":
                return check.passed
        load._device.queue.finish()
    raise AssertionError("nothing was repeated in seven calls")


def test_flipped_bits_in_the_table_are_reported(load: Kawpow) -> None:
    _flip_bits(load)
    for _ in range(8):
        _complete(load, 1)
    failed = [check for check in load.verify() if not check.passed]
    assert {check.name for check in failed} == {"nonce"}
    assert "the host" in failed[0].detail


def test_a_table_that_changes_during_the_run_is_reported_by_the_repetition(load: Kawpow) -> None:
    _complete(load, 8)
    assert _next_repetition(load)
    _complete(load, 8)
    _flip_bits(load)
    assert not _next_repetition(load)


def test_a_seed_gives_the_same_programs_and_nonces_again(device_of: DeviceOf, load: Kawpow) -> None:
    again, other = _prepared(device_of(16), seed=7), _prepared(device_of(16), seed=8)
    results = [_complete(each, 2).state.results() for each in (load, again, other)]
    heights = [each.readings()["block_height"] for each in (load, again, other)]
    assert results[0] == results[1]
    assert results[0].digests != results[2].digests
    assert heights[0] == heights[1] != heights[2]
    assert all(0 <= height < 7500 and height % 3 == 0 for height in heights)
    for each in (again, other):
        each._coming_program.searcher()


def test_preparing_reports_each_step(device_of: DeviceOf, epoch0_lines: Words) -> None:
    assert len(epoch0_lines)
    steps: list[str] = []
    workload = Kawpow(device_of(16), KNOBS, seed=7)
    workload.prepare(lambda step, _fraction: steps.append(step))
    assert list(dict.fromkeys(steps)) == ["light cache", "kernels", "table", "program"]
    assert workload.notes == ("reduced table: 1 of 1024 MiB of epoch 0",)
    workload._coming_program.searcher()


def test_a_table_that_does_not_fit_names_the_knob(device_of: DeviceOf) -> None:
    device = replace(device_of(16), memory_bytes=2**29)
    workload = Kawpow(device, {**KNOBS, "dag_mib": 0}, seed=1)
    with pytest.raises(WorkloadError, match=r"need 1040 MiB.*512 MiB.*dag_mib"):
        workload.prepare(lambda _step, _fraction: None)


def test_cost_is_what_a_hash_reads_and_computes(load: Kawpow) -> None:
    cost = load.cost()
    assert cost.amounts[Ceiling.RANDOM_128B] == 64 * 256
    assert cost.amounts[Ceiling.INT32] > 48_000
    assert cost.footprint_bytes == 4095 * 256


def test_the_catalogue_names_the_load_its_knobs_and_its_readings(load: Kawpow) -> None:
    info = WORKLOAD_BY_NAME["mining.kawpow"]
    assert host_class(info) is Kawpow
    assert {knob.name for knob in info.knobs} == set(KNOBS)
    assert [reading.key for reading in info.readings] == list(load.readings())
