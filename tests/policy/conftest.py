"""A machine of our own: policy directories below a directory that is taken on trust."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gpupanel.policy.sources import MachineSource, Sources, UserSource
from gpupanel.policy.trusted_file import Trust


@pytest.fixture(autouse=True)
def usual_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.fixture
def trust(tmp_path: Path) -> Trust:
    """Whoever runs the tests is the administrator of what lies below tmp_path."""
    if sys.platform == "win32":
        return Trust(base=tmp_path)
    else:  # noqa: RET505 - for mypy, to which geteuid does not exist on Windows
        return Trust(os.geteuid(), tmp_path)


@pytest.fixture
def sources(tmp_path: Path, trust: Trust) -> Sources:
    """Three machine directories, strongest first; the last does not exist. Nothing in them."""
    dirs = [tmp_path / name for name in ("etc", "run", "lib")]
    for directory in dirs[:2]:
        directory.mkdir()
    user = UserSource(tmp_path / "home" / "policy.toml")
    user.path.parent.mkdir()
    return Sources(MachineSource(dirs, trust), user, tmp_path / "state")
