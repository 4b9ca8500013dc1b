from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from functools import reduce
from operator import xor
from typing import Any

import numpy as np
import pyopencl as cl
import pytest

from gpupanel.model.errors import WorkloadError
from gpupanel.stress.catalog import WORKLOAD_BY_NAME
from gpupanel.stress.mining.ethash import Ethash
from gpupanel.stress.mining.ethash_device import (
    ItemMaker,
    Kernels,
    Searcher,
    Table,
)
from gpupanel.stress.mining.ethash_reference import (
    PAGE_BYTES,
    Hashed,
    Words,
    hashimoto_light,
    make_items,
    make_light_cache,
    seed_hash,
)
from gpupanel.stress.mining.search import FOUND_MAX, Search
from gpupanel.stress.mining.table import pieces_for
from gpupanel.stress.workload import Chunk, Device

DeviceOf = Callable[[int], Device]

ALL = 2**64 - 1
HEADER = hashlib.sha256(b"a header").digest()
PAGES = 8191
WIDTHS = pytest.mark.parametrize("lanes", [1, 8, 16])


@pytest.fixture(scope="module")
def small_table(device_of: DeviceOf) -> Callable[[int, int], Table]:
    """geth's table of 32 KiB on the device, by lanes and pieces."""
    made: dict[tuple[int, int], Table] = {}

    def table(lanes: int, pieces: int) -> Table:
        if (lanes, pieces) not in made:
            maker = ItemMaker(
                Kernels(device_of(lanes), pieces), make_light_cache(1024, seed_hash(0))
            )
            made[lanes, pieces] = Table(maker, 256)
            made[lanes, pieces].fill(lambda _: None)
        return made[lanes, pieces]

    return table


@pytest.fixture
def load(device_of: DeviceOf, epoch0_lines: Words) -> Ethash:
    """The load with a table of 1 MiB, ready to launch."""
    assert len(epoch0_lines) == 262139
    workload = Ethash(device_of(16), {"epoch": 0, "dag_mib": 1}, seed=7)
    workload.prepare(lambda _step, _fraction: None)
    return workload


def _complete(load: Ethash, steps: int) -> Chunk:
    chunk = load.launch(steps)
    chunk.last.wait()
    load.complete(chunk)
    chunk.state.reads.finish()
    return chunk


def _flip_bits(table: Table, pages: range) -> None:
    """Turn the lowest bit of the first byte of each of the pages."""
    queue, buffer = table.kernels.device.queue, table.buffers[0]
    content = table.content()
    for page in pages:
        word = content[page, :1] ^ np.uint32(1)
        cl.enqueue_copy(queue, buffer, word, dst_offset=page * 128)


@WIDTHS
@pytest.mark.parametrize("pieces", [1, 2, 4])
def test_the_whole_small_table_is_that_of_geth(
    small_table: Callable[[int, int], Table], vectors: dict[str, Any], lanes: int, pieces: int
) -> None:
    content = small_table(lanes, pieces).content().tobytes()
    answer = vectors["small_dataset_32KiB"]["sha256_of_all_32768_bytes"]
    assert hashlib.sha256(content).hexdigest() == answer


@WIDTHS
def test_every_nonce_is_hashed_as_on_the_host(
    small_table: Callable[[int, int], Table], lanes: int
) -> None:
    # 2^64 - 20: the nonces of one launch wrap around.
    search = Searcher(small_table(lanes, 4), HEADER).enqueue(2**64 - 20, 64, ALL)
    results = search.results()
    nonces = [hashed.nonce for hashed in results.found]
    assert sorted(nonces) == sorted((2**64 - 20 + i) % 2**64 for i in range(64))
    host = hashimoto_light(HEADER, nonces, 256, make_light_cache(1024, seed_hash(0)))
    assert list(results.found) == host


