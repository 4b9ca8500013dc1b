"""What it costs to look for GPU files where there are hardly any: the desktop's usual case."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import count

import pytest

from gpupanel.backends.linux.drm_fdinfo import FdinfoScanner

pytestmark = [
    pytest.mark.perf,
    pytest.mark.skipif(sys.platform == "win32", reason="/proc is Linux's"),
]

PROCESSES = 40
FDS_EACH = 100
SCANS = 200


@pytest.fixture
def crowd() -> Iterator[None]:
    """Real processes that hold 4,000 descriptors, none of them of a GPU."""
    fds = [os.open("/dev/null", os.O_RDONLY) for _ in range(FDS_EACH)]
    children = [subprocess.Popen(["/bin/sleep", "300"], pass_fds=fds) for _ in range(PROCESSES)]
    yield
    for child in children:
        child.kill()
        child.wait()
    for fd in fds:
        os.close(fd)


@pytest.mark.usefixtures("crowd")
def test_4000_descriptors_of_known_processes_cost_less_than_2_ms() -> None:
    seconds = count()
    scanner = FdinfoScanner(clock_s=lambda: next(seconds))  # a scan asks once: 1 Hz
    first_s = _cpu_s(lambda: scanner.scan(()))
    steady_s = _cpu_s(lambda: [scanner.scan(()) for _ in range(SCANS)]) / SCANS
    whole_s = _cpu_s(lambda: FdinfoScanner().scan(()))
    seen = len(scanner._looks)
    print(
        f"\n{PROCESSES * FDS_EACH} descriptors, {seen} processes: first scan "
        f"{first_s * 1e3:.2f} ms CPU, at 1 Hz {steady_s * 1e3:.3f} ms on average, "
        f"{whole_s / steady_s:.0f} times less"
    )
    assert seen > PROCESSES
    assert steady_s < 2e-3
    assert steady_s < whole_s / 4


def _cpu_s(work: Callable[[], object]) -> float:
    before_s = time.process_time()
    work()
    return time.process_time() - before_s
