"""Every kind of cell, on real processes."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gpupanel.enforcement.cell import Cell
from gpupanel.enforcement.linux import process
from gpupanel.enforcement.linux.hierarchy import find
from gpupanel.model.errors import HoldFailed
from tests.enforcement.conftest import Spawn, key_of, runs_on, stands_still, state

FORKER = """
import os, sys
print(flush=True)
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        print(os.getpid(), flush=True)
        while True: pass
"""

NESTED = """
import os, sys
if os.fork():
    print(flush=True)
while True: pass
"""


def test_it_holds_and_lets_go_as_often_as_asked(cell: Cell, spawn: Spawn) -> None:
    child = spawn()
    cell.add([key_of(child)])
    for _ in range(2):
        cell.freeze()
        cell.freeze()
        assert stands_still([child.pid])
        cell.thaw()
        cell.thaw()
        assert runs_on([child.pid])


def test_an_empty_cell_changes_nothing(cell: Cell) -> None:
    cell.freeze()
    cell.thaw()
    cell.kill()
    assert cell.members() == frozenset()
    assert cell.cpu_s() == 0.0


def test_a_child_that_is_forked_later_is_held_too(cell: Cell, spawn: Spawn) -> None:
    parent = spawn(FORKER)
    cell.add([key_of(parent)])
    assert parent.stdin is not None
    assert parent.stdout is not None
    parent.stdin.write("\n")
    child = int(parent.stdout.readline())
    cell.freeze()
    assert stands_still([child])
    assert {pid for pid, _ in cell.members()} == {parent.pid, child}
    cell.thaw()
    assert runs_on([child])


def test_who_is_gone_or_was_replaced_is_left_out(cell: Cell, spawn: Spawn) -> None:
    child = spawn()
    pid, started = key_of(child)
    gone = spawn("print()")
    gone_key = gone.pid, started
    gone.wait()
    cell.add([(pid, started + 1), gone_key])
    assert cell.members() == frozenset()
    cell.freeze()
    assert runs_on([pid])


def test_a_zombie_is_nobody(cell: Cell, spawn: Spawn) -> None:
    child = spawn("print(flush=True)\ninput()")
    key = key_of(child)
    assert child.stdin is not None
    child.stdin.write("\n")
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    cell.add([key])
    assert cell.members() == frozenset()


def test_the_system_is_never_held(cell: Cell) -> None:
    init = process.read(1)
    thread = process.read(2)
    assert init is not None
    assert thread is not None
    assert thread.is_kernel
    for one in (init, thread):
        with pytest.raises(HoldFailed, match="part of the system"):
            cell.add([one.key])


def test_who_holds_is_not_held(cell: Cell) -> None:
    ourselves = process.read(os.getpid())
    assert ourselves is not None
    cell.add([ourselves.key])
    assert cell.members() == frozenset()


def test_many_threads_are_held_at_once(cell: Cell, spawn: Spawn) -> None:
    child = spawn(
        "import threading\ndef burn():\n while True: pass\n"
        "for _ in range(3): threading.Thread(target=burn).start()\nprint(flush=True)"
    )
    cell.add([key_of(child)])
    cell.freeze()
    assert stands_still([child.pid])
    cell.thaw()
    assert runs_on([child.pid])


def test_kill_ends_the_held_and_their_children(cell: Cell, spawn: Spawn) -> None:
    parent = spawn(NESTED)
    cell.add([key_of(parent)])
    cell.add([one.key for one in process.living() if one.parent == parent.pid])
    assert len(cell.members()) == 2
    cell.freeze()
    cell.kill()
    assert parent.wait() == -signal.SIGKILL
    cell.close()
    assert cell.members() == frozenset()


def test_closing_puts_everybody_back(cell: Cell, spawn: Spawn) -> None:
    child = spawn()
    before = Path(f"/proc/{child.pid}/cgroup").read_text("ascii")
    cell.add([key_of(child)])
    cell.freeze()
    groups = list(cell.trace.get("groups", ()))
    cell.close()
    assert runs_on([child.pid])
    assert Path(f"/proc/{child.pid}/cgroup").read_text("ascii") == before
    for version in (1, 2):
        hierarchy = find(version)
        if hierarchy:
            assert not [one for one in groups if os.path.exists(hierarchy.folder(one))]


def test_processor_time_counts_the_dead_and_never_falls(cell: Cell, spawn: Spawn) -> None:
    parent = spawn(
        "import os, sys\nprint(flush=True)\n"
        "for line in sys.stdin:\n"
        " if os.fork() == 0:\n"
        "  while os.times().user < 0.05: pass\n"
        "  os._exit(0)\n"
        " os.wait()\n print(flush=True)"
    )
    cell.add([key_of(parent)])
    assert parent.stdin is not None
    assert parent.stdout is not None
    seen = [cell.cpu_s()]
    assert seen[0] < 0.02  # what it used before is not the cell's
    for _ in range(3):
        parent.stdin.write("\n")
        parent.stdout.readline()
        seen.append(cell.cpu_s())
    parent.kill()
    parent.wait()
    seen.append(cell.cpu_s())
    assert seen == sorted(seen)
    assert 0.13 <= seen[-1] < 0.6  # the kernel tells whole ticks, cut off for each


def test_a_stop_by_the_owner_stays_a_stop(spawn: Spawn, cell: Cell) -> None:
    child = spawn()
    child.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, child.pid, os.WSTOPPED)
    cell.add([key_of(child)])
    cell.freeze()
    cell.thaw()
    cell.close()
    assert state(child.pid) == "T"


def test_another_users_process_needs_root(spawn: Spawn, cell: Cell) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can start a process of another user")
    child = spawn(uid=65534)
    cell.add([key_of(child)])
    cell.freeze()
    assert stands_still([child.pid])
    cell.close()
    assert runs_on([child.pid])


def test_a_user_is_told_that_he_may_not(spawn: Spawn) -> None:
    """Root's process under a user's cell, in a process of that user."""
    if os.geteuid() != 0:
        pytest.skip("only root can become a user")
    child = spawn()
    pid, started = key_of(child)
    program = (
        f"import os, subprocess\n"
        f"from gpupanel.enforcement.freezer_linux import LinuxFreezer\n"
        f"from gpupanel.model.errors import HoldFailed\n"
        f"os.setgid(65534); os.setuid(65534)\n"
        f"cell = LinuxFreezer().cell('t')\n"
        f"try: cell.add([({pid}, {started})])\n"
        f"except HoldFailed as reason: print(cell.means.is_best_effort, reason)\n"
    )
    told = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert told.stdout == f"True pid {pid} belongs to another user: we may not stop it\n"


@pytest.mark.parametrize("name", ["", "../up", "a b", "a/b", "x" * 65])
def test_a_name_is_letters_digits_and_hyphens(name: str) -> None:
    from gpupanel.enforcement.freezer import freezer

    with pytest.raises(HoldFailed, match="name of a cell"):
        freezer().cell(name)


def test_a_fork_storm_is_held_and_ended_as_a_whole(strong_cell: Cell, spawn: Spawn) -> None:
    """Each child forks the next and ends: nobody who looks at pids would catch it."""
    storm = spawn(
        "import os, time\nprint(flush=True)\ninput()\n"
        "end = time.monotonic() + 20\n"
        "while time.monotonic() < end:\n"
        " if os.fork(): os._exit(0)\n"
    )
    strong_cell.add([key_of(storm)])
    assert storm.stdin is not None
    storm.stdin.write("\n")
    storm.stdin.close()
    storm.wait()
    strong_cell.freeze()
    for _ in range(200):  # the kernel takes a moment to stop somebody in the middle of a fork
        caught = strong_cell.members()
        select.select([], [], [], 0.005)
        if caught and strong_cell.members() == caught:
            break
    select.select([], [], [], 0.05)
    assert caught
    assert strong_cell.members() == caught
    strong_cell.thaw()
    strong_cell.kill()
    for _ in range(1000):
        if not strong_cell.members():
            return
        select.select([], [], [], 0.005)
    raise AssertionError("somebody forked on")
