"""The parent's side against workers that misbehave: scripts that stand in for the real one."""

from __future__ import annotations

import queue
import sys
import time
from collections.abc import Callable

import pytest

from gpupanel.model.gpu import Sample
from gpupanel.model.workload import Event, Failed, Finished, Progress, Run
from gpupanel.stress import runner as runner_module
from gpupanel.stress.runner import Runner

RUN = Run("mining.ethash", "cpu", 30)

PREAMBLE = """
import json, sys, time
def say(event, **values):
    values.update(event=event, workload="mining.ethash", gpu="cpu")
    print(json.dumps(values), flush=True)
def progress():
    say("progress", seconds=2.0, work=1000, work_per_s=500.0, uncapped_work_per_s=1000.0,
        unit="hash", verified=4, errors=0)
sys.stdin.readline()
"""

Start = Callable[[str], tuple[Runner, "queue.Queue[Event]"]]


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Start:
    def with_worker(script: str) -> tuple[Runner, queue.Queue[Event]]:
        command = [sys.executable, "-c", PREAMBLE + script]
        monkeypatch.setattr("gpupanel.children.command", lambda role: command)
        events: queue.Queue[Event] = queue.Queue()
        runner = Runner(RUN, events.put)
        runner.start()
        return runner, events

    return with_worker


def last_of(events: queue.Queue[Event]) -> Finished | Failed:
    while not isinstance(event := events.get(timeout=10), Finished | Failed):
        pass
    return event


def test_a_worker_that_crashes_fails_with_its_last_words(start: Start) -> None:
    runner, events = start("sys.exit('the driver said no')")
    failed = last_of(events)
    runner.close()
    assert isinstance(failed, Failed)
    assert failed.kind == "WorkerDied"
    assert "status 1" in failed.reason
    assert "the driver said no" in failed.reason


def test_a_worker_that_ignores_a_stop_is_killed_and_what_it_did_counts(start: Start) -> None:
    runner, events = start("progress(); time.sleep(60)")
    assert isinstance(events.get(timeout=10), Progress)
    asked_s = time.monotonic()
    runner.stop("temperature")
    finished = last_of(events)
    took_s = time.monotonic() - asked_s
    runner.close()
    assert isinstance(finished, Finished)
    assert finished.stop_reason == "temperature"
    assert (finished.work, finished.checks, finished.verified) == (1000, 4, True)
    assert finished.efficiency_percent == pytest.approx(50)
    assert took_s < 5  # not the worker's 60


def test_a_worker_that_falls_silent_is_killed_with_the_reason(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner_module, "SILENCE_KILL_S", 0.3)
    runner, events = start("progress(); time.sleep(60)")
    failed = last_of(events)
    runner.close()
    assert isinstance(failed, Failed)
    assert "said nothing" in failed.reason


def test_a_stop_before_anything_happened_ends_with_nothing_done(start: Start) -> None:
    runner, events = start("time.sleep(60)")
    runner.stop()
    finished = last_of(events)
    runner.close()
    assert isinstance(finished, Finished)
    assert (finished.work, finished.verified) == (0, False)


def test_a_hot_sample_stops_the_run(start: Start) -> None:
    runner, events = start("progress(); time.sleep(60)")
    events.get(timeout=10)
    runner.observe(Sample("cpu", {"temperature_gpu_c": 99.0}))
    finished = last_of(events)
    runner.close()
    assert isinstance(finished, Finished)
    assert finished.stop_reason == "temperature"


def test_exactly_one_last_event_comes(start: Start) -> None:
    runner, events = start("say('failed', kind='BuildFailed', reason='no'); sys.exit(3)")
    assert isinstance(last_of(events), Failed)
    runner.stop()
    runner.close()
    assert events.empty()
