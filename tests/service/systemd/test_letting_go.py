"""A service that dies leaves nobody frozen: systemd runs what lets go."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.service.systemd.machine import STARTED, UNIT, Machine, wait_until_frozen

MOST_FROZEN_S = 2.0
VICTIM = "victim.service"


@pytest.fixture
def home(machine: Machine) -> Iterator[Path]:
    """The control group of a user's process, which somebody held who wrote it down and is gone."""
    busy = ("sh", "-c", "while :; do :; done")
    machine.run("systemd-run", "--collect", f"--unit={VICTIM}", "--uid=tester", *busy)
    found = machine.group_of(VICTIM)
    shutil.copy(Path(__file__).with_name("holder.py"), machine.path("/opt/holder.py"))
    pid = machine.show("MainPID", VICTIM)
    machine.run("/opt/gpupanel/bin/python3", "-I", "/opt/holder.py", pid)
    yield found
    machine.run("systemctl", "kill", "--signal=KILL", VICTIM)
    machine.run("systemctl", "stop", VICTIM, status=None)  # it may be gone already
    machine.path("/run/gpupanel/held.jsonl").unlink(missing_ok=True)


@pytest.mark.parametrize("how", ["KILL", "ABRT", "stop"])
def test_nobody_stays_frozen(machine: Machine, home: Path, how: str) -> None:
    held = machine.group_of(VICTIM)
    assert held != home
    cursor = machine.cursor()
    with (held / "cgroup.events").open() as events:
        wait_until_frozen(events, True, MOST_FROZEN_S)
        if how == "stop":
            machine.run("systemctl", "stop", UNIT)
        else:
            machine.run("systemctl", "kill", "--kill-whom=main", f"--signal={how}", UNIT)
        wait_until_frozen(events, False, MOST_FROZEN_S)
    if how != "stop":
        machine.wait_for(STARTED, after=cursor)
    assert machine.group_of(VICTIM) == home