def test_lanes_and_pieces_do_not_change_any_result(
    small_table: Callable[[int, int], Table],
) -> None:
    all_results = [
        Searcher(small_table(lanes, pieces), HEADER).enqueue(123, 4096, 2**64 // 200).results()
        for lanes in (1, 8, 16)
        for pieces in (1, 2, 4)
    ]
    assert all(results == all_results[0] for results in all_results)
    assert 0 < all_results[0].count < FOUND_MAX


def test_more_finds_than_room_are_counted_and_left(
    small_table: Callable[[int, int], Table],
) -> None:
    results = Searcher(small_table(16, 1), HEADER).enqueue(0, 1024, ALL).results()
    assert results.count == 1024
    assert len({hashed.nonce for hashed in results.found}) == FOUND_MAX


def test_digests_cover_every_result(small_table: Callable[[int, int], Table]) -> None:
    searcher = Searcher(small_table(16, 1), HEADER)
    results = searcher.enqueue(0, 512, ALL).results()
    host = hashimoto_light(HEADER, range(512), 256, make_light_cache(1024, seed_hash(0)))
    words = [int.from_bytes(hashed.result[:8], "little") for hashed in host]
    stripes = (words[first : first + 64] for first in range(0, 512, 64))
    assert results.digests == tuple(reduce(xor, stripe) for stripe in stripes)


@WIDTHS
def test_items_of_epoch_0_are_those_of_the_host(
    device_of: DeviceOf, epoch0_lines: Words, lanes: int
) -> None:
    indexes = np.array([0, 1, 4093, 8388593, 16777185], np.uint32)
    made = ItemMaker(Kernels(device_of(lanes), 1), epoch0_lines).items_at(indexes)
    np.testing.assert_array_equal(made, make_items(epoch0_lines, indexes))


def test_a_run_agrees_with_the_host(load: Ethash) -> None:
    chunks = [load.launch(steps) for steps in (1, 2, 8)]
    for chunk in chunks:
        chunk.last.wait()
        load.complete(chunk)
        chunk.state.reads.finish()
    checks = load.verify()
    assert checks
    assert all(check.passed for check in checks), checks
    assert [chunk.work for chunk in chunks] == [512, 1024, 4096]
    firsts = [chunk.state.first_nonce for chunk in chunks]
    assert np.diff(np.array(firsts, np.uint64)).tolist() == [512, 1024]


def test_a_seed_gives_the_same_nonces_again(device_of: DeviceOf, load: Ethash) -> None:
    again = Ethash(device_of(16), {"epoch": 0, "dag_mib": 1}, seed=7)
    again.prepare(lambda _step, _fraction: None)
    other = Ethash(device_of(16), {"epoch": 0, "dag_mib": 1}, seed=8)
    other.prepare(lambda _step, _fraction: None)
    results = [_complete(each, 8).state.results() for each in (load, again, other)]
    assert results[0] == results[1]
    assert results[0].digests != results[2].digests


def test_a_launch_finds_a_few_nonces(load: Ethash) -> None:
    for steps in (1, 64):
        counts = [_complete(load, steps).state.results().count for _ in range(20)]
        # Poisson with mean 40: outside of this once in 10^9.
        assert 10 < sum(counts) < 85


def test_flipped_bits_in_the_table_are_reported(load: Ethash) -> None:
    # A hash reads 64 pages: two of three meet one of the 128 damaged ones.
    _flip_bits(load._table, range(0, PAGES, 64))
    for _ in range(8):
        _complete(load, 8)
    failed = [check for check in load.verify() if not check.passed]
    assert failed
    assert {check.name for check in failed} == {"nonce"}
    assert "the host" in failed[0].detail


def _next_repetition(load: Ethash) -> bool:
    """Whether the next repeated launch agreed with its original."""
    for _ in range(7):
        for check in load.verify():
            if check.name == "repeated launch":
                return check.passed
        load._device.queue.finish()
    raise AssertionError("nothing was repeated in seven calls")


def test_one_bit_that_flips_during_the_run_is_reported_by_the_repetition(load: Ethash) -> None:
    _complete(load, 64)
    assert _next_repetition(load)
    _complete(load, 64)
    _flip_bits(load._table, range(1000, 1001))
    assert not _next_repetition(load)


def test_a_device_that_returns_nothing_is_reported(
    load: Ethash, monkeypatch: pytest.MonkeyPatch
) -> None:
    enqueue = load._searcher.enqueue

    def mute(first_nonce: int, nonces: int, target: int) -> Search[Hashed]:
        assert target > 0
        return enqueue(first_nonce, nonces, 0)

    monkeypatch.setattr(load._searcher, "enqueue", mute)
    for _ in range(14):
        _complete(load, 1)
    assert load.verify() == []
    _complete(load, 1)
    assert [(check.name, check.passed) for check in load.verify()] == [
        ("device returns nothing", False)
    ]


def test_preparing_reports_each_step_up_to_its_end(
    device_of: DeviceOf, epoch0_lines: Words
) -> None:
    assert len(epoch0_lines)
    reports: list[tuple[str, float]] = []
    workload = Ethash(device_of(16), {"epoch": 0, "dag_mib": 2}, seed=1)
    workload.prepare(lambda step, fraction: reports.append((step, fraction)))
    assert list(dict.fromkeys(step for step, _ in reports)) == ["light cache", "kernels", "table"]
    assert reports[-1] == ("table", 1.0)
    assert workload.notes == ("reduced table: 2 of 1024 MiB of epoch 0",)


def test_the_whole_epoch_has_no_note(device_of: DeviceOf) -> None:
    assert Ethash(device_of(16), {"epoch": 0, "dag_mib": 0}, seed=1).notes == ()


def test_a_table_that_does_not_fit_names_the_knob(device_of: DeviceOf) -> None:
    device = replace(device_of(16), memory_bytes=2**29)
    workload = Ethash(device, {"epoch": 0, "dag_mib": 0}, seed=1)
    with pytest.raises(WorkloadError, match=r"need 1040 MiB.*512 MiB.*dag_mib"):
        workload.prepare(lambda _step, _fraction: None)


def test_memory_that_the_device_refuses_names_the_knob(
    device_of: DeviceOf, epoch0_lines: Words, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert len(epoch0_lines)

    def refuse(_table: Table, _progress: Callable[[float], None]) -> None:
        raise cl.MemoryError("MEM_OBJECT_ALLOCATION_FAILURE")

    monkeypatch.setattr(Table, "fill", refuse)
    workload = Ethash(device_of(16), {"epoch": 0, "dag_mib": 1}, seed=1)
    with pytest.raises(WorkloadError, match=r"no room for 1 MiB.*ALLOCATION_FAILURE.*dag_mib"):
        workload.prepare(lambda _step, _fraction: None)


@pytest.mark.parametrize(
    ("pages", "most_bytes", "pieces"),
    [(8, 1024, 1), (9, 1024, 2), (16, 1024, 2), (17, 1024, 4), (32, 1024, 4)],
)
def test_as_few_pieces_as_the_largest_buffer_allows(
    pages: int, most_bytes: int, pieces: int
) -> None:
    assert pieces_for(pages, PAGE_BYTES, most_bytes, "dag_mib") == pieces


def test_more_than_four_pieces_are_refused() -> None:
    with pytest.raises(WorkloadError, match="dag_mib"):
        pieces_for(33, PAGE_BYTES, 1024, "dag_mib")


def test_self_test_passes_and_says_what_it_compared(load: Ethash) -> None:
    details = {check.name: check.detail for check in load.self_test() if check.passed}
    assert details == {
        "sizes by epoch": "host",
        "seed hashes": "host",
        "small light cache 0": "host",
        "small light cache 1": "host",
        "small table": "device",
        "small table, first and last items": "device",
        "small hash": "device",
        "light cache of epoch 0": "host",
        "items of epoch 0": "device",
        "hash of block 0": "items from the device, mixed on the host",
        "hash of block 2": "items from the device, mixed on the host",
    }


def test_a_wrong_answer_in_given_vectors_fails_its_check(
    load: Ethash, vectors: dict[str, Any]
) -> None:
    cases = [dict(case) for case in vectors["hashimoto_light"]["cases"] if case["epoch"] == 0]
    cases[1]["mix"] = cases[0]["mix"]
    items = dict(vectors["epoch0_dataset_items_64B"])
    items["first_4"] = items["first_4"][::-1]
    small = dict(vectors["small_hashimoto"], nonce="0000000000000001")
    checks = load.self_test(
        {
            "hashimoto_light": {"cases": cases},
            "epoch0_dataset_items_64B": items,
            "small_hashimoto": small,
        }
    )
    assert {check.name: check.passed for check in checks} == {
        "small hash": False,
        "items of epoch 0": False,
        "hash of block 0": True,
        "hash of block 2": False,
    }


def test_vectors_without_an_answer_do_not_pass(load: Ethash) -> None:
    assert [check.passed for check in load.self_test({})] == [False]


def test_vectors_of_another_form_are_refused(load: Ethash) -> None:
    with pytest.raises(WorkloadError, match="vectors"):
        load.self_test({"small_hashimoto": {"header_hash": 1}})


def test_knobs_of_the_catalogue_are_those_of_the_load(device_of: DeviceOf) -> None:
    knobs = {knob.name: knob.default_cpu for knob in WORKLOAD_BY_NAME["mining.ethash"].knobs}
    assert Ethash(device_of(16), knobs, seed=1).notes == (
        "reduced table: 64 of 1024 MiB of epoch 0",
    )


@pytest.mark.long
def test_the_whole_of_epoch_0_gives_the_published_hashes(
    device_of: DeviceOf, epoch0_lines: Words, vectors: dict[str, Any]
) -> None:
    assert len(epoch0_lines)
    workload = Ethash(device_of(16), {"epoch": 0, "dag_mib": 0}, seed=1)
    workload.prepare(lambda _step, _fraction: None)
    checks = workload.self_test(vectors)
    assert all(check.passed for check in checks), [check for check in checks if not check.passed]
    details = {check.name: check.detail for check in checks}
    assert details["hash of block 0"] == details["hash of block 2"] == "device, whole table"
    assert {"items of epoch 13", "hash of block 2683077", "hash of block 5000000"} <= set(details)
    for _ in range(8):
        _complete(workload, 8)
    checks = workload.verify()
    assert checks
    assert all(check.passed for check in checks)
