"""Every way of the test's miner to escape a cap, and what it gains by it.

The rate of reference is that of the same miner with the same switch, uncapped, in between.
"""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.capping import UID, CappingDaemon, measured
from tests.enforcement.miner.programs import QUIET, Program, built, miner

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(
        sys.platform == "win32" or os.geteuid() != 0, reason="holds a process of another user"
    ),
]

PERCENT = 25
MOST_POINTS = 5.0
"""Above the cap, over the windows below."""

WINDOW_S, PAIRS = 12.0, 1

EVASIONS = {
    "none": (),
    "low intensity": ("--intensity", "60"),
    "pulses": ("--pulse", "700", "300"),
    "pulses in step with the turn": ("--pulse", "500", "500"),
    "work in a child": ("--child",),
    "a daemon": ("--daemonize",),
    "started anew each 3 s": ("--respawn", "3"),
    "a daemon, started anew each 3 s": ("--daemonize", "--respawn", "3"),
    "split over 4 processes": ("--split", "4"),
    "somebody who sends SIGCONT": ("--watchdog",),
    "threads that come and go": ("--threads-churn",),
}


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[CappingDaemon]:
    with CappingDaemon(tmp_path / "machine") as started:
        yield started


@pytest.mark.parametrize("name", EVASIONS)
def test_it_gains_nothing(daemon: CappingDaemon, name: str) -> None:
    words = EVASIONS[name]
    with miner(*words, name="t-rex", uid=UID, seconds=300) as one:
        one.wait_until_at_work()
        figures = measured(name, daemon, one, PERCENT, window_s=WINDOW_S, pairs=PAIRS)
    assert figures.efficiency_percent < PERCENT + MOST_POINTS


def test_a_container_gains_nothing(daemon: CappingDaemon) -> None:
    """Of the user's own: another name, root, number and user in there than out here."""
    namespaces = "--user --map-root-user --mount --pid --ipc --uts --cgroup --fork --mount-proc"
    image = 'mount -t tmpfs tmpfs /mnt; cp "$1" /mnt/update; shift; exec /mnt/update "$@"'
    binary = str(built("miner", "t-rex"))
    words = (*namespaces.split(), "--kill-child", "sh", "-ec", image, "sh", binary)
    with Program(Path("/usr/bin/unshare"), *words, *QUIET, uid=UID, seconds=300) as one:
        one.wait_until_at_work()
        figures = measured("a container", daemon, one, PERCENT, window_s=WINDOW_S, pairs=PAIRS)
    assert figures.efficiency_percent < PERCENT + MOST_POINTS


def test_real_time_priority_gains_nothing(daemon: CappingDaemon) -> None:
    before = resource.getrlimit(resource.RLIMIT_RTPRIO)
    try:
        resource.setrlimit(resource.RLIMIT_RTPRIO, (1, 1))
    except ValueError:
        pytest.skip("nobody may raise the bound of real-time priorities here (CAP_SYS_RESOURCE)")
    try:
        one = miner("--fifo", "--pulse", "800", "200", name="t-rex", uid=UID, seconds=120)
    finally:
        resource.setrlimit(resource.RLIMIT_RTPRIO, before)
    with one:
        one.wait_until_at_work()
        figures = measured("real-time priority", daemon, one, PERCENT, window_s=10.0)
    assert figures.efficiency_percent < PERCENT + MOST_POINTS
