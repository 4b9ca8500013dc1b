"""Ceilings on PoCL: right sums in the shapes of GPUs and processors, and what is said without."""

from __future__ import annotations

import dataclasses

import numpy as np
import pyopencl as cl
import pytest

from gpupanel.model.roofline import Ceiling
from gpupanel.stress import ceilings
from gpupanel.stress.ceilings import MIB, measure
from gpupanel.stress.device import open_device
from gpupanel.stress.gauges import Arithmetic, Bench, Copy, Gauge, RandomReads, Read, random_numbers
from gpupanel.stress.workload import Device

MEMORY = [Ceiling.COPY, Ceiling.READ, Ceiling.RANDOM_128B, Ceiling.RANDOM_32B]
SIZE = 8 * MIB


@pytest.fixture(scope="module")
def processor() -> Device:
    return open_device("cpu", None)


def in_shape(device: Device, lanes: int) -> Device:
    """One lane is the shape of a GPU: groups of many items, teams that share a block."""
    return dataclasses.replace(device, lanes=lanes, is_cpu=lanes > 1)


def gauge_of(ceiling: Ceiling, bench: Bench) -> Gauge:
    if ceiling in (Ceiling.FP32, Ceiling.INT32):
        return Arithmetic(bench, ceiling)
    if ceiling is Ceiling.COPY:
        return Copy(bench, SIZE)
    return Read(bench, SIZE) if ceiling is Ceiling.READ else RandomReads(bench, SIZE, ceiling)


@pytest.mark.parametrize("lanes", [1, 8, 16])
@pytest.mark.parametrize("ceiling", list(Ceiling))
def test_launches_compute_what_they_must(processor: Device, ceiling: Ceiling, lanes: int) -> None:
    gauge = gauge_of(ceiling, Bench(in_shape(processor, lanes)))
    amounts = []
    for steps in (1, 3, 5, 2):
        event, amount = gauge.launch(steps)
        event.wait()
        amounts.append(amount / steps)
        assert gauge.is_right()
    assert len(set(amounts)) == 1


