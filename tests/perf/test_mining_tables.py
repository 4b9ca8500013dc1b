"""Loads that read all over a large table, beside nothing but such reads over the same table.

Ratios of rates that are measured in turn, in one process; medians of several rounds. A chain is a
sequence of reads of which each says where the next one goes, as the pages of a hash do.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping

import numpy as np
import pyopencl as cl
import pytest

from gpupanel.stress.device import open_device
from gpupanel.stress.mining import table
from gpupanel.stress.mining.ethash import Ethash
from gpupanel.stress.mining.kawpow import Kawpow
from gpupanel.stress.workload import Device

pytestmark = pytest.mark.perf

ROUNDS = 9
LAUNCH_S = 0.05
ETHASH_BYTES = 64 * 128
KAWPOW_BYTES = 64 * 256
ETHASH_CHAINS = 8
KAWPOW_CHAINS = 16
ITEMS = 1024

READS = """
kernel void read_pages(global uint *out, global const uint16 *table, uint pages, ulong reciprocal,
                       uint seed, uint rounds)
{
    uint next[CHAINS];
    uint16 sum[CHAINS][LINES];
    for (uint chain = 0; chain < CHAINS; ++chain) {
        next[chain] = (get_global_id(0) * CHAINS + chain ^ seed) * 2654435761u;
        for (uint line = 0; line < LINES; ++line)
            sum[chain][line] = next[chain];
    }
    for (uint i = 0; i < rounds; ++i)
        for (uint chain = 0; chain < CHAINS; ++chain) {
            const uint page = (uint)mul_hi(reciprocal * next[chain], (ulong)pages);
            for (uint line = 0; line < LINES; ++line)
                sum[chain][line] = sum[chain][line] * 0x01000193u ^ table[page * LINES + line];
            next[chain] = (((const uint *)&sum[chain][0])[i % 16] ^ i) * 0x01000193u;
        }
    uint16 all = 0;
    for (uint chain = 0; chain < CHAINS; ++chain)
        for (uint line = 0; line < LINES; ++line)
            all ^= sum[chain][line];
    if (all.s0 == 12345 && all.sf == 54321)
        out[0] = 1;
}
"""
Rate = Callable[[], float]


@pytest.fixture(scope="module")
def device() -> Device:
    return open_device("cpu", None)


def hashing(load: Ethash | Kawpow) -> Rate:
    """Hashes per second of device time in a launch of some 50 ms."""
    steps = 1

    def seconds() -> float:
        chunk = load.launch(steps)
        chunk.last.wait()
        load.complete(chunk)
        return float(chunk.last.profile.end - chunk.first.profile.start) * 1e-9

    while seconds() < LAUNCH_S:
        steps *= 2
    return lambda: steps * load._step_nonces / seconds()


def reading(load: Ethash | Kawpow, chains: int) -> Rate:
    """Bytes per second of reads of whole pages over the load's table."""
    pages = load._table
    assert len(pages.buffers) == 1
    device, page_bytes = pages.kernels.device, pages.kernels.scheme.page_bytes
    options = ["-cl-std=CL1.2", f"-DCHAINS={chains}", f"-DLINES={page_bytes // 64}"]
    kernel = cl.Kernel(cl.Program(device.context, READS).build(options), "read_pages")
    out = cl.Buffer(device.context, cl.mem_flags.READ_WRITE, 4)
    reciprocal = np.uint64(table.reciprocal_of(pages.pages))
    seeds = np.random.default_rng(1)
    rounds = 16

    def seconds() -> float:
        seed = np.uint32(seeds.integers(2**32))
        kernel.set_args(
            out, pages.buffers[0], np.uint32(pages.pages), reciprocal, seed, np.uint32(rounds)
        )
        event = cl.enqueue_nd_range_kernel(device.queue, kernel, (ITEMS,), (8,))
        event.wait()
        return float(event.profile.end - event.profile.start) * 1e-9

    while seconds() < LAUNCH_S:
        rounds *= 2
    return lambda: ITEMS * chains * rounds * page_bytes / seconds()


def making(load: Ethash | Kawpow) -> Rate:
    """Items of the table per second."""
    made, items = load._table, 65536

    def rate() -> float:
        event = made.maker.enqueue(0, items, 0, made.arguments)
        event.wait()
        return items / (float(event.profile.end - event.profile.start) * 1e-9)

    rate()
    return rate


def measured(rates: Mapping[str, Rate]) -> Mapping[str, list[float]]:
    return_of: dict[str, list[float]] = {name: [] for name in rates}
    for _ in range(ROUNDS):
        for name, rate in rates.items():
            return_of[name].append(rate())
    return return_of


def share(of: list[float], ceiling: list[float], unit_bytes: int) -> float:
    return statistics.median(
        rate * unit_bytes / limit for rate, limit in zip(of, ceiling, strict=True)
    )


@pytest.mark.parametrize("dag_mib", [64, 512])
def test_ethash_reads_like_bare_reads_and_makes_its_table_fast(
    device: Device, dag_mib: int
) -> None:
    load = Ethash(device, {"epoch": 0, "dag_mib": dag_mib}, seed=1)
    load.prepare(lambda _step, _fraction: None)
    rates = {
        "hashes": hashing(load),
        "items": making(load),
        "8 chains": reading(load, ETHASH_CHAINS),
        "16 chains": reading(load, 2 * ETHASH_CHAINS),
    }
    found = measured(rates)
    same = share(found["hashes"], found["8 chains"], ETHASH_BYTES)
    double = share(found["hashes"], found["16 chains"], ETHASH_BYTES)
    items = statistics.median(found["items"])
    print(
        f"\nethash over {dag_mib} MiB: {statistics.median(found['hashes']) / 1e3:.0f} kH/s,"
        f" {same:.2f} of as many chains (bar 0.65, aim 0.80), {double:.2f} of twice as many;"
        f" {items / 1e3:.0f} k items/s, best {max(found['items']) / 1e3:.0f} (bar 400, aim 640)"
    )
    assert same >= 0.65


@pytest.mark.parametrize("dag_mib", [64, 512])
def test_kawpow_reads_like_bare_reads(device: Device, dag_mib: int) -> None:
    knobs = {"epoch": 0, "dag_mib": dag_mib, "program_seconds": 3600}
    loads = {variant.name: device.with_variant(variant) for variant in Kawpow.variants(device)}
    prepared = {}
    for name, variant in loads.items():
        prepared[name] = Kawpow(variant, knobs, seed=1)
        prepared[name].prepare(lambda _step, _fraction: None)
        prepared[name]._coming_program.searcher()
    rates = {name: hashing(load) for name, load in prepared.items()}
    rates["16 chains"] = reading(next(iter(prepared.values())), KAWPOW_CHAINS)
    found = measured(rates)
    for name in prepared:
        print(
            f"\nkawpow over {dag_mib} MiB, {name}: {statistics.median(found[name]) / 1e3:.0f} kH/s,"
            f" {share(found[name], found['16 chains'], KAWPOW_BYTES):.2f} of as many chains"
        )
    best = max(share(found[name], found["16 chains"], KAWPOW_BYTES) for name in prepared)
    assert best >= 0.4
