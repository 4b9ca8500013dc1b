"""The loop on a clock of its own: schedule, failures, drivers that come late. Nothing sleeps."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpupanel.backends.base import ProbeResult, ProbeState
from gpupanel.backends.registry import Opened, open_backends
from gpupanel.model.errors import GpuLost
from gpupanel.model.gpu import (
    CPU_ID,
    GpuId,
    GpuInfo,
    GpuKind,
    ProcessSample,
    Sample,
    Snapshot,
    Unavailable,
)
from gpupanel.model.metrics import METRIC_BY_KEY
from gpupanel.sampling.sampler import Clock, Sampler, next_deadline_s

POWER = "power_draw_w"


class Time:
    """A clock that moves when somebody waits, or when told."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.oversleep_s = 0.0

    def wait(self, event: threading.Event, seconds: float) -> bool:
        assert seconds > 0
        self.now_s += seconds + self.oversleep_s
        return event.is_set()

    def clock(self) -> Clock:
        return Clock(
            monotonic_s=lambda: self.now_s,
            unix_s=lambda: 1_800_000_000.0 + self.now_s,
            wait=self.wait,
        )


class Driver:
    """A double of a driver stack with some GPUs, each of which may fail."""

    hidden_processes_reason = ""

    def __init__(self, name: str, *gpu_ids: GpuId) -> None:
        self.name = name
        self.ids = gpu_ids
        self.there = True
        self.probes = 0
        self.failures: dict[GpuId, str] = {}
        self.on_sample: Callable[[], None] = lambda: None

    def probe(self) -> ProbeResult:
        self.probes += 1
        return ProbeResult(self.name, ProbeState.OK if self.there else ProbeState.ABSENT)

    def gpus(self) -> tuple[GpuInfo, ...]:
        if not self.there:
            return ()
        return tuple(GpuInfo(gpu_id, gpu_id, "V", GpuKind.GPU, self.name) for gpu_id in self.ids)

    def sample(self, gpu_id: GpuId) -> Sample:
        self.on_sample()
        if gpu_id in self.failures:
            raise GpuLost(self.failures[gpu_id])
        return Sample(gpu_id, {POWER: 100.0})

    def processes(self) -> tuple[ProcessSample, ...]:
        raise AssertionError("nobody asked")

    def close(self) -> None:
        raise AssertionError("the sampler opened nothing")


def opened(*drivers: Driver) -> Opened:
    return Opened(
        tuple(driver for driver in drivers if driver.there),
        tuple(driver for driver in drivers if not driver.there),
        tuple(
            ProbeResult(d.name, ProbeState.OK if d.there else ProbeState.ABSENT) for d in drivers
        ),
    )


def tick_times(
    time: Time, sampler: Sampler, count: int, interval_s: float, on_tick: Callable[[int], None]
) -> list[float]:
    """Run the loop for ``count`` ticks; ``on_tick`` is told how many there were."""
    stop = threading.Event()
    times: list[float] = []

    def on_snapshot(snapshot: Snapshot) -> None:
        times.append(snapshot.time_monotonic_s)
        on_tick(len(times))
        if len(times) == count:
            stop.set()

    sampler.run(stop, interval_s, on_snapshot)
    return times


def nothing(_: int) -> None:
    """Happens between ticks."""


def test_a_snapshot_holds_every_gpu_of_every_backend() -> None:
    time = Time()
    sampler = Sampler(opened(Driver("a", "GPU-1", "GPU-2"), Driver("b", "cpu")), time.clock())
    snapshot = sampler.tick()
    assert [sample.gpu_id for sample in snapshot.samples] == ["GPU-1", "GPU-2", "cpu"]
    assert [gpu.backend for gpu in sampler.gpus()] == ["a", "a", "b"]
    assert (snapshot.time_monotonic_s, snapshot.time_unix_s) == (100.0, 1_800_000_100.0)


def test_a_gpu_that_fails_is_a_row_of_reasons_and_nothing_else() -> None:
    driver = Driver("a", "GPU-1", "GPU-2")
    driver.failures["GPU-1"] = "fell off the bus"
    sampler = Sampler(opened(driver), Time().clock())
    first, second = sampler.tick().samples
    assert first.readings == dict.fromkeys(METRIC_BY_KEY, Unavailable("fell off the bus"))
    assert second.readings == {POWER: 100.0}
    driver.failures.clear()
    assert sampler.tick().samples[0].readings == {POWER: 100.0}


def test_late_ticks_do_not_drift() -> None:
    time = Time()
    time.oversleep_s = 0.003  # the scheduler wakes nobody early
    sampler = Sampler(opened(), time.clock())

    def slow(_: int) -> None:
        time.now_s += 0.2  # and reading takes its time

    times = tick_times(time, sampler, 1000, 1.0, slow)
    assert [round(t - 100.0, 3) for t in times] == [0.0] + [n + 0.003 for n in range(1, 1000)]


def test_missed_ticks_are_skipped_and_not_bunched() -> None:
    time = Time()
    sampler = Sampler(opened(), time.clock())

    def stalled(ticks: int) -> None:
        time.now_s += 3.4 if ticks == 2 else 0.0

    times = tick_times(time, sampler, 5, 1.0, stalled)
    assert times == [100.0, 101.0, 105.0, 106.0, 107.0]


