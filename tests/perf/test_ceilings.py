"""The measured ceilings beside C programs that do the same on the same processor."""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING

import numpy as np
import pyopencl as cl
import pytest

from gpupanel.model.roofline import Ceiling
from gpupanel.stress.ceilings import measure
from gpupanel.stress.device import open_device

if TYPE_CHECKING:
    from tests.perf.conftest import StartPeer

pytestmark = pytest.mark.perf

GIB = 1 << 30
ROUNDS = 7


@pytest.mark.parametrize(
    ("ceiling", "peer", "least"),
    [
        (Ceiling.COPY, ("stream", "copy"), 0.90),
        (Ceiling.READ, ("stream", "read"), 0.90),
        (Ceiling.RANDOM_128B, ("random_reads", "128"), 0.70),
        (Ceiling.RANDOM_32B, ("random_reads", "32"), 0.70),
        (Ceiling.FP32, ("fma",), 0.95),
    ],
    ids=lambda value: value if isinstance(value, Ceiling) else None,
)
def test_a_ceiling_is_what_c_reaches(
    start_peer: StartPeer, ceiling: Ceiling, peer: tuple[str, ...], least: float
) -> None:
    device = open_device("cpu", None)
    in_c = start_peer(*peer)
    measure(device, [ceiling], GIB)  # compiles
    ratios = []
    for _ in range(ROUNDS):
        ours = measure(device, [ceiling], GIB).per_s[ceiling]
        theirs = in_c()
        ratios.append(ours / theirs)
        print(f"{ceiling}: {ours / 1e9:.1f} G/s, in C {theirs / 1e9:.1f} G/s")
    print(f"{ceiling}: {statistics.median(ratios):.3f} of C")
    assert statistics.median(ratios) >= least


TRIAD = """
kernel void triad(global const float16 *b, global const float16 *c, global float16 *a)
{
    const size_t at = get_global_id(0);
    a[at] = b[at] + 3.0f * c[at];
}
"""
TRIAD_WORDS = 1 << 25
SECONDS = 0.3


def triad_per_s(queue: cl.CommandQueue, kernel: cl.Kernel) -> float:
    """The best rate of some launches in bytes, counted as STREAM counts them."""
    best = 0.0
    deadline_s = time.monotonic() + SECONDS
    while time.monotonic() < deadline_s:
        event = cl.enqueue_nd_range_kernel(queue, kernel, (TRIAD_WORDS // 16,), (256,))
        event.wait()
        best = max(best, 12 * TRIAD_WORDS / (event.profile.end - event.profile.start) * 1e9)
    return best


def test_a_triad_is_what_c_reaches(start_peer: StartPeer) -> None:
    """No load is one, so its kernel stands here: what PoCL makes of the plainest loop."""
    device = open_device("cpu", None)
    flags = cl.mem_flags
    b = np.arange(TRIAD_WORDS, dtype=np.float32)
    sources = [
        cl.Buffer(device.context, flags.READ_ONLY | flags.COPY_HOST_PTR, hostbuf=host)
        for host in (b, np.ones_like(b))
    ]
    target = cl.Buffer(device.context, flags.WRITE_ONLY, b.nbytes)
    kernel = cl.Kernel(cl.Program(device.context, TRIAD).build(), "triad")
    kernel.set_args(*sources, target)
    in_c = start_peer("stream", "triad")
    triad_per_s(device.queue, kernel)  # compiles
    ratios = [triad_per_s(device.queue, kernel) / in_c() for _ in range(ROUNDS)]
    computed = np.empty_like(b)
    cl.enqueue_copy(device.queue, computed, target)
    assert np.array_equal(computed, b + np.float32(3))
    print(f"triad: {statistics.median(ratios):.3f} of C")
    assert statistics.median(ratios) >= 0.90
