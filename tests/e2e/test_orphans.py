"""Whoever is killed, nobody stays behind."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import psutil
import pytest

if TYPE_CHECKING:
    from tests.e2e.conftest import Ctl

Events = Callable[[subprocess.Popen[str], str], Mapping[str, Any]]
Family = Callable[[subprocess.Popen[str]], list[psutil.Process]]
Gone = Callable[[list[psutil.Process]], None]

LONG_RUN = ("stress", "run", "ai.gemm", "--gpu", "cpu", "--seconds", "120", "--json")


def role_of(process: psutil.Process) -> str:
    line = process.cmdline()
    return next((role for role in ("worker", "agent", "ctl") if role in line), "other")


def test_killing_the_command_line_takes_agent_and_worker_along(
    ctl: Ctl, events: Events, family: Family, gone: Gone
) -> None:
    process = ctl.start(*LONG_RUN)
    events(process, "progress")
    everyone = family(process)
    assert {role_of(member) for member in everyone} == {"ctl", "agent", "worker"}
    process.kill()
    process.wait()
    gone(everyone)


def test_killing_it_while_it_prepares_takes_them_along_too(
    ctl: Ctl, events: Events, family: Family, gone: Gone
) -> None:
    process = ctl.start(*LONG_RUN)
    events(process, "preparing")
    everyone = family(process)
    process.kill()
    process.wait()
    gone(everyone)


def test_killing_the_worker_ends_the_run_with_a_reason(
    ctl: Ctl, events: Events, family: Family, gone: Gone
) -> None:
    process = ctl.start(*LONG_RUN)
    events(process, "progress")
    everyone = family(process)
    (worker,) = [member for member in everyone if role_of(member) == "worker"]
    worker.kill()
    failed = events(process, "failed")
    assert failed["kind"] == "WorkerDied"
    assert process.wait(timeout=10) == 1
    gone(everyone)


def test_ctrl_c_stops_the_run_in_order(
    ctl: Ctl, events: Events, family: Family, gone: Gone
) -> None:
    process = ctl.start(*LONG_RUN)
    while events(process, "progress")["verified"] == 0:
        pass
    everyone = family(process)
    process.send_signal(signal.SIGINT)
    finished = events(process, "finished")
    assert finished["stop_reason"] == "stopped"
    assert finished["verified"] is True
    assert process.wait(timeout=10) == 0
    gone(everyone)


@pytest.mark.perf
def test_a_stop_takes_under_200_ms(ctl: Ctl, events: Events) -> None:
    process = ctl.start(*LONG_RUN)
    events(process, "progress")
    asked_s = time.monotonic()
    process.send_signal(signal.SIGINT)
    events(process, "finished")
    assert time.monotonic() - asked_s < 0.2
