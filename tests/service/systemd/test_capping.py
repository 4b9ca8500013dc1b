"""A user's miner under the installed service: capped, let go when that dies, capped again."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator

import pytest

from gpupanel.model.audit import AUDIT_EVENT_BY_NAME
from gpupanel.service.audit.journald import message_id
from tests.enforcement.miner.programs import QUIET, built
from tests.service.systemd.machine import UNIT, Machine, wait_until_frozen

MOST_FROZEN_S = 2.0
MOST_UNCAPPED_S = 5.0
"""Of a service that was killed, until its successor caps."""

PATIENCE_S = 20.0
TURNS = 3
"""Of holding and letting run, until what was learned of the miner is noted for a successor."""

CAPPED = message_id(AUDIT_EVENT_BY_NAME["hold.applied"])
MINER = "miner.service"
POLICY = """\
schema = 1
[mandatory.mining]
enforcement = "enforce"
action = "throttle"
grace_seconds = 0
max_efficiency_percent = 25
"""


@pytest.fixture
def capped(machine: Machine) -> Iterator[Machine]:
    """The foreign miner of the tests runs in there as a user's, and is held to a quarter."""
    policy = machine.path("/etc/gpupanel/policy.d/50-cap.toml")
    policy.write_text(POLICY)
    machine.run("systemctl", "restart", UNIT)
    shutil.copy(built("miner", "t-rex"), machine.path("/opt/t-rex"))
    before = machine.cursor()
    machine.run(
        "systemd-run", "--collect", f"--unit={MINER}", "--uid=tester", "--slice=user-4711.slice",
        "--setenv=POCL_CACHE_DIR=/tmp/pocl", "/opt/t-rex", *QUIET, "--seconds", "60",
    )  # fmt: skip
    machine.wait_for(CAPPED, after=before)
    yield machine
    machine.run("systemctl", "kill", "--signal=KILL", MINER)
    machine.run("systemctl", "stop", MINER, status=None)
    policy.unlink()
    machine.run("systemctl", "restart", UNIT)


def test_killed_while_it_holds_it_lets_go_and_caps_again(capped: Machine) -> None:
    service, before = capped.outer_pid(UNIT), capped.cursor()
    with (capped.group_of(MINER) / "cgroup.events").open() as events:
        for _ in range(TURNS):
            wait_until_frozen(events, True, PATIENCE_S)
            wait_until_frozen(events, False, PATIENCE_S)
        wait_until_frozen(events, True, PATIENCE_S)
        os.kill(service, signal.SIGKILL)
        killed_s = time.monotonic()
        wait_until_frozen(events, False, MOST_FROZEN_S)
    free_s = time.monotonic() - killed_s
    capped.wait_for(CAPPED, after=before, timeout_s=PATIENCE_S)
    with (capped.group_of(MINER) / "cgroup.events").open() as events:
        wait_until_frozen(events, True, PATIENCE_S)
    again_s = time.monotonic() - killed_s
    sys.stdout.write(f"\nthe miner ran after {free_s:.3f} s, was frozen after {again_s:.2f} s\n")
    assert again_s < MOST_UNCAPPED_S
