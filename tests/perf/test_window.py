"""What the window costs: ratios and shares measured in one run."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

pytestmark = pytest.mark.perf

MIB = 1 << 20
IMPORT_ONLY = "import PySide6.QtWidgets, time; print(time.process_time())"
FIRST_FRAME = """
import os, time
from PySide6.QtCore import QEvent, QObject
from gpupanel.ui import app
from gpupanel.ui.link import Link
from gpupanel.ui.theme import ThemeChoice

class Painted(QObject):
    seen = False
    def eventFilter(self, watched, event):
        self.seen = self.seen or event.type() == QEvent.Type.Paint
        return False

application = app.make_application(ThemeChoice.DARK)
panel = app.Panel(Link(), ThemeChoice.DARK)
painted = Painted()
panel.window.installEventFilter(painted)
panel.window.show()
while not painted.seen:
    application.processEvents()
application.processEvents()
print(time.process_time(), flush=True)
os._exit(0)
"""


def environment(home: Path) -> dict[str, str]:
    return {
        **os.environ,
        "HOME": str(home),
        "XDG_STATE_HOME": str(home / "state"),
        "XDG_CONFIG_HOME": str(home / "config"),
        "XDG_DATA_HOME": str(home / "data"),
        "QT_QPA_PLATFORM": os.environ.get("QT_QPA_PLATFORM", "offscreen"),
    }


def cpu_s(script: str, home: Path) -> float:
    done = subprocess.run(
        [sys.executable, "-P", "-c", script],
        env=environment(home), capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    return float(done.stdout)


def test_the_first_frame_costs_at_most_two_and_a_half_imports_of_qt(tmp_path: Path) -> None:
    ratios = []
    for _ in range(7):
        imported_s = cpu_s(IMPORT_ONLY, tmp_path)
        ratios.append(cpu_s(FIRST_FRAME, tmp_path) / imported_s)
    ratio = statistics.median(ratios)
    print(f"first frame: {ratio:.2f} x import of QtWidgets")
    assert ratio <= 2.5


@pytest.fixture
def window(tmp_path: Path) -> Iterator[psutil.Process]:
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "gpupanel"], env=environment(tmp_path), stderr=subprocess.PIPE
    )
    yield psutil.Process(process.pid)
    process.terminate()
    process.communicate(timeout=10)


def test_a_window_at_rest_is_small_and_quiet(window: psutil.Process) -> None:
    time.sleep(8)  # the measured thing is time itself: the agent is up and ticks come
    everyone = [window, *window.children(recursive=True)]
    assert len(everyone) == 2
    before = [process.cpu_times() for process in everyone]
    measured_s = 20.0
    time.sleep(measured_s)
    after = [process.cpu_times() for process in everyone]
    shares = [
        100 * (late.user + late.system - early.user - early.system) / measured_s
        for early, late in zip(before, after, strict=True)
    ]
    rss_mib = window.memory_info().rss / MIB
    print(f"window {shares[0]:.2f} % of a core, agent {shares[1]:.2f} %, {rss_mib:.1f} MiB")
    assert rss_mib * MIB <= 90e6
    assert sum(shares) <= 1.0
