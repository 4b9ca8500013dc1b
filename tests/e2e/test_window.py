"""The window as a process: what it leaves behind, and the pictures it takes of itself."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import cycle
from pathlib import Path

import psutil
import pytest

from gpupanel.ui.pages import PAGE_NAMES

Gone = Callable[[list[psutil.Process]], None]
Start = Callable[..., subprocess.Popen[bytes]]

PNG = b"\x89PNG\r\n\x1a\n"
SOON_S = 60.0


@pytest.fixture
def start(home: dict[str, str]) -> Iterator[Start]:
    started: list[subprocess.Popen[bytes]] = []

    def window(*arguments: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-P", "-m", "gpupanel", *arguments]
        started.append(subprocess.Popen(command, env=home, stderr=subprocess.PIPE))
        return started[-1]

    yield window
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def children_named(process: subprocess.Popen[bytes], roles: set[str]) -> list[psutil.Process]:
    """Everything below the window, once all ``roles`` are there."""
    parent = psutil.Process(process.pid)
    deadline_s = time.monotonic() + SOON_S
    while time.monotonic() < deadline_s:
        children = parent.children(recursive=True)
        if roles <= {word for child in children for word in child.cmdline()}:
            return [parent, *children]
        time.sleep(0.05)  # the kernel does not tell when a grandchild starts
    raise AssertionError(f"{roles} did not start")


@pytest.mark.parametrize("signal_number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_however_the_window_ends_its_agent_ends_too(
    start: Start, gone: Gone, signal_number: signal.Signals
) -> None:
    process = start()
    everyone = children_named(process, {"agent"})
    process.send_signal(signal_number)
    process.wait(timeout=10)
    gone(everyone)


def test_killing_the_window_during_a_run_leaves_nothing(
    start: Start, gone: Gone, tmp_path: Path
) -> None:
    picture = tmp_path / "stress.png"
    process = start("--screenshot", str(picture), "--page", "stress", "--load", "ai.gemm")
    everyone = children_named(process, {"agent", "worker"})
    process.kill()
    process.wait()
    gone(everyone)


@pytest.mark.parametrize(
    ("page", "theme"), list(zip(PAGE_NAMES, cycle(["light", "dark"]), strict=False))
)
def test_every_page_takes_its_picture(start: Start, tmp_path: Path, page: str, theme: str) -> None:
    picture = tmp_path / "page.png"
    process = start("--screenshot", str(picture), "--page", page, "--theme", theme)
    _, complaint = process.communicate(timeout=SOON_S)
    assert process.returncode == 0, complaint
    assert picture.read_bytes().startswith(PNG)
    assert picture.stat().st_size > 10_000
