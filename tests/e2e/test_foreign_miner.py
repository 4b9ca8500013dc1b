"""Real programs on the processor, and what the agent makes of them: a miner, a neighbour, our own."""

from __future__ import annotations

import os
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
LOOKS = 60


@pytest.fixture
def agent(home: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    for name, value in home.items():
        monkeypatch.setenv(name, value)
    with Client() as connected:
        connected.call("subscribe", {"topic": "processes", "interval_s": 1.0})
        yield connected


def seen_of(agent: Client, pid: int) -> Iterator[dict[str, Any]]:
    """What each look tells of one process, while it is listed."""
    looks = 0
    for method, params in agent.notifications():
        looks += method == "processes"
        assert looks < LOOKS, "it was never judged"
        yield from (one for one in params.get("processes", ()) if one["pid"] == pid)
    raise AssertionError("the agent ended")


def judged(agent: Client, pid: int) -> dict[str, Any]:
    return next(one for one in seen_of(agent, pid) if one["verdict"] is not None)


def test_a_foreign_miner_is_known_within_seconds(agent: Client) -> None:
    with miner("--api-bind-http", "127.0.0.1:4067", name="t-rex") as one:
        one.wait_until_at_work()
        began_s = time.monotonic()
        found = next(s for s in seen_of(agent, one.pid) if s["verdict"] == Standing.MINING.value)
        took_s = time.monotonic() - began_s
        key = {"pid": one.pid, "started": found["started"]}
        verdict = Verdict.from_json(agent.call("explain", key)["judgement"])
    assert took_s < WITHIN_S
    assert (found["gpu"], found["name"], found["class"]) == (CPU_ID, "t-rex", "mining")
    lines = {(line.family, line.kind) for line in verdict.evidence}
    assert lines >= {
        (EvidenceFamily.PROCESS, "content"),
        (EvidenceFamily.PROCESS, "grammar"),
        (EvidenceFamily.NETWORK, "scheme"),
        (EvidenceFamily.FILES, "port"),
    }


@pytest.mark.parametrize("words", [["--child"], ["--split", "2"]])
def test_whichever_process_does_the_work_is_the_one_that_is_known(
    agent: Client, words: list[str]
) -> None:
    with miner(*words) as one:
        one.wait_until_at_work(starts=len(words))
        worker = one.pid
        assert worker != one.process.pid
        found = next(s for s in seen_of(agent, worker) if s["verdict"] == Standing.MINING.value)
    assert found["utilization_percent"] > 1


def test_a_neighbour_is_listed_and_left_alone(agent: Client) -> None:
    with neighbour() as honest:
        honest.wait_until_at_work()
        found = judged(agent, honest.pid)
    assert (found["name"], found["verdict"]) == ("heat2d", Standing.CLEAR.value)
    assert found["class"] != ProcessClass.MINING.value
    assert found["utilization_percent"] > 1


def test_our_own_load_is_listed_as_what_it_is(agent: Client) -> None:
    run = Run("mining.sha256d", CPU_ID, 30.0)
    runner = Runner(run, lambda event: None)
    runner.start()
    try:
        agent.call("declare", {"pid": runner.pid, "workload": run.workload})
        found = judged(agent, runner.pid)
    finally:
        runner.stop()
        runner.close()
    assert (found["verdict"], found["class"]) == (Standing.OWN.value, "mining")
    assert (found["gpu"], found["posterior"]) == (CPU_ID, 1.0)


def test_our_own_load_is_clear_to_an_agent_that_was_not_told(agent: Client) -> None:
    """The service's case: it judges a window's worker as it would anybody's process."""
    run = Run("mining.sha256d", CPU_ID, 30.0)
    runner = Runner(run, lambda event: None)
    runner.start()
    try:
        found = judged(agent, runner.pid)
    finally:
        runner.stop()
        runner.close()
    assert found["verdict"] == Standing.CLEAR.value
    assert os.getpid() != found["pid"]
