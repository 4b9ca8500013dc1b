"""What holds for every load that hashes nonces and has no light cache."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import reduce
from itertools import pairwise
from operator import xor
from typing import Any

import numpy as np
import pyopencl as cl
import pytest

from gpupanel import paths
from gpupanel.model.errors import WorkloadError
from gpupanel.model.roofline import Ceiling
from gpupanel.stress import program
from gpupanel.stress.catalog import WORKLOAD_BY_NAME
from gpupanel.stress.mining.autolykos2 import Autolykos2
from gpupanel.stress.mining.kheavyhash import KHeavyHash
from gpupanel.stress.mining.miner import Miner
from gpupanel.stress.mining.search import FOUND_MAX, STRIPES, Found, Search, SearchKernel
from gpupanel.stress.mining.sha256d import Sha256d
from gpupanel.stress.workload import Chunk, Device, host_class

DeviceOf = Callable[[int], Device]
Load = Sha256d | KHeavyHash | Autolykos2
LoadOf = Callable[[str, int], Load]

ALL = 2**64 - 1
LOADS: dict[str, type[Sha256d] | type[KHeavyHash] | type[Autolykos2]] = {
    "sha256d": Sha256d,
    "kheavyhash": KHeavyHash,
    "autolykos2": Autolykos2,
}
# Which 8 bytes of a hash are the most significant, and in which order they are read.
TOP = {
    "sha256d": (slice(28, 32), "little"),
    "kheavyhash": (slice(24, 32), "little"),
    "autolykos2": (slice(0, 8), "big"),
}
KNOBS: dict[str, dict[str, int]] = {
    "sha256d": {},
    "kheavyhash": {},
    "autolykos2": {"height": 614400, "table_log2": 14},
}
EVERY_LOAD = pytest.mark.parametrize("name", list(LOADS))
WIDTHS = pytest.mark.parametrize("lanes", [1, 8, 16])


@pytest.fixture(scope="module")
def load_of(device_of: DeviceOf) -> LoadOf:
    """A prepared load by name and lanes; the same one each time."""
    made: dict[tuple[str, int], Load] = {}

    def load(name: str, lanes: int) -> Load:
        if (name, lanes) not in made:
            made[name, lanes] = _prepared(name, device_of(lanes), seed=7)
        return made[name, lanes]

    return load


def _prepared(name: str, device: Device, seed: int) -> Load:
    load = LOADS[name](device, KNOBS[name], seed)
    load.prepare(lambda _step, _fraction: None)
    return load


def _complete(load: Load, steps: int) -> Chunk:
    chunk = load.launch(steps)
    chunk.last.wait()
    load.complete(chunk)
    chunk.state.reads.finish()
    return chunk


def _top(name: str, found: Found) -> int:
    where, order = TOP[name]
    return int.from_bytes(found.hash[where], "little" if order == "little" else "big")


@EVERY_LOAD
@WIDTHS
def test_every_published_answer_is_met(
    load_of: LoadOf, all_vectors: dict[str, Any], name: str, lanes: int
) -> None:
    load = load_of(name, lanes)
    for checks in (load.self_test(), load.self_test(all_vectors[name])):
        assert len(checks) >= 5
        assert all(check.passed for check in checks), checks
        assert any("device" in check.detail for check in checks)


@EVERY_LOAD
def test_built_in_vectors_are_the_published_ones(all_vectors: dict[str, Any], name: str) -> None:
    path = paths.data_dir("resources") / "vectors" / f"{name}.json"
    assert json.loads(path.read_text(encoding="utf-8")) == all_vectors[name]


@EVERY_LOAD
@pytest.mark.parametrize("vectors", [{}, {"no_such_answer": 1}], ids=["empty", "strange"])
def test_vectors_without_an_answer_do_not_pass(
    load_of: LoadOf, name: str, vectors: dict[str, Any]
) -> None:
    if name == "sha256d" and vectors:
        vectors = {"no_such_answer": {}}
    assert [check.passed for check in load_of(name, 16).self_test(vectors)] == [False]


@EVERY_LOAD
@WIDTHS
@pytest.mark.parametrize("first", [0, 2**32 - 20, 2**63 - 20, 2**64 - 20])
def test_every_nonce_is_hashed_as_on_the_host(
    load_of: LoadOf, name: str, lanes: int, first: int
) -> None:
    load = load_of(name, lanes)
    group = load._searcher.shape.nonces_per_group
    nonces = [_next(load, first, i) for i in range(group)]
    # The target is the median of what is expected, so that half of the nonces is due.
    expected = load._expected(nonces)
    target = sorted(_top(name, found) for found in expected)[min(FOUND_MAX, group) // 2]
    due = sorted(
        (found for found in expected if _top(name, found) < target), key=lambda found: found.nonce
    )
    shift = 32 if name == "sha256d" else 0
    results = load._searcher.enqueue(first, group, target << shift).results()
    assert list(results.found) == due
    assert results.count == len(due) > 0
    assert reduce(xor, results.digests) == reduce(xor, (_top(name, found) for found in expected))


def _next(load: Load, first: int, i: int) -> int:
    """The i-th nonce of a launch; within one header."""
    span = load.nonces_per_header
    return first // span * span + (first + i) % span


@EVERY_LOAD
def test_lanes_do_not_change_any_result(load_of: LoadOf, name: str) -> None:
    searchers: list[SearchKernel[Found]] = [load_of(name, lanes)._searcher for lanes in (1, 8, 16)]
    nonces = STRIPES * max(searcher.shape.nonces_per_group for searcher in searchers)
    results = [each.enqueue(123, nonces, 20 * 2**64 // nonces).results() for each in searchers]
    assert all(result == results[0] for result in results)
    assert 0 < results[0].count < FOUND_MAX
    assert len(set(results[0].digests)) == STRIPES


@EVERY_LOAD
def test_more_finds_than_room_are_counted_and_left(load_of: LoadOf, name: str) -> None:
    load = load_of(name, 16)
    nonces = STRIPES * load._searcher.shape.nonces_per_group
    results = load._searcher.enqueue(0, nonces, ALL).results()
    assert results.count == nonces
    assert len({found.nonce for found in results.found}) == FOUND_MAX


@EVERY_LOAD
def test_a_run_agrees_with_the_host(device_of: DeviceOf, name: str) -> None:
    load = _prepared(name, device_of(16), seed=3)
    step = load._step_nonces
    chunks = [_complete(load, steps) for steps in (1, 2, 8)]
    assert [chunk.work for chunk in chunks] == [step, 2 * step, 8 * step]
    firsts = [chunk.state.first_nonce for chunk in chunks]
    assert [second - first for first, second in pairwise(firsts)] == [step, 2 * step]
    found = sum(min(chunk.state.results().count, FOUND_MAX) for chunk in chunks)
    checks = load.verify()
    assert len(checks) == found > 0
    assert all(check.passed for check in checks), checks


@EVERY_LOAD
def test_a_launch_finds_a_few_nonces(load_of: LoadOf, name: str) -> None:
    load = load_of(name, 16)
    for steps in (1, 4):
        counts = [_complete(load, steps).state.results().count for _ in range(20)]
        # Poisson with mean 40: outside of this once in 10^9.
        assert 10 < sum(counts) < 85


@EVERY_LOAD
def test_a_seed_gives_the_same_nonces_again(device_of: DeviceOf, name: str) -> None:
    loads = [_prepared(name, device_of(16), seed) for seed in (1, 1, 2)]
    first, again, other = (_complete(load, 1).state.results() for load in loads)
    assert first == again
    assert first.digests != other.digests


@EVERY_LOAD
def test_a_header_is_left_before_its_nonces_end(load_of: LoadOf, name: str) -> None:
    load = load_of(name, 16)
    span, step = load.nonces_per_header, load._step_nonces
    load._next_nonce = span - step
    firsts = [_complete(load, 1).state.first_nonce for _ in range(2)]
    load._next_nonce = 3 * span - 1 if span < 2**64 else span - 1
    firsts.append(_complete(load, 1).state.first_nonce)
    assert firsts == [span - step, span % 2**64, 3 * span % 2**64 if span < 2**64 else 0]
    checks = load.verify()
    assert all(check.passed for check in checks), checks


def _next_repetition(load: Load) -> bool:
    """Whether the next repeated launch agreed with its original."""
    for _ in range(7):
        for check in load.verify():
            if check.name == "repeated launch":
                return check.passed
        load._device.queue.finish()
        load._searcher._reads.finish()
    raise AssertionError("nothing was repeated in seven calls")


def _break(load: Load) -> None:
    """Turn one bit of the memory that the kernel reads, or of what it is told."""
    if isinstance(load, Autolykos2):
        buffer, size = load._table.buffers[0], 32 * load._elements
        content = np.empty(size, np.uint8)
        cl.enqueue_copy(load._device.queue, content, buffer)
        content[::2048] ^= 1
        cl.enqueue_copy(load._device.queue, buffer, content)
    elif isinstance(load, KHeavyHash):
        matrix = load._searcher._arguments[3]
        cl.enqueue_copy(load._device.queue, matrix, np.array([0x0001000200030004], np.uint64))
    else:
        midstate = cl.cltypes.make_uint8(1, 2, 3, 4, 5, 6, 7, 8)
        load._searcher._kernel.set_arg(4, midstate)


@EVERY_LOAD
def test_wrong_results_are_reported(device_of: DeviceOf, name: str) -> None:
    load = _prepared(name, device_of(16), seed=5)
    _complete(load, 2)
    assert all(check.passed for check in load.verify())
    _break(load)
    for _ in range(8):
        _complete(load, 2)
    failed = [check for check in load.verify() if not check.passed]
    assert {check.name for check in failed} == {"nonce"}
    assert "the host" in failed[0].detail


def test_a_fault_before_the_early_exit_is_not_mended_by_the_whole_hash(
    device_of: DeviceOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = program.source_of("mining_sha256d.cl")
    fast = "return h + INITIAL[7];"
    assert source.count(fast) == 1
    broken = source.replace(fast, "return h + INITIAL[7] + 1;")
    monkeypatch.setattr(program, "source_of", lambda *_: broken)
    load = _prepared("sha256d", device_of(16), seed=1)
    for _ in range(8):
        _complete(load, 1)
    checks = load.verify()
    assert checks
    assert not any(check.passed for check in checks)


@EVERY_LOAD
def test_a_repeated_launch_that_differs_is_reported(device_of: DeviceOf, name: str) -> None:
    load = _prepared(name, device_of(16), seed=5)
    _complete(load, 8)
    assert _next_repetition(load)
    _complete(load, 8)
    _break(load)
    assert not _next_repetition(load)


@EVERY_LOAD
def test_a_device_that_returns_nothing_is_reported(
    device_of: DeviceOf, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = _prepared(name, device_of(16), seed=5)
    enqueue = load._searcher.enqueue

    def mute(first_nonce: int, nonces: int, target: int) -> Search[Found]:
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


@EVERY_LOAD
def test_the_catalogue_names_the_load_and_its_knobs(device_of: DeviceOf, name: str) -> None:
    info = WORKLOAD_BY_NAME[f"mining.{name}"]
    host: object = host_class(info)
    assert host is LOADS[name]
    defaults = {knob.name: knob.default_cpu for knob in info.knobs}
    assert defaults.keys() == KNOBS[name].keys()
    load = LOADS[name](device_of(16), defaults, 1)
    assert load.notes == (
        ("reduced table: 64 of 2150 MiB at height 614400",) if name == "autolykos2" else ()
    )


@EVERY_LOAD
def test_variants_compile_and_meet_the_answers(device_of: DeviceOf, name: str) -> None:
    variants = LOADS[name].variants(device_of(16))
    assert len(variants) == len({variant.name for variant in variants}) >= 2
    for variant in variants:
        load = _prepared(name, device_of(16).with_variant(variant), seed=1)
        checks = load.self_test()
        assert all(check.passed for check in checks), (variant, checks)


def test_costs_say_what_bounds_a_load(load_of: LoadOf) -> None:
    sha = load_of("sha256d", 16).cost()
    assert sha.amounts == {Ceiling.INT32: 122 * 17 + 91 * 11}
    heavy = load_of("kheavyhash", 16).cost()
    assert heavy.amounts == {Ceiling.INT32: 2 * 24 * 2 * 90 + 64 * 64 / 2}
    table = load_of("autolykos2", 16).cost()
    assert table.amounts == {Ceiling.RANDOM_32B: 33 * 32}
    assert table.footprint_bytes == 2**14 * 32


def test_the_oracle_is_abstract(device_of: DeviceOf) -> None:
    with pytest.raises(TypeError, match="_expected"):
        Miner[Found](device_of(16), 32, 1)  # type: ignore[abstract]


@pytest.mark.parametrize(
    ("name", "vectors"),
    [
        ("sha256d", {"genesis": {"header_80B": "00"}}),
        ("sha256d", {"nist": []}),
        ("kheavyhash", {"full_case_derived": {"nonce": "1"}}),
        ("autolykos2", {"case": {"height": 614400}}),
    ],
)
def test_vectors_of_another_form_are_refused(
    load_of: LoadOf, name: str, vectors: dict[str, Any]
) -> None:
    with pytest.raises(WorkloadError, match=f"vectors of {name}"):
        load_of(name, 16).self_test(vectors)
