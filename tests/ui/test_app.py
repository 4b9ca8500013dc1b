"""The window as a process: pictures, a clean end; the agent is the stand-in of this folder."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from PySide6.QtGui import QImage

ROOT = Path(__file__).parents[2]
FAKE_AGENT = Path(__file__).parent / "fake_agent.py"
START = """
import sys
from gpupanel import children
children.command = lambda role: [sys.executable, {agent!r}, {mode!r}, {pid!r}]
from gpupanel.ui import app, store
{extra}
sys.exit(app.main({arguments!r}))
"""
TELL_FIRST_TICK = """
add = store.Store.add_snapshot
def tell(self, snapshot):
    add(self, snapshot)
    print("tick", flush=True)
store.Store.add_snapshot = tell
"""


def start(
    tmp_path: Path, arguments: list[str], mode: str = "good", extra: str = ""
) -> subprocess.Popen[str]:
    code = START.format(
        agent=str(FAKE_AGENT),
        mode=mode,
        pid=str(tmp_path / "pid"),
        extra=extra,
        arguments=arguments,
    )
    environment = os.environ | {
        "QT_QPA_PLATFORM": "offscreen",
        "PYTHONPATH": str(ROOT),
        "XDG_STATE_HOME": str(tmp_path),
    }
    return subprocess.Popen(
        [sys.executable, "-c", code],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def agent_is_gone(tmp_path: Path) -> bool:
    try:
        os.kill(int((tmp_path / "pid").read_text(encoding="ascii")), 0)
    except ProcessLookupError:
        return True
    return False


@pytest.mark.parametrize("page", ["overview", "policy"])
def test_screenshot(tmp_path: Path, page: str) -> None:
    path = tmp_path / "page.png"
    arguments = ["--screenshot", str(path), "--page", page, "--theme", "dark", "--size", "1100x700"]
    with start(tmp_path, arguments) as process:
        _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, "")
    image = QImage(str(path))
    assert (image.width(), image.height()) == (1100, 700)
    assert image.pixelColor(1098, 698).name() == "#15171c"
    assert agent_is_gone(tmp_path)


def test_screenshot_that_cannot_be_taken_says_why(tmp_path: Path) -> None:
    extra = "from gpupanel.ui import screenshot; screenshot._BOUND_S = 0.5"
    arguments = ["--screenshot", str(tmp_path / "x.png")]
    with start(tmp_path, arguments, "babble", extra) as process:
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "too few readings" in errors
    assert "broke the protocol" in errors
    assert not (tmp_path / "x.png").exists()


@pytest.mark.parametrize("arguments", [["--size", "big"], ["--page", "nowhere"], ["extra"]])
def test_wrong_options_are_usage_errors(tmp_path: Path, arguments: list[str]) -> None:
    with start(tmp_path, arguments) as process:
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "usage: gpupanel" in errors


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT to send to a child")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_closes_the_window_and_its_agent(tmp_path: Path, number: signal.Signals) -> None:
    with start(tmp_path, [], extra=TELL_FIRST_TICK) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "tick\n"
        process.send_signal(number)
        _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (0, "")
    assert agent_is_gone(tmp_path)
