"""How fast three mining loads are: beside OpenSSL, and beside what the same device can do at most.

Ratios of rates that are measured in turn, in one process; medians of several rounds.
"""

from __future__ import annotations

import hashlib
import statistics
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import pyopencl as cl
import pytest

from gpupanel.model.roofline import Ceiling
from gpupanel.stress.device import open_device
from gpupanel.stress.mining.autolykos2 import Autolykos2
from gpupanel.stress.mining.kheavyhash import KHeavyHash
from gpupanel.stress.mining.sha256d import Sha256d
from gpupanel.stress.workload import Device

pytestmark = pytest.mark.perf

ROUNDS = 9
LAUNCH_S = 0.06
THREADS = 2
TABLE_LOG2 = 21

# Equal parts of additions, exclusive ors and shifts, in chains that do not wait for each other.
CEILINGS = """
#define STEP(x) x += seed; x ^= x >> 3; x += 0x9e3779b9u; x ^= x << 5;
kernel void int32(global uint *out, uint seed, uint rounds)
{
    uint16 a = seed + get_global_id(0), b = a + 1, c = a + 2, d = a + 3;
    uint16 e = a + 4, f = a + 5, g = a + 6, h = a + 7;
    for (uint i = 0; i < rounds; ++i) {
        STEP(a) STEP(b) STEP(c) STEP(d) STEP(e) STEP(f) STEP(g) STEP(h)
    }
    const uint16 all = a ^ b ^ c ^ d ^ e ^ f ^ g ^ h;
    if (all.s0 == 12345 && all.sf == 54321)
        out[0] = 1;
}

kernel void random_32b(global uint *out, global const uint8 *table, uint mask, uint rounds)
{
    uint next[32];
    uint8 sum = 0;
    for (uint chain = 0; chain < 32; ++chain)
        next[chain] = (get_global_id(0) * 32 + chain) * 2654435761u;
    for (uint i = 0; i < rounds; ++i)
        for (uint chain = 0; chain < 32; ++chain) {
            next[chain] = next[chain] * 1664525u + 1013904223u;
            sum ^= table[(next[chain] >> 7) & mask];
        }
    if (sum.s0 == 12345 && sum.s7 == 54321)
        out[0] = sum.s0;
}
"""
INT32_PER_ROUND = 16 * 8 * 6
Rate = Callable[[], float]


@pytest.fixture(scope="module")
def device() -> Device:
    return open_device("cpu", None)


def rate_of(load: Sha256d | KHeavyHash | Autolykos2) -> Rate:
    """Work per second of device time in a launch of some 60 ms."""
    load.prepare(lambda _step, _fraction: None)
    steps = 1

    def seconds() -> float:
        chunk = load.launch(steps)
        chunk.last.wait()
        load.complete(chunk)
        assert all(check.passed for check in load.verify())
        return float(chunk.last.profile.end - chunk.first.profile.start) * 1e-9

    while seconds() < LAUNCH_S:
        steps *= 2
    return lambda: steps * load._step_nonces / seconds()


def openssl_hashes_per_s() -> float:
    """SHA-256 of long messages on both cores; a nonce is two blocks of 64 bytes."""
    message = bytes(2**20)
    done = [0] * THREADS
    start_s = time.perf_counter()

    def hash_on(thread: int) -> None:
        while time.perf_counter() - start_s < LAUNCH_S:
            hashlib.sha256(message).digest()
            done[thread] += len(message)

    threads = [threading.Thread(target=hash_on, args=(thread,)) for thread in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(done) / 128 / (time.perf_counter() - start_s)


def kernel_rate(
    device: Device, name: str, arguments: tuple[object, ...], work_per_item_round: float
) -> Rate:
    """Work per second of one of CEILINGS in a launch of some 60 ms."""
    kernel = cl.Kernel(cl.Program(device.context, CEILINGS).build(["-cl-std=CL1.2"]), name)
    items, rounds = 1024, 64
    out = cl.Buffer(device.context, cl.mem_flags.READ_WRITE, 4)

    def seconds() -> float:
        kernel.set_args(out, *arguments, np.uint32(rounds))
        event = cl.enqueue_nd_range_kernel(device.queue, kernel, (items,), (8,))
        event.wait()
        return float(event.profile.end - event.profile.start) * 1e-9

    seconds()
    while seconds() < LAUNCH_S:
        rounds *= 2
    return lambda: items * rounds * work_per_item_round / seconds()


def medians(rates: Mapping[str, Rate]) -> dict[str, list[float]]:
    """Rounds in which each is measured once."""
    measured: dict[str, list[float]] = {name: [] for name in rates}
    for _ in range(ROUNDS):
        for name, rate in rates.items():
            measured[name].append(rate())
    return measured


def ratio(measured: Mapping[str, list[float]], one: str, other: str) -> float:
    return statistics.median(a / b for a, b in zip(measured[one], measured[other], strict=True))


def test_sha256d_against_openssl(device: Device) -> None:
    rates = {
        variant.name: rate_of(Sha256d(device.with_variant(variant), {}, 1))
        for variant in Sha256d.variants(device)
    }
    measured = medians({**rates, "openssl": openssl_hashes_per_s})
    print("\nmining.sha256d            MH/s   of OpenSSL")
    for name, values in measured.items():
        print(
            f"  {name:20} {statistics.median(values) / 1e6:8.1f}"
            f"   {ratio(measured, name, 'openssl'):.2f}"
        )
    best = max(ratio(measured, name, "openssl") for name in rates)
    assert best >= 1.5


def test_integer_loads_against_the_int32_ceiling(device: Device) -> None:
    loads = {"sha256d": Sha256d(device, {}, 1)} | {
        f"kheavyhash, {variant.name}": KHeavyHash(device.with_variant(variant), {}, 1)
        for variant in KHeavyHash.variants(device)
    }
    ceiling = kernel_rate(device, "int32", (np.uint32(1),), INT32_PER_ROUND)
    measured = medians({name: rate_of(load) for name, load in loads.items()} | {"int32": ceiling})
    print(f"\nint32 ceiling {statistics.median(measured['int32']) / 1e9:.0f} Gop/s")
    for name, load in loads.items():
        share = ratio(measured, name, "int32") * load.cost().amounts[Ceiling.INT32]
        print(f"  {name:32} {statistics.median(measured[name]) / 1e6:8.2f} MH/s   {share:.2f}")
        assert 0.2 < share <= 1


def test_autolykos2_against_random_reads(device: Device) -> None:
    knobs = {"height": 614400, "table_log2": TABLE_LOG2}
    roomy = replace(device, memory_bytes=2**31)
    load = Autolykos2(roomy, knobs, 1)
    load_rate = rate_of(load)
    reads = kernel_rate(
        device, "random_32b",
        (load._table.buffers[0], np.uint32(2**TABLE_LOG2 - 1)), 32 * 32,
    )  # fmt: skip
    start_s = time.perf_counter()
    load._table.fill(lambda _: None)
    elements_per_s = 2**TABLE_LOG2 / (time.perf_counter() - start_s)
    measured = medians({"load": load_rate, "reads": reads})
    share = ratio(measured, "load", "reads") * load.cost().amounts[Ceiling.RANDOM_32B]
    print(
        f"\nmining.autolykos2, 2^{TABLE_LOG2} elements: {elements_per_s / 1e6:.2f} M elements/s,"
        f" {statistics.median(measured['load']) / 1e6:.2f} MH/s; random 32 bytes"
        f" {statistics.median(measured['reads']) / 1e9:.1f} GB/s; share {share:.2f}"
    )
    assert 0.2 < share <= 1
