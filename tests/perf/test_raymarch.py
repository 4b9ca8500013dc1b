"""Ray-march packets against the same kernels one pixel at a time, interleaved in one process."""

from __future__ import annotations

import statistics
import time

import pyopencl as cl
import pytest

from gpupanel.stress.gaming.canvas import BANDS
from gpupanel.stress.gaming.raymarch import Raymarch
from gpupanel.stress.workload import Device

pytestmark = pytest.mark.perf

KNOBS = {"width": 640, "height": 360}
ROUNDS, FRAMES = 7, 2


def test_packets_march_six_times_as_fast_as_single_rays() -> None:
    processor = next(
        item
        for platform in cl.get_platforms()
        for item in platform.get_devices()
        if item.type & cl.device_type.CPU
    )
    context = cl.Context([processor])
    profiled = cl.command_queue_properties.PROFILING_ENABLE
    queue = cl.CommandQueue(context, properties=profiled)
    loads = {lanes: Raymarch(Device(context, queue, True, lanes, 1 << 28), KNOBS, 1)
             for lanes in (1, 8, 16)}  # fmt: skip
    march_s: dict[int, list[float]] = {lanes: [] for lanes in loads}
    frame_s: dict[int, list[float]] = {lanes: [] for lanes in loads}
    for load in loads.values():
        load.prepare(lambda _step, _share: None)
        _march_s(load)
        _frame_s(load)
    for _ in range(ROUNDS):
        for lanes, load in loads.items():
            march_s[lanes].append(_march_s(load))
            frame_s[lanes].append(_frame_s(load))
    ratios = {}
    for name, seconds in (("march", march_s), ("frame", frame_s)):
        alone = statistics.median(seconds[1])
        for lanes in (8, 16):
            ratios[name, lanes] = alone / statistics.median(seconds[lanes])
            pixels = 640 * 360 / statistics.median(seconds[lanes]) / 1e6
            print(f"{name}: packets of {lanes} {ratios[name, lanes]:.1f} x, {pixels:.1f} Mpix/s")
    assert max(ratios["march", 8], ratios["march", 16]) > 6.0


def _march_s(load: Raymarch) -> float:
    """Device seconds of the march kernel over a whole frame, the fastest of two."""
    canvas, queue = load._canvas, load._device.queue
    best = float("inf")
    for _ in range(FRAMES):
        event = canvas._enqueue(canvas._march, 0, load._height)
        queue.finish()
        best = min(best, 1e-9 * (event.profile.end - event.profile.start))
    return best


def _frame_s(load: Raymarch) -> float:
    """Wall seconds of a frame: march, shade, post."""
    started_s = time.perf_counter()
    for _ in range(FRAMES):
        chunk = load.launch(BANDS)
        load.complete(chunk)
    load._device.queue.finish()
    return (time.perf_counter() - started_s) / FRAMES
