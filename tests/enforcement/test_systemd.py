"""Scopes of systemd where it runs; and what becomes of a cell where it refuses."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gpupanel.enforcement.cell import Means
from gpupanel.enforcement.freezer import freezer
from gpupanel.enforcement.linux import systemd
from gpupanel.enforcement.linux.cgroup_cell import CgroupCell
from gpupanel.enforcement.linux.hierarchy import find
from gpupanel.enforcement.linux.systemd import Systemd
from gpupanel.model.errors import HoldFailed
from tests.enforcement.conftest import PREFIX, MakeGroup, Spawn, key_of, runs_on, stands_still


def test_the_best_means_is_named(spawn: Spawn) -> None:
    """Whatever this machine has, it holds."""
    child = spawn()
    cell = freezer().cell(f"{PREFIX}best")
    assert cell.means.label.startswith(("cgroup v", "SIGSTOP"))
    assert cell.means.is_best_effort == ("best effort" in cell.means.label)
    cell.add([key_of(child)])
    cell.freeze()
    assert stands_still([child.pid])
    cell.close()
    assert runs_on([child.pid])


def test_a_scope_below_the_slice_whose_limits_hold(spawn: Spawn) -> None:
    asked = Systemd(is_users=os.geteuid() != 0)
    unified = find(2)
    if unified is None or asked.missing():
        pytest.skip(f"systemd makes no scope here: {asked.missing() or 'no cgroup v2'}")
    child, second = spawn(), spawn()
    group = asked.make_scope(unified, f"{PREFIX}scope", systemd.OWN_SLICE, [child.pid])
    assert group.endswith(f"/{systemd.OWN_SLICE}/gpupanel-{PREFIX}scope.scope")
    assert unified.group_of(child.pid) == group
    with pytest.raises(HoldFailed, match="systemd refuses"):
        asked.make_scope(unified, f"{PREFIX}scope", systemd.OWN_SLICE, [second.pid])


@pytest.fixture
def refusing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A busctl that refuses, and that notes how it was called."""
    busctl = tmp_path / "busctl"
    busctl.write_text(f"#!/bin/sh\necho $* >{tmp_path}/call\nenv >>{tmp_path}/call\n"
                      "echo no such slice >&2\nexit 1\n", "ascii")  # fmt: skip
    busctl.chmod(0o755)
    monkeypatch.setattr(systemd, "_BUSCTL", (str(busctl),))
    return tmp_path / "call"


def test_where_systemd_refuses_a_group_of_ours_takes_its_place(
    refusing: Path, spawn: Spawn, make_group: MakeGroup, monkeypatch: pytest.MonkeyPatch
) -> None:
    unified = find(2)
    assert unified is not None
    monkeypatch.setenv("LD_PRELOAD", "")
    slice_ = make_group("user.slice")
    child = spawn()
    unified.move(child.pid, slice_)
    cell = CgroupCell(f"{PREFIX}refused", unified, Means("v2"), Systemd(is_users=False))
    cell.add([key_of(child)])
    assert cell.means.label == "v2, in a group of its own: systemd refuses: no such slice"
    assert unified.group_of(child.pid) == f"{slice_}/gpupanel-{PREFIX}refused"
    call = refusing.read_text("ascii")
    assert f"StartTransientUnit ssa(sv)a(sa(sv)) gpupanel-{PREFIX}refused.scope fail" in call
    assert f"Slice s {PREFIX}user.slice" in call
    assert f"PIDs au 1 {child.pid} 0" in call
    assert "LD_PRELOAD" not in call
    assert "HOME" not in call
    cell.freeze()
    assert stands_still([child.pid])
    cell.close()
    assert unified.group_of(child.pid) == slice_


def test_a_users_systemd_that_refuses_is_told(refusing: Path, spawn: Spawn) -> None:
    unified = find(2)
    if unified is None:
        pytest.skip("control groups of version 2 are not mounted")
    child = spawn()
    cell = CgroupCell(f"{PREFIX}users", unified, Means("v2", True), Systemd(is_users=True))
    with pytest.raises(HoldFailed, match="no such slice"):
        cell.add([key_of(child)])
    assert "--user" in refusing.read_text("ascii")
    cell.close()
    assert runs_on([child.pid])


def test_a_busctl_that_hangs_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    busctl = tmp_path / "busctl"
    busctl.write_text("#!/bin/sh\nexec sleep 60\n", "ascii")
    busctl.chmod(0o755)
    monkeypatch.setattr(systemd, "_BUSCTL", (str(busctl),))
    monkeypatch.setattr(systemd, "_TIMEOUT_S", 0.1)
    with pytest.raises(HoldFailed, match="cannot be asked"):
        Systemd(is_users=False).attach("/x/gpupanel-x.scope", [1])
