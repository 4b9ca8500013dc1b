"""A foreign miner, its neighbour and our own load: real programs, and what the agent calls them."""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

from gpupanel.ipc.client import Client
from gpupanel.model.gpu import CPU_ID
from gpupanel.model.verdict import EvidenceFamily, ProcessClass, Standing, Verdict
from gpupanel.model.workload import Run
from gpupanel.stress.runner import Runner
from tests.enforcement.miner.programs import miner, neighbour

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="written for Linux")

WITHIN_S = 10.0
LOOKS = 40


@pytest.fixture
def agent(home: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    for name, value in home.items():
        monkeypatch.setenv(name, value)
    with Client() as connected:
        connected.call("subscribe", {"topic": "processes", "interval_s": 1.0})
        yield connected


def known_as(agent: Client, pid: int, standing: Standing) -> dict[str, Any]:
    """What the first look tells that calls one process so."""
    looks, last = 0, dict[str, Any]()
    for method, params in agent.notifications():
        looks += method == "processes"
        last = next((one for one in params.get("processes", ()) if one["pid"] == pid), last)
        if last and last["verdict"] == standing.value:
            return last
        assert looks < LOOKS, f"it never was; at last: {last}"
    raise AssertionError("the agent ended")


def port_of_trex() -> int:
    """One of those that T-Rex answers on, whatever else is tested on this machine."""
    for port in (4067, 4068):
        with socket.socket() as one:
            if one.connect_ex(("127.0.0.1", port)) != 0:
                return port
    raise AssertionError("something listens on 4067 and on 4068")


def test_a_foreign_miner_is_known_within_seconds(agent: Client) -> None:
    with miner("--api-bind-http", f"127.0.0.1:{port_of_trex()}", name="t-rex") as one:
        one.wait_until_at_work()
        began_s = time.monotonic()
        found = known_as(agent, one.pid, Standing.MINING)
        took_s = time.monotonic() - began_s
        key = {"pid": one.pid, "started": found["started"]}
        verdict = Verdict.from_json(agent.call("explain", key)["judgement"])
    assert took_s < WITHIN_S
    assert (found["gpu"], found["name"], found["class"]) == (CPU_ID, "t-rex", "mining")
    assert {(line.family, line.kind) for line in verdict.evidence} >= {
        (EvidenceFamily.PROCESS, "content"),
        (EvidenceFamily.PROCESS, "grammar"),
        (EvidenceFamily.NETWORK, "scheme"),
        (EvidenceFamily.FILES, "port"),
    }


def test_one_that_works_in_a_child_is_told_from_its_neighbour(agent: Client) -> None:
    with miner("--child") as parted, neighbour() as honest:
        worker = parted.wait_until_at_work().pid
        mining = known_as(agent, worker, Standing.MINING)
        clear = known_as(agent, honest.process.pid, Standing.CLEAR)
    assert worker != parted.process.pid
    assert mining["utilization_percent"] > 1
    assert (clear["name"], clear["class"]) == ("heat2d", ProcessClass.UNKNOWN.value)


def test_our_own_load_is_listed_as_what_it_is(agent: Client) -> None:
    run = Run("mining.sha256d", CPU_ID, 60.0)
    runner = Runner(run, lambda event: None)
    runner.start()
    try:
        agent.call("declare", {"pid": runner.pid, "workload": run.workload})
        own = known_as(agent, runner.pid, Standing.OWN)
    finally:
        runner.stop()
        runner.close()
    assert (own["gpu"], own["class"], own["posterior"]) == (CPU_ID, "mining", 1.0)
