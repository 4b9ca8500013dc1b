"""The ceilings of a device, measured on it shortly before a run. Worker process only.

Each is the best of several short launches: what the device reached once, it can do.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import pyopencl as cl  # noqa: TID253 - worker process only

from gpupanel.model.roofline import Ceiling
from gpupanel.stress.gauges import (
    BLOCK_BYTES,
    OPERATIONS,
    STEP_BYTES,
    Arithmetic,
    Bench,
    Copy,
    Gauge,
    RandomReads,
    Read,
)
from gpupanel.stress.workload import Device

MIB = 1 << 20

LAUNCH_TARGET_S = 0.004
"""Long beside the cost of a launch; so short that among many tries some have every core of a busy
processor to themselves. A launch takes about twice as long at most."""

LEAST_STREAM_BYTES = 128 * MIB
CACHE_MULTIPLE = 4
"""STREAM's rule: arrays of four times the last cache do not live in it."""

LEAST_BYTES = 8 * MIB
"""Where there is less memory, nothing but a cache would be measured."""

TITLES: Mapping[Ceiling, str] = {
    Ceiling.COPY: "copying",
    Ceiling.READ: "reading",
    Ceiling.RANDOM_128B: "random reads of 128 bytes",
    Ceiling.RANDOM_32B: "random reads of 32 bytes",
    Ceiling.FP32: "fp32 arithmetic",
    Ceiling.INT32: "32-bit integer arithmetic",
}

MOST_BYTES = 16 << 30
"""Words hold their own index, which has 32 bits."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What was measured.

    Attributes:
        per_s: Bytes or operations per second.
        notes: What could not be measured as it should be, and why.
    """

    per_s: Mapping[Ceiling, float]
    notes: tuple[str, ...] = ()


def measure(
    device: Device, wanted: Iterable[Ceiling], footprint_bytes: int = 0, seconds: float = 0.3
) -> Measured:
    """Measure ceilings, each for ``seconds`` after its first launch, which may compile.

    Args:
        device: As it was opened: the lanes of a slower variant would make lower ceilings. The
            load holds ``footprint_bytes`` of its memory already.
        wanted: Those that the load's cost names.
        footprint_bytes: Of that cost; random reads go all over as much.
        seconds: For each.

    Raises:
        BuildFailed: The kernels do not compile.
    """
    bench = Bench(device)
    per_s: dict[Ceiling, float] = {}
    notes: list[str] = []
    for ceiling in sorted(set(wanted)):
        size = _size_bytes(ceiling, device, footprint_bytes)
        if ceiling in BLOCK_BYTES and size < footprint_bytes - STEP_BYTES:
            notes.append(
                f"the ceiling of {TITLES[ceiling]} comes from {size // MIB} MiB of memory;"
                f" the load spreads over {footprint_bytes // MIB} MiB"
            )
        rate = _rate(ceiling, bench, size, seconds)
        if isinstance(rate, str):
            notes.append(f"the ceiling of {TITLES[ceiling]} is unknown: {rate}")
        else:
            per_s[ceiling] = rate
    return Measured(per_s, tuple(notes))


def _size_bytes(ceiling: Ceiling, device: Device, footprint_bytes: int) -> int:
    """Of one array, as far as there is room beside the load."""
    opencl = device.queue.device
    wanted = max(LEAST_STREAM_BYTES, CACHE_MULTIPLE * opencl.global_mem_cache_size)
    if ceiling in BLOCK_BYTES and footprint_bytes:
        wanted = footprint_bytes
    arrays = 2 if ceiling is Ceiling.COPY else 1
    room = (device.memory_bytes - footprint_bytes) // arrays
    size: int = min(wanted, room, opencl.max_mem_alloc_size, MOST_BYTES)
    return max(0, size - size % STEP_BYTES)


def _rate(ceiling: Ceiling, bench: Bench, size_bytes: int, seconds: float) -> float | str:
    """Per second, or why it is not known."""
    if ceiling not in OPERATIONS and size_bytes < LEAST_BYTES:
        return "the load leaves too little memory to measure it"
    try:
        gauge = _gauge(ceiling, bench, size_bytes)
        best = _best(gauge, seconds)
    except cl.MemoryError as error:
        return f"the device gave no memory to measure it ({error})"
    return best if gauge.is_right() else "the device gave wrong results while it was measured"


def _gauge(ceiling: Ceiling, bench: Bench, size_bytes: int) -> Gauge:
    if ceiling in OPERATIONS:
        return Arithmetic(bench, ceiling)
    if ceiling in BLOCK_BYTES:
        return RandomReads(bench, size_bytes, ceiling)
    return Copy(bench, size_bytes) if ceiling is Ceiling.COPY else Read(bench, size_bytes)


def _best(gauge: Gauge, seconds: float) -> float:
    """The highest rate of the launches that are long enough to tell one."""
    _timed(gauge, 1)
    steps, best = 1, 0.0
    deadline_s = time.monotonic() + seconds
    while best == 0 or time.monotonic() < deadline_s:
        launch_s, amount = _timed(gauge, steps)
        if launch_s < LAUNCH_TARGET_S and steps < gauge.most_steps:
            steps = min(2 * steps, gauge.most_steps)
        else:
            best = max(best, amount / launch_s)
    return best


def _timed(gauge: Gauge, steps: int) -> tuple[float, float]:
    """Device seconds of one launch, waited for, and its amount."""
    event, amount = gauge.launch(steps)
    event.wait()
    return max(1, event.profile.end - event.profile.start) * 1e-9, amount
