"""The memory test on PoCL: bits are flipped behind its back, and it has to find each of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

import numpy as np
import pyopencl as cl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpupanel.model.errors import WorkloadError
from gpupanel.stress.catalog import WORKLOAD_BY_NAME
from gpupanel.stress.device import open_device
from gpupanel.stress.diagnostics import memory_device
from gpupanel.stress.diagnostics.memory import MemoryTest
from gpupanel.stress.diagnostics.memory_device import MemoryUnderTest
from gpupanel.stress.diagnostics.memory_patterns import (
    BYTES_PER_GRANULE,
    GRANULE_BYTES,
    GRANULE_WORDS,
    INVERSIONS,
    MODULO,
    ONES,
    Action,
    Kind,
    Pattern,
    Sweep,
    sweeps,
)
from gpupanel.stress.workload import Check, Device

MIB = 1 << 20
TESTS = {
    "addresses",
    "walking ones and zeros",
    *(f"moving inversions {value:#010x}" for value in INVERSIONS),
    "moving inversions random",
    "modulo 20",
    "block move",
}

Make = Callable[..., MemoryTest]


@pytest.fixture(scope="module")
def processor() -> Device:
    return open_device("cpu", None)


@pytest.fixture
def make(processor: Device, monkeypatch: pytest.MonkeyPatch) -> Make:
    """A test of 8 MiB in buffers of 3, 3 and 2; one lane is the shape of a GPU."""
    monkeypatch.setattr(memory_device, "MOST_BUFFER_BYTES", 3 * MIB)

    def _make(lanes: int = 16, fade_s: int = 0, mib: int = 8) -> MemoryTest:
        device = dataclasses.replace(
            processor, lanes=lanes, is_cpu=lanes > 1, memory_bytes=mib * MIB
        )
        test = MemoryTest(device, {"share_percent": 100, "fade_s": fade_s}, seed=5)
        test.prepare(lambda step, fraction: None)
        return test

    return _make


def sweep(test: MemoryTest) -> list[Check]:
    """Launch what is left of the current sweep, and see what was found."""
    chunk = test.launch(test._sweep.end - test._sweep.first - test._swept)
    chunk.last.wait()
    test.complete(chunk)
    return test.verify()


def flip(test: MemoryTest, granule: int, word: int, bits: int) -> tuple[int, int, int]:
    """Turn bits of a word around: its offset in bytes, what was there, and what is there now."""
    buffer, in_buffer = divmod(granule, 3)
    queue = test._device.queue
    offset = in_buffer * GRANULE_BYTES + 4 * word
    before = np.empty(1, np.uint32)
    cl.enqueue_copy(queue, before, test.memory.buffers[buffer], src_offset=offset)
    after = before ^ np.uint32(bits)
    cl.enqueue_copy(queue, test.memory.buffers[buffer], after, dst_offset=offset)
    return granule * GRANULE_BYTES + 4 * word, int(before[0]), int(after[0])


def named(offset: int, before: int, after: int) -> str:
    return f"{offset:#x}: {before:#010x} expected, {after:#010x} found"


@pytest.mark.parametrize("lanes", [1, 8, 16])
def test_every_pattern_is_the_hosts_and_finds_flipped_bits(make: Make, lanes: int) -> None:
    checks = make(lanes).self_test()
    assert len(checks) == 2 * len(Kind)
    assert [check for check in checks if not check.passed] == []


@pytest.mark.parametrize("lanes", [1, 16])
def test_every_check_of_every_test_finds_and_locates_a_flipped_bit(make: Make, lanes: int) -> None:
    test = make(lanes)
    random = np.random.default_rng(1)
    found = set()
    injected = 0
    while test.readings()["rounds"] < 1:
        current = test._sweep
        if current.action not in (Action.CHECK, Action.TURN):
            assert all(check.passed for check in sweep(test))
            continue
        granule, word, bit = random.integers((8, GRANULE_WORDS, 32)).tolist()
        fault = flip(test, granule, word, 1 << bit)
        failed = [check for check in sweep(test) if check.name == current.test]
        rose = fault[2] > fault[1]
        where = f"1 faulty word from {fault[0]:#x} to {fault[0]:#x}; {named(*fault)}; "
        once = f"{bit} (once)"
        bits = f"bits 0 to 1: {once if rose else 'none'}; 1 to 0: {'none' if rose else once}"
        assert failed == [Check(current.test, passed=False, detail=where + bits)]
        found.add(current.test)
        injected += 1
    assert found == TESTS
    assert test.readings()["faulty_words"] == injected > 20


def test_a_bit_that_fades_is_found(make: Make) -> None:
    test = make(fade_s=1)
    assert test._sweep.test == "bit fade"
    sweep(test)
    fault = flip(test, 1, 77, 1 << 9)
    while test._sweep.test != "bit fade":
        assert all(check.passed for check in sweep(test))
    [fade] = [check for check in sweep(test) if check.name == "bit fade"]
    assert not fade.passed
    assert named(*fault) in fade.detail
    assert fault[1] == ONES


def test_faults_all_over_are_counted_and_summed_up(make: Make) -> None:
    test = make()
    sweep(test)
    # The first two in the run of one work-item of a processor.
    faults = [flip(test, 0, 50, 0b101), *(flip(test, at, 100 + at, 0b101) for at in range(8))]
    [check, *_] = sweep(test)
    assert check.detail.startswith(
        f"9 faulty words from {faults[0][0]:#x} to {faults[-1][0]:#x}; {named(*faults[0])}, "
    )
    readings = test.readings()
    assert readings["faulty_words"] == 9
    assert readings["bit_positions"] == 2
    assert readings["bits_0_to_1"] + readings["bits_1_to_0"] == 18
    assert readings["lowest_fault_mib"] == pytest.approx(200 / MIB, rel=1e-6)
    assert readings["highest_fault_mib"] == pytest.approx(7 + 428 / MIB, rel=1e-9)
    assert set(readings) <= {one.key for one in WORKLOAD_BY_NAME["diagnostics.memory"].readings}


def test_the_lowest_and_the_highest_of_a_run_come_in_any_order(make: Make) -> None:
    test = make()
    for granule in (4, 2, 6):
        while test._sweep.action is not Action.CHECK:
            sweep(test)
        flip(test, granule, 0, 1)
        sweep(test)
    assert test.readings()["lowest_fault_mib"] == 2
    assert test.readings()["highest_fault_mib"] == 6


def test_memory_that_is_all_wrong_is_counted_to_the_last_word(make: Make) -> None:
    test = make()
    sweep(test)
    for buffer in test.memory.buffers:
        cl.enqueue_fill_buffer(test._device.queue, buffer, np.uint32(0xDEADBEEF), 0, buffer.size)
    sweep(test)
    words = 8 * GRANULE_WORDS
    # Where the address itself is 0xDEADBEEF there is no fault; no buffer here is that large.
    assert test.readings()["faulty_words"] == words
    assert test.readings()["highest_fault_mib"] == pytest.approx(8 - 4 / MIB)


def test_launches_of_any_size_find_nothing_in_good_memory(make: Make) -> None:
    test = make(lanes=8, fade_s=1)
    seen: set[str] = set()
    work = 0.0
    for steps in (1, 2, 3, 50, 7, 111, 300, 5, 400):
        chunk = test.launch(steps)
        chunk.last.wait()
        test.complete(chunk)
        work += chunk.work
        checks = test.verify()
        assert all(check.passed for check in checks), checks
        seen |= {check.name for check in checks}
    assert seen >= TESTS | {"seen by the host"}
    assert test.verify() == []
    assert work > 800 * GRANULE_BYTES / 2
    assert test.readings()["rounds"] > 1


def test_the_host_sees_a_device_that_writes_nothing(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    test = make()
    monkeypatch.setattr(
        MemoryUnderTest, "enqueue", lambda memory, *_: cl.enqueue_marker(test._device.queue)
    )
    [check] = sweep(test)
    assert check.name == "seen by the host"
    assert not check.passed
    assert "addresses: 0x" in check.detail


def test_the_self_test_fails_on_a_device_that_finds_nothing(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    test = make()
    monkeypatch.setattr(MemoryUnderTest, "findings", lambda memory, segment, found: [])
    assert not any(check.passed for check in test.self_test())


@given(steps=st.lists(st.integers(1, 9), min_size=1, max_size=30), downwards=st.booleans())
def test_segments_cover_a_sweep_once(
    memory: MemoryUnderTest, steps: list[int], downwards: bool
) -> None:
    whole = Sweep("", Action.CHECK, Pattern(Kind.CONSTANT), 2, 10, downwards)
    done, seen = 0, []
    for most in [*steps, *[9] * 8]:
        if done == 8:
            break
        segment = memory.segment(whole, done, most)
        assert 0 < segment.granules <= most
        assert segment.first + segment.granules <= 3
        here = [3 * segment.buffer + segment.first + i for i in range(segment.granules)]
        seen += here[::-1] if downwards else here
        done += segment.granules
    assert seen == (list(range(9, 1, -1)) if downwards else list(range(2, 10)))


@pytest.fixture(scope="module")
def memory(processor: Device) -> Iterator[MemoryUnderTest]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(memory_device, "MOST_BUFFER_BYTES", 3 * MIB)
        yield MemoryUnderTest(processor, 12)


def test_the_block_move_is_the_move_of_blocks() -> None:
    random = Pattern(Kind.RANDOM, 99).words(0, 2 * GRANULE_WORDS).reshape(2, 2, -1)
    lower = random[:, 0]
    expected = np.stack([np.roll(lower, 16, axis=1), lower], axis=1)
    moved = Pattern(Kind.MOVED, 99).words(0, 2 * GRANULE_WORDS)
    np.testing.assert_array_equal(moved.reshape(2, 2, -1), expected)


def test_patterns_are_what_their_names_say() -> None:
    def words(kind: Kind, value: int) -> list[int]:
        plain = Pattern(kind, value)
        listed: list[int] = plain.words(40, 60).tolist()
        assert plain.turned().words(40, 60).tolist() == [word ^ ONES for word in listed]
        return listed

    assert words(Kind.CONSTANT, 5) == [5] * 60
    assert words(Kind.ADDRESS, ONES) == list(range(39, 99))
    assert words(Kind.WALKING, 3) == [1 << (i + 3) % 32 for i in range(40, 100)]
    assert words(Kind.MODULO, 7) == [ONES if i % 20 == 7 else 0 for i in range(40, 100)]
    assert len(set(words(Kind.RANDOM, 1))) == 60


def test_buffers_are_told_apart_by_addresses() -> None:
    address = Pattern(Kind.ADDRESS)
    first, second = (address.in_buffer(number).words(0, 1000) for number in (0, 1))
    assert not set(first.tolist()) & set(second.tolist())


def first_rounds(granules: int, fade_s: float, until_s: float) -> list[tuple[float, Sweep]]:
    """Sweeps of a clock on which each takes a tenth of a second."""
    now_s = [0.0]
    listed = []
    for one in sweeps(granules, fade_s, 1, lambda: now_s[0]):
        listed.append((now_s[0], one))
        now_s[0] += 0.1
        if now_s[0] > until_s:
            return listed
    raise AssertionError


def test_half_of_the_memory_rests_and_each_half_sees_ones_and_zeros() -> None:
    history = first_rounds(10, 15, 200)
    fades = [(at, one) for at, one in history if one.test == "bit fade"]
    rests = list(zip(fades[::2], fades[1::2], strict=False))
    seen = set()
    for (written_s, write), (checked_s, check) in rests:
        assert (write.action, check.action) == (Action.WRITE, Action.CHECK)
        assert (write.pattern, write.first, write.end) == (check.pattern, check.first, check.end)
        assert checked_s - written_s >= 15
        between = [one for at, one in history if written_s < at < checked_s - 0.05]
        assert {one.test for one in between} == TESTS
        assert all(one.end <= write.first or write.end <= one.first for one in between)
        seen.add((write.first, write.end, write.pattern.complement))
    assert seen == {(first, first + 5, turned) for first in (0, 5) for turned in (0, ONES)}


def test_without_a_fade_all_memory_is_tested_at_once() -> None:
    history = [one for _, one in first_rounds(10, 0, 300)]
    assert {(one.first, one.end) for one in history} == {(0, 10)}
    assert {one.test for one in history} == TESTS
    offsets = {one.pattern.value for one in history if one.test == "modulo 20"}
    assert offsets == set(range(MODULO))


def test_a_round_moves_what_it_says(make: Make) -> None:
    test = make()
    chunk = test.launch(8)
    assert chunk.work == 8 * BYTES_PER_GRANULE[Action.WRITE]
    chunk.last.wait()


def test_memory_that_the_device_does_not_give_is_said(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    take = MemoryUnderTest._take

    def two_buffers(memory: MemoryUnderTest, granules: int) -> None:
        take(memory, granules)
        if len(memory.buffers) > 2:
            raise cl.MemoryError("MEM_OBJECT_ALLOCATION_FAILURE")

    monkeypatch.setattr(MemoryUnderTest, "_take", two_buffers)
    test = make()
    assert (test.memory.granules, len(test.memory.buffers)) == (6, 2)
    assert test.notes[1:] == (
        "6 MiB in 2 buffers",
        "8 MiB were asked for; the device gave no more",
    )
    sweep(test)
    assert all(check.passed for check in sweep(test))


def test_next_to_no_memory_is_an_error_with_a_remedy(make: Make) -> None:
    with pytest.raises(WorkloadError, match=r"gives 1 MiB .* larger share_percent"):
        make(mib=1)


def test_there_are_no_vectors(make: Make) -> None:
    with pytest.raises(WorkloadError, match="no vector files"):
        make().self_test({})