def test_after_sleep_the_loop_ticks_once_and_is_on_its_grid() -> None:
    time = Time()
    sampler = Sampler(opened(), time.clock())
    slept = iter([0.0, 0.0, 7200.25])

    def asleep(event: threading.Event, seconds: float) -> bool:
        time.now_s += seconds + next(slept, 0.0)
        return event.is_set()

    clock = Clock(lambda: time.now_s, lambda: 0.0, asleep)
    sampler = Sampler(opened(), clock)
    times = tick_times(time, sampler, 6, 1.0, nothing)
    assert times == [100.0, 101.0, 102.0, 7303.25, 7304.0, 7305.0]


def test_a_new_interval_counts_from_the_last_tick() -> None:
    time = Time()
    sampler = Sampler(opened(), time.clock())

    def change(ticks: int) -> None:
        if ticks == 3:
            sampler.set_interval_s(0.25)
        if ticks == 5:
            sampler.set_interval_s(5.0)

    times = tick_times(time, sampler, 7, 2.0, change)
    assert times == [100.0, 102.0, 104.0, 104.25, 104.5, 109.5, 114.5]


def test_a_long_wait_notices_a_shorter_interval_within_a_second() -> None:
    time = Time()

    def wait(event: threading.Event, seconds: float) -> bool:
        time.now_s += seconds
        if 130.0 <= time.now_s < 131.0:
            sampler.set_interval_s(1.0)
        return event.is_set()

    sampler = Sampler(opened(), Clock(lambda: time.now_s, lambda: 0.0, wait))
    times = tick_times(time, sampler, 4, 600.0, nothing)
    assert times == [100.0, 130.0, 131.0, 132.0]


@pytest.mark.parametrize("interval_s", [0.0, -1.0, float("nan")])
def test_an_interval_must_be_positive(interval_s: float) -> None:
    sampler = Sampler(opened(), Time().clock())
    with pytest.raises(ValueError, match="must be positive"):
        sampler.run(threading.Event(), interval_s, lambda _: None)
    with pytest.raises(ValueError, match="must be positive"):
        sampler.set_interval_s(interval_s)


def test_stop_ends_a_real_wait_at_once() -> None:
    sampler = Sampler(opened(Driver("a", "GPU-1")))
    stop, ticked = threading.Event(), threading.Event()
    thread = threading.Thread(target=sampler.run, args=(stop, 3600.0, lambda _: ticked.set()))
    thread.start()
    assert ticked.wait(10)
    stop.set()
    thread.join(10)
    assert not thread.is_alive()


def test_a_stopped_loop_reads_nothing() -> None:
    driver = Driver("a", "GPU-1")
    driver.on_sample = lambda: pytest.fail("read after stop")
    stop = threading.Event()
    stop.set()
    Sampler(opened(driver), Time().clock()).run(stop, 1.0, lambda _: pytest.fail("a tick"))


def test_a_driver_that_comes_late_is_found_and_asked_seldom() -> None:
    time, late = Time(), Driver("late", "GPU-1")
    late.there = False
    sampler = Sampler(opened(late, Driver("host", "cpu")), time.clock())
    assert [gpu.id for gpu in sampler.gpus()] == ["cpu"]
    assert sampler.probe_results()[0].state is ProbeState.ABSENT

    tick_times(time, sampler, 95, 1.0, nothing)
    assert late.probes == 3
    late.there = True
    tick_times(time, sampler, 31, 1.0, nothing)
    assert [sample.gpu_id for sample in sampler.tick().samples] == ["GPU-1", "cpu"]
    assert sampler.probe_results()[0].state is ProbeState.OK
    assert late.probes == 4, "who is there is not looked for"


def test_the_real_backends_of_this_machine_are_sampled() -> None:
    found = open_backends()
    sampler = Sampler(found)
    try:
        snapshot = sampler.tick()
    finally:
        for backend in found.backends:
            backend.close()
    (cpu,) = [sample for sample in snapshot.samples if sample.gpu_id == CPU_ID]
    assert isinstance(cpu.readings["memory_used_bytes"], int)
    assert Snapshot.from_json(snapshot.as_json()) == snapshot


positive = st.floats(0.01, 3600)


@given(last_s=st.floats(0, 1e6), interval_s=positive, late_s=st.floats(-1, 1e5))
def test_the_next_deadline_is_the_first_point_of_the_grid_ahead(
    last_s: float, interval_s: float, late_s: float
) -> None:
    now_s = last_s + late_s
    deadline_s = next_deadline_s(last_s, interval_s, now_s)
    assert deadline_s > now_s
    assert deadline_s > last_s
    rounding_s = 1e-6 * interval_s + 1e-9 * now_s
    assert deadline_s <= max(now_s, last_s) + interval_s + rounding_s
    steps = (deadline_s - last_s) / interval_s
    assert steps == pytest.approx(round(steps), abs=1e-6)


def test_a_card_that_two_stacks_know_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def placed(self: Driver) -> tuple[GpuInfo, ...]:
        return tuple(
            GpuInfo(gpu_id, gpu_id, "V", GpuKind.GPU, self.name, pci_bus_id="00000000:01:00.0")
            for gpu_id in self.ids
        )

    monkeypatch.setattr(Driver, "gpus", placed)
    vendor, system = Driver("vendor", "GPU-1"), Driver("system", "PCI-1")
    system.on_sample = lambda: pytest.fail("read twice")
    sampler = Sampler(opened(vendor, system))
    assert [gpu.id for gpu in sampler.gpus()] == ["GPU-1"]
    assert [sample.gpu_id for sample in sampler.tick().samples] == ["GPU-1"]
