"""Whoever holds dies or hangs at any moment: everybody runs again within two seconds."""

from __future__ import annotations

import json
import os
import random
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from gpupanel.enforcement.cell import Cell
from gpupanel.enforcement.deadman import DeadMan
from gpupanel.enforcement.deadman_child import SILENCE_S, Watch
from gpupanel.model.errors import HoldFailed
from tests.enforcement.conftest import MAKERS, PREFIX, Spawn, key_of, runs_on, stands_still

KILLS = 25

NURSERY = """
import os, sys
sys.path.insert(0, {tests!r})
from gpupanel.enforcement.deadman import DeadMan
from tests.enforcement import conftest
for line in sys.stdin:
    kind, name, pid, started = line.split()
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        print("dead", flush=True)
        continue
    conftest.PREFIX = {prefix!r}
    cell = conftest.MAKERS[kind](name)
    watch = DeadMan(lambda text: None)
    watch.start()
    cell.add([(int(pid), int(started))])
    watch.hold(name, cell.trace)
    print(os.getpid(), flush=True)
    while True:
        watch.beat()
        cell.freeze()
        cell.freeze()
        cell.thaw()
        cell.freeze()
"""
"""Forks one holder after the other: imports cost more than what is tested."""


@pytest.fixture
def nursery() -> Iterator[subprocess.Popen[str]]:
    program = NURSERY.format(tests=str(Path(__file__).parents[2]), prefix=PREFIX)
    started = subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,
    )
    yield started
    assert started.stdin is not None
    assert started.stdout is not None
    started.stdin.close()
    started.wait()
    started.stdout.close()


@pytest.mark.parametrize(("kind", "kills"), [("v2", KILLS), ("v1", 3), ("signals", 3)])
def test_killed_at_any_moment_it_leaves_nobody_held(
    kind: str, kills: int, nursery: subprocess.Popen[str], spawn: Spawn
) -> None:
    MAKERS[kind]("probe").close()  # skips where there is no such means
    assert nursery.stdin is not None
    assert nursery.stdout is not None
    chance = random.Random(7)  # the same moments each time, as far as a machine repeats them
    child = spawn()
    pid, started = key_of(child)
    home = Path(f"/proc/{pid}/cgroup").read_text("ascii")
    for number in range(kills):
        nursery.stdin.write(f"{kind} kill{number} {pid} {started}\n")
        holder = int(nursery.stdout.readline())
        select.select([], [], [], chance.uniform(0, 0.02))
        (deadman,) = psutil.Process(holder).children()
        end_of_deadman = os.pidfd_open(deadman.pid)
        os.kill(holder, signal.SIGKILL)
        died_s = time.monotonic()
        assert nursery.stdout.readline() == "dead\n"
        assert runs_on([pid], within_s=SILENCE_S)
        assert select.select([end_of_deadman], [], [], SILENCE_S)[0]
        assert time.monotonic() - died_s < SILENCE_S
        os.close(end_of_deadman)
        assert Path(f"/proc/{pid}/cgroup").read_text("ascii") == home


@pytest.fixture
def faults() -> list[str]:
    return []


@pytest.fixture
def deadman(faults: list[str]) -> Iterator[DeadMan]:
    watch = DeadMan(faults.append)
    watch.start()
    yield watch
    watch.close()


def test_silence_lets_go_and_leaves_them_in_place(cell: Cell, spawn: Spawn) -> None:
    """The parent may have slept only: it holds on when it is back."""
    child = spawn()
    cell.add([key_of(child)])
    ours, parents = os.pipe()
    watch = threading.Thread(target=Watch(ours, silence_s=0.1).run)
    watch.start()
    for _ in range(2):
        os.write(parents, json.dumps({"hold": "one", "trace": cell.trace}).encode() + b"\n")
        cell.freeze()
        assert runs_on([child.pid])
        assert cell.members() == {key_of(child)}
    os.close(parents)
    watch.join()
    os.close(ours)


def test_a_parent_that_hangs_is_noticed(deadman: DeadMan, spawn: Spawn, faults: list[str]) -> None:
    child = spawn()
    cell = MAKERS["signals"]("one")
    cell.add([key_of(child)])
    deadman.hold("one", cell.trace)
    cell.freeze()
    began_s = time.monotonic()
    assert stands_still([child.pid])
    deadman.beat()
    assert runs_on([child.pid], within_s=SILENCE_S + 2)
    assert time.monotonic() - began_s > SILENCE_S - 0.5
    assert faults == []
    cell.close()


def pid_of(deadman: DeadMan) -> int:
    assert deadman.pid is not None
    return deadman.pid


def test_a_child_that_dies_is_replaced_and_told_everything(
    deadman: DeadMan, cell: Cell, spawn: Spawn, faults: list[str]
) -> None:
    child = spawn()
    cell.add([key_of(child)])
    deadman.hold("one", cell.trace)
    first = pid_of(deadman)
    os.kill(first, signal.SIGKILL)
    os.waitid(os.P_PID, first, os.WEXITED | os.WNOWAIT)
    deadman.beat()
    assert pid_of(deadman) != first
    assert faults == ["the dead-man ended with status -9; another one takes its place"]
    cell.freeze()
    deadman.close()
    assert runs_on([child.pid])


def test_a_child_that_hangs_is_replaced(deadman: DeadMan, faults: list[str]) -> None:
    first = pid_of(deadman)
    os.kill(first, signal.SIGSTOP)
    trace = {"kind": "signals", "processes": [[2**22, 1]] * 4000}
    deadman.hold("one", trace)
    deadman.hold("two", trace)
    assert pid_of(deadman) != first
    assert faults == ["the dead-man hangs; another one takes its place"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signals_to_the_group_do_not_reach_it(
    deadman: DeadMan, spawn: Spawn, number: signal.Signals
) -> None:
    child = spawn()
    cell = MAKERS["signals"]("one")
    cell.add([key_of(child)])
    deadman.hold("one", cell.trace)
    assert os.getsid(pid_of(deadman)) != os.getsid(0)
    _settled(lambda: str(int(number)) in _ignored(pid_of(deadman)))
    os.kill(pid_of(deadman), number)
    cell.freeze()
    deadman.close()
    assert runs_on([child.pid])
    cell.close()


def test_who_was_dropped_is_left_alone(deadman: DeadMan, spawn: Spawn) -> None:
    child = spawn()
    cell = MAKERS["signals"]("one")
    cell.add([key_of(child)])
    deadman.hold("one", cell.trace)
    deadman.drop("one")
    deadman.drop("never")
    cell.freeze()
    deadman.close()
    assert stands_still([child.pid])
    cell.close()


def test_without_a_dead_man_nothing_may_be_held(
    deadman: DeadMan, monkeypatch: pytest.MonkeyPatch, faults: list[str]
) -> None:
    first = pid_of(deadman)
    os.kill(first, signal.SIGKILL)
    os.waitid(os.P_PID, first, os.WEXITED | os.WNOWAIT)
    monkeypatch.setattr("gpupanel.children.command", lambda role: [f"/nowhere/{role}"])
    with pytest.raises(HoldFailed, match="cannot be started"):
        deadman.hold("one", {"kind": "signals", "processes": []})
    assert len(faults) == 1
    deadman.beat()
    assert faults[-1].startswith("the dead-man cannot be started")


def test_it_holds_no_file_of_its_parents(deadman: DeadMan) -> None:
    """A pipe's other end in it, and it would never see the end of its own."""
    links = [os.path.realpath(one) for one in Path(f"/proc/{deadman.pid}/fd").iterdir()]
    assert len([link for link in links if "pipe:" in link]) <= 2  # stdin, our stderr


def _ignored(pid: int) -> set[str]:
    """The signals that a process ignores."""
    lines = Path(f"/proc/{pid}/status").read_text("utf-8").splitlines()
    mask = int(next(line for line in lines if line.startswith("SigIgn")).split()[1], 16)
    return {str(bit + 1) for bit in range(64) if mask >> bit & 1}


def _settled(condition: Callable[[], bool]) -> None:
    for _ in range(1000):
        if condition():
            return
        select.select([], [], [], 0.005)
    raise AssertionError("it did not come about")
