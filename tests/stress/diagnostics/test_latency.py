"""Launches and transfers on PoCL, and damage on the way that has to be noticed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyopencl as cl
import pytest

from gpupanel.model.errors import WorkloadError
from gpupanel.model.roofline import limit_of
from gpupanel.stress.catalog import WORKLOAD_BY_NAME
from gpupanel.stress.device import open_device
from gpupanel.stress.diagnostics.latency import REMEMBERED, Latency, Times
from gpupanel.stress.workload import Check

COPY = cl.enqueue_copy


@pytest.fixture
def load() -> Latency:
    latency = Latency(open_device("cpu", None), {"transfer_mib": 1}, seed=1)
    latency.prepare(lambda step, fraction: None)
    return latency


def damaged(monkeypatch: pytest.MonkeyPatch, damage: Callable[[np.ndarray], None]) -> None:
    """Transfers to the host that change large blocks on the way."""

    def copy(queue: cl.CommandQueue, to: object, source: object) -> object:
        event = COPY(queue, to, source)
        if isinstance(to, np.ndarray) and to.size > 4096:
            damage(to)
        return event

    monkeypatch.setattr(cl, "enqueue_copy", copy)


def test_self_test_and_launches_pass(load: Latency) -> None:
    assert all(check.passed for check in load.self_test())
    chunk = load.launch(70)
    assert chunk.work == 70
    assert chunk.first.profile.start < chunk.last.profile.start
    load.launch(5)
    assert load.verify() == [
        Check("small blocks", passed=True, detail="32 blocks"),
        Check("large blocks", passed=True, detail="2 blocks"),
        Check("launches", passed=True, detail="76 launched, 76 took place"),
    ]
    assert load.verify() == []
    assert limit_of(load.cost(), {}) is None


def test_readings_are_those_of_the_catalog_and_of_this_world(load: Latency) -> None:
    assert load.readings() == {}
    load.launch(200)
    readings = load.readings()
    keys = [one.key for one in WORKLOAD_BY_NAME["diagnostics.latency"].readings]
    assert list(readings) == keys
    for name in ("launch", "upload", "download"):
        assert 0.5 < readings[f"{name}_p50_us"] <= readings[f"{name}_p99_us"]
    for name in ("upload", "download"):
        assert readings[f"{name}_p50_gb_per_s"] >= readings[f"{name}_p99_gb_per_s"] > 0


def test_one_wrong_bit_is_found_and_named(load: Latency, monkeypatch: pytest.MonkeyPatch) -> None:
    def flip(block: np.ndarray) -> None:
        block[0x1234] ^= 8

    damaged(monkeypatch, flip)
    load.launch(1)
    small, large, launches = load.verify()
    assert (small.passed, large.passed, launches.passed) == (True, False, True)
    assert large.detail.startswith(
        "1 of 1 blocks; 1 of 1048576 bytes came back wrong, the first at 0x1234: 0x"
    )


def test_an_earlier_block_is_not_taken_for_the_next(
    load: Latency, monkeypatch: pytest.MonkeyPatch
) -> None:
    load.launch(1)
    load.verify()

    def upload_nothing(queue: cl.CommandQueue, to: object, source: object) -> object:
        return None if isinstance(to, cl.Buffer) else COPY(queue, to, source)

    monkeypatch.setattr(cl, "enqueue_copy", upload_nothing)
    load.launch(1)
    assert [check.passed for check in load.verify()] == [False, False, True]


def test_a_launch_that_did_not_take_place_is_found(
    load: Latency, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cl, "enqueue_nd_range_kernel", lambda queue, *_: cl.enqueue_marker(queue))
    load.launch(3)
    launches = load.verify()[-1]
    assert launches == Check("launches", passed=False, detail="3 launched, 0 took place")


def test_percentiles_are_of_the_latest() -> None:
    times = Times()
    assert times.percentiles_us("x") == {}
    for _ in range(100):
        times.add(9_000_000)
    for ns in range(1, REMEMBERED + 1):
        times.add(1000 * ns)
    expected = np.percentile(np.arange(1, REMEMBERED + 1), (50, 99))
    assert list(times.percentiles_us("x").values()) == pytest.approx(expected)
    # 1 MB in so many microseconds.
    rates = times.rates("x", 1_000_000)
    assert rates["x_p50_gb_per_s"] == pytest.approx(1e3 / expected[0])


def test_there_are_no_vectors(load: Latency) -> None:
    with pytest.raises(WorkloadError, match="no vector files"):
        load.self_test({})
