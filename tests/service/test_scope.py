"""The system scope is made of constants, whatever the environment says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gpupanel.policy.sources import NoUser
from gpupanel.service.scope import system_scope, user_scope

HOSTILE = (
    "HOME", "USERPROFILE", "APPDATA", "LOCALAPPDATA", "PROGRAMDATA", "ALLUSERSPROFILE",
    "XDG_CONFIG_HOME", "XDG_CONFIG_DIRS", "XDG_DATA_HOME", "XDG_DATA_DIRS", "XDG_STATE_HOME",
    "XDG_CACHE_HOME", "XDG_RUNTIME_DIR", "STATE_DIRECTORY", "RUNTIME_DIRECTORY", "LOGS_DIRECTORY",
    "GPUPANEL_CONFIG", "GPUPANEL_HOME",
)  # fmt: skip
TELL = "from gpupanel.service.scope import system_scope; print(repr(system_scope()))"


def told(environment: dict[str, str]) -> str:
    done = subprocess.run(
        [sys.executable, "-c", TELL],
        env=environment, capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    return done.stdout


def test_no_variable_moves_it(tmp_path: Path) -> None:
    poisoned = {name: str(tmp_path / name) for name in HOSTILE}
    assert told({**os.environ, **poisoned}) == told(dict(os.environ))


@pytest.mark.skipif(sys.platform == "win32", reason="the places of Linux")
def test_its_places_are_those_that_the_unit_makes() -> None:
    scope = system_scope()
    assert scope.history_file == Path("/var/lib/gpupanel/history.db")
    assert scope.users_dir == Path("/var/lib/gpupanel/users")
    assert scope.journal_file == Path("/run/gpupanel/held.jsonl")
    assert scope.sources.state_dir == Path("/var/lib/gpupanel/policy")
    assert scope.sources.machine.dirs[0] == Path("/etc/gpupanel/policy.d")


def test_it_opens_nobody_s_file_and_holds_everybody() -> None:
    scope = system_scope()
    assert isinstance(scope.sources.user, NoUser)
    assert not scope.sources.user.read().is_present
    assert scope.acts_on_uid is None
    assert scope.objections_file is None


@pytest.mark.skipif(sys.platform == "win32", reason="uids are of POSIX")
def test_a_user_holds_his_own_alone() -> None:
    scope = user_scope()
    assert scope.acts_on_uid == os.geteuid()
    assert not isinstance(scope.sources.user, NoUser)
