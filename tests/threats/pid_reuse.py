"""A pid changes hands while it is held, in a pid namespace of our own; prints what became of it.

Runs as root in ``unshare --pid --mount-proc`` (see test_pid_reuse.py). There, and nowhere else,
``ns_last_pid`` lets a test say which number the next process gets.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from gpupanel.enforcement.cell import Cell, ProcessKey
from gpupanel.enforcement.linux.hierarchy import Hierarchy
from tests.enforcement import conftest
from tests.enforcement.conftest import BUSY, MAKERS, key_of, runs_on

_LAST_PID = Path("/proc/sys/kernel/ns_last_pid")
_TRIES = 20


def started() -> subprocess.Popen[str]:
    child = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", BUSY], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    child.stdout.readline()
    return child


def successor_of(child: subprocess.Popen[str]) -> subprocess.Popen[str]:
    """Ends it, and starts another process under its number, later than in the same 10 ms."""
    before = key_of(child)
    end(child)
    for _ in range(_TRIES):
        _LAST_PID.write_text(str(child.pid - 1))
        found = started()
        if found.pid == child.pid and key_of(found) != before:
            return found
        end(found)
    raise AssertionError(f"nobody got the number {child.pid}")


def end(child: subprocess.Popen[str]) -> None:
    child.kill()
    child.communicate()


def before_the_hold(cell: Cell, child: subprocess.Popen[str]) -> subprocess.Popen[str]:
    """Between the verdict and the hold."""
    key = key_of(child)
    stranger = successor_of(child)
    cell.add([key])
    return stranger


def after_the_hold(cell: Cell, child: subprocess.Popen[str]) -> subprocess.Popen[str]:
    """Between the hold and the freeze."""
    cell.add([key_of(child)])
    return successor_of(child)


def in_the_middle(cell: Cell, child: subprocess.Popen[str]) -> subprocess.Popen[str]:
    """After the cell made sure who it is, and before the kernel moves that number."""
    strangers: list[subprocess.Popen[str]] = []
    move = Hierarchy.move

    def late(self: Hierarchy, pid: int, group: str) -> bool:
        if not strangers:
            strangers.append(successor_of(child))
        return move(self, pid, group)

    Hierarchy.move = late  # type: ignore[method-assign]
    try:
        cell.add([key_of(child)])
    finally:
        Hierarchy.move = move  # type: ignore[method-assign]
    return strangers[0]


MOMENTS: dict[str, Callable[[Cell, subprocess.Popen[str]], subprocess.Popen[str]]] = {
    "before": before_the_hold,
    "after": after_the_hold,
    "middle": in_the_middle,
}


def tried(kind: str, moment: str) -> dict[str, object]:
    """What becomes of the stranger who got the number of a miner."""
    cell, children = MAKERS[kind]("reuse"), [started()]
    group = Path("/proc/self/cgroup").read_text("ascii")
    miner: ProcessKey = key_of(children[0])
    try:
        stranger = MOMENTS[moment](cell, children[0])
        children.append(stranger)
        cell.freeze()
        runs = runs_on([stranger.pid])
        cell.kill()
        return {
            "is_reused": stranger.pid == miner[0] and key_of(stranger) != miner,
            "is_member": stranger.pid in {pid for pid, _ in cell.members()},
            "runs": runs and runs_on([stranger.pid]),
            "is_home": Path(f"/proc/{stranger.pid}/cgroup").read_text("ascii") == group,
        }
    finally:
        cell.close()
        for child in children:
            with suppress(ProcessLookupError):
                os.kill(child.pid, 9)


def main(kind: str, moment: str, prefix: str) -> None:
    conftest.PREFIX = prefix  # of who started us: our own pid is a small number here
    sys.stdout.write(json.dumps(tried(kind, moment)))


if __name__ == "__main__":
    main(*sys.argv[1:])
