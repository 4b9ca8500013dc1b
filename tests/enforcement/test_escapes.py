"""What a miner and its user may try against a cell: nothing of it works, as user 65534."""

from __future__ import annotations

import os
import select
import subprocess
import sys

import pytest

from gpupanel.detection.reading.proc_files import owner
from gpupanel.enforcement.cell import Cell, Means
from gpupanel.enforcement.linux import process
from gpupanel.enforcement.linux.cgroup_cell import CgroupCell
from gpupanel.enforcement.linux.hierarchy import Hierarchy, find
from gpupanel.enforcement.linux.process import open_process
from gpupanel.enforcement.tree import descendants
from tests.enforcement.conftest import (
    BUSY,
    MAKERS,
    PREFIX,
    MakeGroup,
    Spawn,
    key_of,
    runs_on,
    stands_still,
)

USER = 65534

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can play two users")


TRACER = """
import ctypes, os, sys, time
libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long] * 4
SEIZE, INTERRUPT, CONT, SIGCONT = 0x4206, 0x4207, 7, 18
child = os.fork()
while child == 0: pass
print(flush=True)
print(child, flush=True)
input()
traced = libc.ptrace(SEIZE, child, 0, 0) == 0
libc.ptrace(INTERRUPT, child, 0, 0)
end = time.monotonic() + 0.3
while time.monotonic() < end:
    if os.waitpid(child, os.WNOHANG | 0x40000000)[0]:
        libc.ptrace(CONT, child, 0, SIGCONT)
        os.kill(child, SIGCONT)
print(traced, flush=True)
input()
"""
"""Forks a child that computes, and takes it over as a debugger does; line by line as it is told."""

FEW = 6
BOMB = """
import os, resource
resource.setrlimit(resource.RLIMIT_NPROC, (24, 24))
print(flush=True)
input()
while True:
    try:
        os.fork()
    except BlockingIOError:
        pass
"""
"""As many as may be, each of which starts more as soon as one ended."""


def as_user(program: str) -> str:
    """The error that a program of the user ends with; empty where there is none."""
    told = subprocess.run(
        [
            *("setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups"),
            *("/usr/bin/python3", "-I", "-c", program),
        ],
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
    )
    return told.stderr.strip().rpartition("\n")[2]


def write_to(path: str, word: str) -> str:
    """A program that does so in one system call, whose error is not lost."""
    return f"import os; os.write(os.open('{path}', os.O_WRONLY), b'{word}')"


def hierarchy_of(cell: Cell) -> Hierarchy:
    found = find(int(cell.trace["version"]))
    assert found is not None
    return found


def test_the_owner_cannot_continue_it(strong_cell: Cell, spawn: Spawn) -> None:
    child = spawn(uid=USER)
    strong_cell.add([key_of(child)])
    strong_cell.freeze()
    assert as_user(f"import os, signal; os.kill({child.pid}, signal.SIGCONT)") == ""
    assert stands_still([child.pid])


def test_the_owner_can_neither_thaw_nor_leave_nor_remove(strong_cell: Cell, spawn: Spawn) -> None:
    child = spawn(uid=USER)
    strong_cell.add([key_of(child)])
    strong_cell.freeze()
    hierarchy = hierarchy_of(strong_cell)
    group = hierarchy.folder(strong_cell.trace["groups"][0])
    switch = hierarchy.switch
    for attempt in (
        write_to(f"{group}/{switch.file}", switch.thawed.decode()),
        write_to(f"{hierarchy.mount}/cgroup.procs", str(child.pid)),
        f"import os; os.mkdir('{group}/inside')",
        f"import os; os.rmdir('{group}')",
        f"import os; os.rename('{group}', '{group}x')",
    ):
        assert "PermissionError" in as_user(attempt)
    assert stands_still([child.pid])


def test_the_owner_can_end_it_while_it_is_held(spawn: Spawn) -> None:
    """The freezer of version 1 waits for the thaw, which comes in milliseconds."""
    cell = MAKERS["v2"]("end")
    child = spawn(uid=USER)
    cell.add([key_of(child)])
    cell.freeze()
    as_user(f"import os, signal; os.kill({child.pid}, signal.SIGKILL)")
    assert child.wait(5) == -9
    cell.close()


def test_a_debugger_cannot_run_it(strong_cell: Cell, spawn: Spawn) -> None:
    """Its parent, who is not held, may trace it whatever the machine says of strangers."""
    tracer = spawn(TRACER, uid=USER)
    assert tracer.stdin is not None
    assert tracer.stdout is not None
    child = int(tracer.stdout.readline())
    found = process.read(child)
    assert found is not None
    strong_cell.add([found.key])
    strong_cell.freeze()
    assert stands_still([child])
    tracer.stdin.write("\n")
    assert tracer.stdout.readline() == "True\n"  # it may, and gains nothing
    assert stands_still([child])
    tracer.kill()  # which lets go of what it traced
    tracer.wait()
    assert stands_still([child])
    strong_cell.thaw()
    assert runs_on([child])


