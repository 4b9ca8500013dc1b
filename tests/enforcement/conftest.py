"""Real processes and real control groups; whatever a test does, nobody stays held."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from gpupanel.enforcement import restore
from gpupanel.enforcement.cell import Cell, Means, ProcessKey
from gpupanel.enforcement.linux import process
from gpupanel.enforcement.linux.cgroup_cell import CgroupCell
from gpupanel.enforcement.linux.hierarchy import find
from gpupanel.enforcement.linux.stopping_cell import StoppingCell

PREFIX = f"test{os.getpid()}-"
"""Of every cell here, so that tests that run side by side leave each other alone."""

BUSY = "import sys; print(flush=True)\nwhile True: pass"
"""Tells that it runs, then does."""

Spawn = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def spawn() -> Iterator[Spawn]:
    """Starts a Python program, as another user if asked, and waits for its first line."""
    started: list[subprocess.Popen[str]] = []

    def start(program: str = BUSY, uid: int | None = None) -> subprocess.Popen[str]:
        identity = ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups"] if uid else []
        child = subprocess.Popen(
            # Others may not read the home of a tester's own Python.
            [*identity, "/usr/bin/python3" if uid else sys.executable, "-I", "-S", "-c", program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
            start_new_session=True,
        )
        started.append(child)
        assert child.stdout is not None
        child.stdout.readline()
        return child

    yield start
    restore.restore_stale(PREFIX)
    for child in started:
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)  # a session of its own: its children too
        child.wait()
        for stream in (child.stdin, child.stdout):
            assert stream is not None
            stream.close()


MakeGroup = Callable[..., str]


@pytest.fixture
def make_group(spawn: Spawn) -> Iterator[MakeGroup]:
    """Makes control groups of version 2, a user's if asked; gone after the test."""
    del spawn  # its processes end after they were moved out
    unified = find(2)
    if unified is None or os.geteuid() != 0:
        pytest.skip("no right to make control groups of version 2 here")
    made: list[str] = []

    def make(name: str, uid: int = 0) -> str:
        group = f"/{PREFIX}{name}"
        folder = unified.folder(group)
        os.mkdir(folder)
        made.append(group)
        for path in (folder, f"{folder}/cgroup.procs", f"{folder}/cgroup.freeze"):
            os.chown(path, uid, uid)
        return group

    yield make
    restore.restore_stale(PREFIX)
    for group in reversed(made):
        for pid in unified.pids(group):
            unified.move(pid, "/")
        with suppress(FileNotFoundError):  # the test was about that
            os.rmdir(unified.folder(group))


def key_of(child: subprocess.Popen[str]) -> ProcessKey:
    found = process.read(child.pid)
    assert found is not None
    return found.key


def _v2(name: str) -> Cell:
    unified = find(2)
    if unified is None or not _may_make(unified.mount):
        pytest.skip("no right to make control groups of version 2 here")
    return CgroupCell(PREFIX + name, unified, Means("v2"))


def _v1(name: str) -> Cell:
    freezer = find(1)
    if freezer is None or not _may_make(freezer.mount):
        pytest.skip("no freezer of control groups of version 1 here, or no right to it")
    return CgroupCell(PREFIX + name, freezer, Means("v1"))


def _signals(name: str) -> Cell:
    del name
    return StoppingCell(Means("signals", True))


def _may_make(mount: str) -> bool:
    return os.access(mount, os.W_OK)


MAKERS = {"v2": _v2, "v1": _v1, "signals": _signals}


@pytest.fixture(params=MAKERS)
def cell(request: pytest.FixtureRequest, spawn: Spawn) -> Iterator[Cell]:
    """An empty cell of each kind that this machine has."""
    del spawn  # ends after the cell
    made = MAKERS[request.param]("cell")
    yield made
    made.close()


@pytest.fixture(params=["v2", "v1"])
def strong_cell(request: pytest.FixtureRequest, spawn: Spawn) -> Iterator[Cell]:
    """An empty cell that nobody can undo."""
    del spawn
    made = MAKERS[request.param]("strong")
    yield made
    made.close()


def ticks(pid: int) -> int:
    found = process.read(pid)
    assert found is not None
    return found.ticks


def runs_on(pids: list[int], within_s: float = 5.0) -> bool:
    """Whether all of them get processor time again: each burns it as fast as it can."""
    return all(_advances(pid, within_s) for pid in pids)


def stands_still(pids: list[int]) -> bool:
    """Whether none of them gets processor time, after a moment in which a freeze takes effect."""
    _pass(0.02)
    before = [ticks(pid) for pid in pids]
    _pass(0.05)
    return [ticks(pid) for pid in pids] == before


def _advances(pid: int, within_s: float) -> bool:
    before, step_s = ticks(pid), 0.005
    for _ in range(int(within_s / step_s)):
        if ticks(pid) > before:
            return True
        _pass(step_s)
    return False


def _pass(seconds: float) -> None:
    """Let others run: processor time is what is waited for, and nothing tells of it."""
    select.select([], [], [], seconds)


def state(pid: int) -> str:
    found = process.read(pid)
    return "gone" if found is None else found.state


@pytest.fixture
def journal_path(tmp_path: Path) -> Path:
    return tmp_path / "holds.json"
