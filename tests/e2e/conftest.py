"""The product as real processes: command lines, their children, and a home of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest

GONE_WITHIN_S = 10.0

Environment = dict[str, str]


@pytest.fixture(scope="session")
def kernel_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compiled kernels and light caches, made once for all runs of the session."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def home(tmp_path: Path, kernel_cache: Path) -> Environment:
    """The environment of a user who has never used gpupanel."""
    return {
        **os.environ,
        "HOME": str(tmp_path),
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
        "XDG_STATE_HOME": str(tmp_path / "state"),
        "XDG_DATA_HOME": str(tmp_path / "data"),
        "XDG_CACHE_HOME": str(kernel_cache),
        "QT_QPA_PLATFORM": os.environ.get("QT_QPA_PLATFORM", "offscreen"),
    }


class Ctl:
    """Starts gpupanelctl as a user's shell would."""

    def __init__(self, environment: Environment) -> None:
        self.environment = environment
        self._started: list[subprocess.Popen[str]] = []

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "gpupanel", "ctl", *arguments],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._started.append(process)
        return process

    def run(self, *arguments: str, timeout_s: float = 240) -> subprocess.CompletedProcess[str]:
        process = self.start(*arguments)
        stdout, stderr = process.communicate(timeout=timeout_s)
        return subprocess.CompletedProcess(arguments, process.returncode, stdout, stderr)

    def finished(self, *arguments: str) -> dict[str, Any]:
        """The last event of a run that went well."""
        done = self.run("stress", "run", *arguments, "--json")
        assert done.returncode == 0, done.stdout + done.stderr
        last: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        assert last["event"] == "finished"
        return last

    def close(self) -> None:
        for process in self._started:
            if process.poll() is None:
                process.kill()
            process.communicate()


@pytest.fixture
def ctl(home: Environment) -> Iterator[Ctl]:
    started = Ctl(home)
    yield started
    started.close()


def wait_for_event(process: subprocess.Popen[str], event: str) -> Mapping[str, Any]:
    """Read a run's JSON lines until ``event`` comes."""
    assert process.stdout is not None
    for line in process.stdout:
        document: dict[str, Any] = json.loads(line)
        if document["event"] == event:
            return document
    raise AssertionError(f"the run ended before {event}")


def family_of(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """The process and everything below it."""
    parent = psutil.Process(process.pid)
    return [parent, *parent.children(recursive=True)]


def assert_gone(processes: list[psutil.Process]) -> None:
    """All of them end soon; zombies that wait for the test to reap them have ended."""
    _, alive = psutil.wait_procs(processes, timeout=GONE_WITHIN_S)
    assert [p for p in alive if p.status() != psutil.STATUS_ZOMBIE] == []


@pytest.fixture
def events() -> Callable[[subprocess.Popen[str], str], Mapping[str, Any]]:
    return wait_for_event


@pytest.fixture
def family() -> Callable[[subprocess.Popen[str]], list[psutil.Process]]:
    return family_of


@pytest.fixture
def gone() -> Callable[[list[psutil.Process]], None]:
    return assert_gone