def test_a_fork_bomb_stands_still_in_the_middle(strong_cell: Cell, spawn: Spawn) -> None:
    uid = 59_000 + os.getpid() % 1000
    bomb = spawn(BOMB, uid=uid)
    strong_cell.add([key_of(bomb)])
    assert bomb.stdin is not None
    bomb.stdin.write("\n")
    for _ in range(3):
        while len(pids_of(uid)) < FEW:
            assert runs_on([bomb.pid])
        strong_cell.freeze()
        assert stands_still([bomb.pid])
        held = pids_of(uid)
        assert stands_still(held)
        assert {pid for pid, _ in strong_cell.members()} == set(held) == set(pids_of(uid))
        strong_cell.thaw()
    while left := [open_process(key) for key in strong_cell.members()]:
        strong_cell.kill()  # as the enforcer does at each of its turns
        for descriptor in filter(None, left):
            assert select.select([descriptor], [], [], 5)[0]
            os.close(descriptor)
    assert pids_of(uid) == []


def pids_of(uid: int) -> list[int]:
    """Of all that live."""
    return [one.pid for one in process.living() if owner(f"/proc/{one.pid}") == uid]


def test_nobody_gets_back_into_a_group_of_his_own(make_group: MakeGroup, spawn: Spawn) -> None:
    """The user owns a group and what is in it, as systemd gives him one."""
    unified = find(2)
    assert unified is not None
    delegated = make_group("user", USER)
    app = make_group("user/app", USER)
    child = spawn(uid=USER)
    unified.move(child.pid, app)
    cell = CgroupCell(f"{PREFIX}own", unified, Means("v2"))
    cell.add([key_of(child)])
    assert cell.trace["groups"] == [f"/gpupanel-{PREFIX}own"]  # outside of what is his
    cell.freeze()
    for group in (delegated, app):
        back = write_to(f"{unified.folder(group)}/cgroup.procs", str(child.pid))
        assert "PermissionError" in as_user(back)
    assert stands_still([child.pid])
    cell.close()
    assert unified.group_of(child.pid) == app


def test_a_folder_of_roots_inside_of_a_users_is_no_stronghold(make_group: MakeGroup) -> None:
    """He could leave it for a place beside it."""
    unified = find(2)
    assert unified is not None
    outer = make_group("limits")
    make_group("limits/user", USER)
    inner = make_group("limits/user/roots")
    assert unified.stronghold(inner) == outer
    os.chmod(unified.folder(outer) + "/cgroup.procs", 0o666)
    assert unified.stronghold(inner) == ""
    assert unified.stronghold("/") == ""


def test_limits_of_a_service_or_container_go_on_to_hold(
    make_group: MakeGroup, spawn: Spawn
) -> None:
    """A cell inside of its group: leaving it would leave its limits and its device filter."""
    unified = find(2)
    assert unified is not None
    group = make_group("container")
    child = spawn(uid=USER)
    unified.move(child.pid, group)
    cell = CgroupCell(f"{PREFIX}in", unified, Means("v2"))
    cell.add([key_of(child)])
    assert unified.group_of(child.pid) == f"{group}/gpupanel-{PREFIX}in"
    cell.freeze()
    assert stands_still([child.pid])
    cell.close()
    assert unified.group_of(child.pid) == group


def test_whoever_was_moved_out_by_root_is_seen_and_taken_in_again(
    strong_cell: Cell, spawn: Spawn
) -> None:
    child = spawn()
    key = key_of(child)
    strong_cell.add([key])
    strong_cell.freeze()
    hierarchy_of(strong_cell).move(child.pid, "/")
    assert strong_cell.members() == frozenset()
    assert runs_on([child.pid])
    strong_cell.add([key])
    assert strong_cell.members() == {key}
    strong_cell.freeze()
    assert stands_still([child.pid])


def test_in_another_pid_namespace_it_is_held_all_the_same(strong_cell: Cell, spawn: Spawn) -> None:
    """As in a container: first process there, another number here."""
    outer = spawn(
        "import subprocess, sys\n"
        "inner = subprocess.Popen(['unshare', '--pid', '--fork', '--kill-child',"
        f" {sys.executable!r}, '-I', '-S', '-c', {BUSY!r}], stdout=subprocess.PIPE)\n"
        "inner.stdout.readline()\nprint(flush=True)\ninner.wait()"
    )
    tree = descendants([key_of(outer)], process.living())
    assert len(tree) == 3
    strong_cell.add(tree)
    assert strong_cell.members() == tree
    strong_cell.freeze()
    assert stands_still([pid for pid, _ in tree])
    strong_cell.kill()
    outer.wait()
