"""A service in a process of its own, asked by other users than the one who runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
SYSTEM_PYTHON = "/usr/bin/python3"
"""One that every user may run."""


@dataclass
class ServiceChild:
    """The service, and what it takes."""

    directory: Path
    process: subprocess.Popen[str]

    @property
    def run_dir(self) -> Path:
        return self.directory / "run"

    def takes(self, without: str = "ipc-6") -> Mapping[str, int]:
        """When it has done with the users whose names of threads begin with ``without``."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(without + "\n")
        self.process.stdin.flush()
        document: Mapping[str, int] = json.loads(self.process.stdout.readline())
        return document

    def close(self) -> list[str]:
        """Ends it; the threads that were left."""
        told, _ = self.process.communicate(timeout=20)
        assert self.process.returncode == 0
        left: list[str] = json.loads(told)
        return left


def open_directory() -> Path:
    """One that every user may look into; pytest's are its user's own."""
    directory = Path(tempfile.mkdtemp(prefix="gpupanel-"))
    directory.chmod(0o755)
    return directory


def start_service(directory: Path, gid: int | None = None) -> ServiceChild:
    (directory / "policy.d").mkdir()
    (directory / "state").mkdir(mode=0o700)
    command = [sys.executable, str(HERE / "service_child.py"), str(directory)]
    process = subprocess.Popen(
        command if gid is None else [*command, str(gid)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return ServiceChild(directory, process)


@pytest.fixture(scope="module")
def service() -> Iterator[ServiceChild]:
    import shutil

    directory = open_directory()
    child = start_service(directory, gid=GID)
    yield child
    assert child.close() == ["MainThread"]
    assert list(child.run_dir.iterdir()) == []
    shutil.rmtree(directory)


GID = 4321
"""The group that may control the service of the fixture."""


def as_user(uid: int, source: str, *arguments: str, groups: str = "") -> str:
    """What a program prints that another user runs."""
    command = [
        "setpriv", "--reuid", str(uid), "--regid", str(uid),
        *(("--groups", groups) if groups else ("--clear-groups",)),
        SYSTEM_PYTHON, "-I", "-c", source, *arguments,
    ]  # fmt: skip
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout
