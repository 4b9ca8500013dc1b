"""What it costs to look for users of the processor where 300 processes run."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import count
from statistics import median

import pytest

from gpupanel.backends.linux.opencl_users import OpenClUsers
from tests.enforcement.miner.programs import miner, neighbour

pytestmark = [
    pytest.mark.perf,
    pytest.mark.skipif(sys.platform == "win32", reason="/proc is Linux's"),
]

PROCESSES, LOOKS = 300, 40


@pytest.fixture
def crowd() -> Iterator[None]:
    children = [subprocess.Popen(["/bin/sleep", "300"]) for _ in range(PROCESSES)]
    yield
    for child in children:
        child.kill()
        child.wait()


@pytest.mark.usefixtures("crowd")
def test_a_look_at_300_processes_costs_less_than_3_ms() -> None:
    seconds = count(step=0.2)
    users = OpenClUsers(clock_s=lambda: next(seconds))
    with miner() as one, neighbour() as other:
        one.wait_until_at_work()
        other.wait_until_at_work()
        first_s = _cpu_s(users.look)
        costs_s, stats_s = [], []
        for _ in range(LOOKS):
            # The clock above runs faster than the wall's, and both are busy by it all the same.
            one.wait_for_work(one.work + 1)
            costs_s.append(_cpu_s(users.look))
            stats_s.append(_cpu_s(_read_every_stat))
        found = {sample.pid for sample in users.look()}
        assert {one.pid, other.pid} <= found
    steady_s, stat_s = median(costs_s), median(stats_s)
    print(
        f"\n{len(users._seen)} processes: first look {first_s * 1e3:.2f} ms CPU, then "
        f"{steady_s * 1e3:.2f} ms ({max(costs_s) * 1e3:.2f} at most); reading every stat file "
        f"alone {stat_s * 1e3:.2f} ms, {stat_s / steady_s:.1f} times as much"
    )
    assert len(users._seen) > PROCESSES
    assert steady_s < 3e-3
    assert steady_s < stat_s


def _read_every_stat() -> None:
    for name in os.listdir("/proc"):
        if name.isdecimal():
            try:
                descriptor = os.open(f"/proc/{name}/stat", os.O_RDONLY)
            except OSError:
                continue
            os.read(descriptor, 4096)
            os.close(descriptor)


def _cpu_s(work: Callable[[], object]) -> float:
    before_s = time.thread_time()
    work()
    return time.thread_time() - before_s
