"""What it costs to read what a handful of processes used of a GPU, many times a second."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from statistics import median

import pytest

from gpupanel.enforcement.cap import POLL_S
from tests.enforcement.test_gpu_time import NODE, Drm, busy

pytestmark = [
    pytest.mark.perf,
    pytest.mark.skipif(sys.platform == "win32", reason="/proc is Linux's"),
]

PROCESSES, FILES_EACH, CLIENTS_EACH, SECONDS = 5, 200, 2, 4


def test_reading_five_processes_50_times_a_second_costs_2_percent_of_a_core(
    tmp_path: Path,
) -> None:
    """On files that look like the kernel's: the kernel's own work on them is not in this."""
    drm = Drm(tmp_path)
    for pid in range(1, 1 + PROCESSES):
        drm.start(pid)
        for fd in range(FILES_EACH):
            drm.proc.open(pid, fd, "/usr/share/icons/hicolor/icon-theme.cache")
        for fd in range(CLIENTS_EACH):
            drm.proc.open(pid, 1000 + fd, NODE, busy(100 * pid + fd, 10**9))
        drm.enter(pid, whole_life=True)
    costs_s = []
    for _ in range(round(SECONDS / POLL_S)):
        before_s = time.thread_time()
        used_s = drm.used_s(POLL_S)
        costs_s.append(time.thread_time() - before_s)
    share = sum(costs_s) / SECONDS
    print(
        f"\n{PROCESSES} processes with {FILES_EACH} files and {CLIENTS_EACH} clients each: "
        f"{median(costs_s) * 1e6:.0f} us a reading, {max(costs_s) * 1e3:.1f} ms when files are "
        f"listed, {100 * share:.2f} % of a core at {1 / POLL_S:.0f} Hz"
    )
    assert used_s == pytest.approx(PROCESSES * CLIENTS_EACH)
    assert share < 0.02