@pytest.mark.parametrize("ceiling", MEMORY)
def test_memory_that_holds_something_else_is_noticed(
    processor: Device, ceiling: Ceiling, monkeypatch: pytest.MonkeyPatch
) -> None:
    def all_the_same(bench: Bench, size_bytes: int) -> cl.Buffer:
        flags = cl.mem_flags.READ_WRITE | cl.mem_flags.COPY_HOST_PTR
        return cl.Buffer(processor.context, flags, hostbuf=np.full(size_bytes // 4, 7, np.uint32))

    monkeypatch.setattr(Bench, "numbered", all_the_same)
    gauge = gauge_of(ceiling, Bench(processor))
    gauge.launch(3)
    assert not gauge.is_right()


@pytest.mark.parametrize("ceiling", list(Ceiling))
def test_a_launch_that_does_nothing_is_noticed(
    processor: Device, ceiling: Ceiling, monkeypatch: pytest.MonkeyPatch
) -> None:
    gauge = gauge_of(ceiling, Bench(processor))
    monkeypatch.setattr(
        Bench, "enqueue", lambda bench, kernel, items, group: cl.enqueue_marker(bench.queue)
    )
    gauge.launch(3)
    assert not gauge.is_right()


def test_all_six_are_measured_and_are_of_this_world(processor: Device) -> None:
    measured = measure(processor, list(Ceiling), 16 * MIB, seconds=0.02)
    assert measured.notes == ()
    assert set(measured.per_s) == set(Ceiling)
    assert all(1e8 < rate < 1e13 for rate in measured.per_s.values())


def test_only_what_is_wanted_is_measured(processor: Device) -> None:
    assert measure(processor, [], 0).per_s == {}
    assert set(measure(processor, [Ceiling.FP32] * 2, seconds=0.01).per_s) == {Ceiling.FP32}


def test_a_wrong_result_is_no_ceiling(processor: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Read, "is_right", lambda gauge: False)
    measured = measure(processor, [Ceiling.READ], seconds=0.01)
    assert measured.per_s == {}
    [note] = measured.notes
    assert note == (
        "the ceiling of reading is unknown: the device gave wrong results while it was measured"
    )


def test_a_load_that_fills_the_device_leaves_arithmetic(processor: Device) -> None:
    full = dataclasses.replace(processor, memory_bytes=64 * MIB)
    measured = measure(full, [Ceiling.READ, Ceiling.FP32], 60 * MIB, seconds=0.01)
    assert set(measured.per_s) == {Ceiling.FP32}
    assert "the load leaves too little memory" in measured.notes[0]


def test_random_reads_over_less_than_the_load_are_said(processor: Device) -> None:
    small = dataclasses.replace(processor, memory_bytes=96 * MIB)
    measured = measure(small, [Ceiling.RANDOM_128B], 64 * MIB, seconds=0.01)
    assert measured.per_s[Ceiling.RANDOM_128B] > 0
    assert measured.notes == (
        "the ceiling of random reads of 128 bytes comes from 32 MiB of memory; the load spreads"
        " over 64 MiB",
    )


def test_a_device_that_gives_no_memory_is_said(
    processor: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(bench: Bench, size_bytes: int) -> cl.Buffer:
        raise cl.MemoryError("MEM_OBJECT_ALLOCATION_FAILURE")

    monkeypatch.setattr(Bench, "buffer", refuse)
    measured = measure(processor, [Ceiling.COPY], seconds=0.01)
    assert measured.per_s == {}
    assert "gave no memory" in measured.notes[0]


def test_the_best_launch_counts_not_the_short_ones() -> None:
    class Event:
        def __init__(self, ns: int) -> None:
            self.profile = self
            self.start, self.end = 0, ns

        def wait(self) -> None:
            pass

    class Clockwork:
        most_steps = 1 << 20
        launches = 0

        def launch(self, steps: int) -> tuple[Event, float]:
            self.launches += 1
            noise = 2 if self.launches % 2 else 1
            # Short launches look ten times as fast.
            fast = 10 if steps < 16 else 1
            return Event(noise * steps * 1_000_000 // fast), float(steps)

        def is_right(self) -> bool:
            return True

    assert ceilings._best(Clockwork(), 0.001) == pytest.approx(1000)


def test_random_reads_are_other_ones_each_time(processor: Device) -> None:
    bench = Bench(processor)
    gauge = RandomReads(bench, SIZE, Ceiling.RANDOM_128B)
    sums = set()
    for _ in range(4):
        gauge.launch(5)
        sums.add(bench.fetched(gauge._sums, 0, bench.items).tobytes())
    assert len(sums) == 4


def test_launches_go_on_where_the_last_one_ended(processor: Device) -> None:
    bench = Bench(processor)
    gauge = Copy(bench, SIZE)
    for steps in (3, 5):
        gauge.launch(steps)
    words = SIZE // 4
    assert bench.fetched(gauge._target, 0, words).tolist() == list(range(words))
    gauge.launch(1)
    gauge.launch(8)
    assert gauge.is_right()


@pytest.mark.parametrize(
    ("ceiling", "mib"),
    [(Ceiling.COPY, 12), (Ceiling.READ, 24), (Ceiling.RANDOM_32B, 16)],
)
def test_memory_is_shared_with_the_load(processor: Device, ceiling: Ceiling, mib: int) -> None:
    device = dataclasses.replace(processor, memory_bytes=40 * MIB + 5)
    assert ceilings._size_bytes(ceiling, device, 16 * MIB) == mib * MIB


def test_random_numbers_are_those_of_the_generator() -> None:
    x, numbers = 12345, []
    for _ in range(1000):
        x = (x * 1664525 + 1013904223) % 2**32
        numbers.append(x)
    assert random_numbers(12345, 1000).tolist() == numbers
