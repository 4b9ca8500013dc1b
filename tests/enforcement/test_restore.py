"""Letting go from what was written down, by somebody who was not there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gpupanel.enforcement import restore
from gpupanel.enforcement.cell import Cell, Means
from gpupanel.enforcement.journal import Journal
from gpupanel.enforcement.linux.cgroup_cell import CgroupCell
from gpupanel.enforcement.linux.hierarchy import find
from gpupanel.enforcement.linux.stopping_cell import StoppingCell
from gpupanel.model.errors import HoldFailed
from tests.enforcement.conftest import PREFIX, MakeGroup, Spawn, key_of, runs_on, stands_still
from tests.enforcement.test_cells import FORKER


def group_of(pid: int, version: int) -> str | None:
    hierarchy = find(version)
    return hierarchy.group_of(pid) if hierarchy else None


def test_it_undoes_everything_and_twice_is_well(cell: Cell, spawn: Spawn) -> None:
    child = spawn()
    version = int(cell.trace.get("version", 2))
    before = group_of(child.pid, version)
    cell.add([key_of(child)])
    cell.freeze()
    assert stands_still([child.pid])
    for _ in range(2):
        restore.restore(cell.trace)
        assert runs_on([child.pid])
        assert group_of(child.pid, version) == before


def test_thaw_leaves_them_where_they_are(strong_cell: Cell, spawn: Spawn) -> None:
    child = spawn()
    strong_cell.add([key_of(child)])
    strong_cell.freeze()
    restore.thaw(strong_cell.trace)
    assert runs_on([child.pid])
    assert strong_cell.members() == {key_of(child)}
    strong_cell.freeze()
    assert stands_still([child.pid])


def test_a_child_that_no_trace_names_is_let_go_too(cell: Cell, spawn: Spawn) -> None:
    parent = spawn(FORKER)
    cell.add([key_of(parent)])
    trace = cell.trace
    assert parent.stdin is not None
    assert parent.stdout is not None
    parent.stdin.write("\n")
    child = int(parent.stdout.readline())
    cell.freeze()
    assert stands_still([child])
    restore.restore(trace)
    assert runs_on([child])
    assert group_of(child, 2) == group_of(os.getpid(), 2)
    assert group_of(child, 1) == group_of(os.getpid(), 1)


def test_an_orphan_of_a_cell_goes_home_too(make_group: MakeGroup, spawn: Spawn) -> None:
    """Its parent, whose home was written down, is gone."""
    unified = find(2)
    assert unified is not None
    home = make_group("home", uid=65534)
    parent = spawn(FORKER)
    unified.move(parent.pid, home)
    cell = CgroupCell(f"{PREFIX}orphan", unified, Means("v2"))
    cell.add([key_of(parent)])
    assert parent.stdin is not None
    assert parent.stdout is not None
    parent.stdin.write("\n")
    child = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    cell.freeze()
    cell.close()
    assert runs_on([child])
    assert unified.group_of(child) == home


def test_who_has_no_home_any_more_runs_on_below_the_same_limits(
    make_group: MakeGroup, spawn: Spawn
) -> None:
    unified = find(2)
    assert unified is not None
    outer = make_group("outer")
    inner = make_group("outer/inner", uid=65534)
    child = spawn()
    unified.move(child.pid, inner)
    cell = CgroupCell(f"{PREFIX}home", unified, Means("v2"))
    cell.add([key_of(child)])
    cell.freeze()
    os.rmdir(unified.folder(inner))
    cell.close()
    assert runs_on([child.pid])
    assert unified.group_of(child.pid) == outer


def test_all_of_a_journal_in_a_process_of_its_own(
    cell: Cell, spawn: Spawn, journal_path: Path
) -> None:
    """As systemd runs it after the service died."""
    child = spawn()
    cell.add([key_of(child)])
    boot = restore.boot_id()
    Journal(journal_path, boot).write("one", cell.trace, {})
    cell.freeze()
    program = (
        "import pathlib\n"
        "from gpupanel.enforcement.journal import Journal\n"
        "from gpupanel.enforcement.restore import restore_all\n"
        f"journal = Journal(pathlib.Path({str(journal_path)!r}), {boot!r})\n"
        f"print(restore_all(journal, {PREFIX!r}))"
    )
    told = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert told.stdout == "Restored(names=('one',), faults=())\n", told.stderr
    assert runs_on([child.pid])
    assert Journal(journal_path, boot).entries() == ()


def test_groups_that_no_journal_names_are_found(strong_cell: Cell, spawn: Spawn) -> None:
    child = spawn()
    strong_cell.add([key_of(child)])
    strong_cell.freeze()
    assert stands_still([child.pid])
    found = restore.restore_stale(PREFIX)
    assert found.names == tuple(strong_cell.trace["groups"])
    assert found.faults == ()
    assert runs_on([child.pid])
    assert restore.restore_stale(PREFIX).names == ()


@pytest.mark.parametrize(
    "trace",
    [
        {},
        {"kind": "magic"},
        {"kind": "cgroup", "version": 2, "groups": ["/"], "homes": []},
        {"kind": "cgroup", "version": 2, "groups": ["/user.slice"], "homes": []},
        {"kind": "cgroup", "version": 2, "groups": ["/gpupanel-x/../user.slice"], "homes": []},
        {"kind": "cgroup", "version": 2, "groups": 7, "homes": []},
        {"kind": "signals", "processes": [[1]]},
        {"kind": "signals", "processes": "all"},
    ],
)
def test_a_damaged_note_touches_nobody(trace: dict[str, Any]) -> None:
    with pytest.raises(HoldFailed, match="damaged"):
        restore.restore(trace)


def test_one_damaged_entry_does_not_keep_the_others(spawn: Spawn, journal_path: Path) -> None:
    child = spawn()
    cell = StoppingCell(Means("signals"))
    cell.add([key_of(child)])
    cell.freeze()
    journal = Journal(journal_path, restore.boot_id())
    journal.write("bad", {"kind": "magic"}, {})
    journal.write("good", cell.trace, {})
    done = restore.restore_all(journal, PREFIX)
    assert done.names == ("good",)
    assert len(done.faults) == 1
    assert done.faults[0].startswith("bad: ")
    assert [entry.name for entry in journal.entries()] == ["bad"]
    assert runs_on([child.pid])
    cell.close()


def test_a_stop_that_is_on_its_way_is_undone_too(spawn: Spawn) -> None:
    """A busy process is stopped when it gets its turn, milliseconds later."""
    child = spawn()
    for _ in range(20):
        os.kill(child.pid, signal.SIGSTOP)
        restore.restore({"kind": "signals", "processes": [list(key_of(child))]})
    assert runs_on([child.pid])


def test_a_pid_that_became_anothers_is_left_alone(spawn: Spawn) -> None:
    child = spawn()
    pid, started = key_of(child)
    os.kill(pid, signal.SIGSTOP)
    os.waitid(os.P_PID, pid, os.WSTOPPED)
    restore.restore({"kind": "signals", "processes": [[pid, started - 1]]})
    assert stands_still([pid])
    restore.restore({"kind": "signals", "processes": [[pid, started]]})
    assert runs_on([pid])
