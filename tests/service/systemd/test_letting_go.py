"""A service that dies leaves nobody frozen: systemd runs what lets go."""

from __future__ import annotations

import select
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.service.systemd.machine import STARTED, UNIT, Machine

MOST_FROZEN_S = 2.0
VICTIM = "victim.service"


class Victim:
    """A user's process that would use a processor, if it were let."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        busy = ("sh", "-c", "while :; do :; done")
        machine.run("systemd-run", "--collect", f"--unit={VICTIM}", "--uid=tester", *busy)
        self.pid = machine.show("MainPID", VICTIM)
        self.home = self.group()

    def group(self) -> str:
        lines = self._machine.run("cat", f"/proc/{self.pid}/cgroup").splitlines()
        return next(line.removeprefix("0::") for line in lines if line.startswith("0::"))

    def is_frozen(self) -> bool:
        return "frozen 1" in self.events().read_text()

    def events(self) -> Path:
        return self._machine.path(f"/sys/fs/cgroup{self.group()}/cgroup.events")


@pytest.fixture
def victim(machine: Machine) -> Iterator[Victim]:
    """Held by somebody who wrote it down and is gone."""
    found = Victim(machine)
    shutil.copy(Path(__file__).with_name("holder.py"), machine.path("/opt/holder.py"))
    machine.run("/opt/gpupanel/bin/python3", "-I", "/opt/holder.py", found.pid)
    yield found
    machine.run("systemctl", "kill", "--signal=KILL", VICTIM)
    machine.run("systemctl", "stop", VICTIM, status=None)  # it may be gone already
    machine.path("/run/gpupanel/held.jsonl").unlink(missing_ok=True)


@pytest.mark.parametrize("how", ["killed", "stopped"])
def test_nobody_stays_frozen(machine: Machine, victim: Victim, how: str) -> None:
    assert victim.group() != victim.home
    cursor = machine.cursor()
    with victim.events().open() as events:
        change = select.poll()
        change.register(events, select.POLLPRI)
        # The kernel answers the write before the last of them stands still.
        while "frozen 1" not in events.read():
            assert change.poll(MOST_FROZEN_S * 1000)
            events.seek(0)
        if how == "killed":
            machine.run("systemctl", "kill", "--kill-whom=main", "--signal=KILL", UNIT)
        else:
            machine.run("systemctl", "stop", UNIT)
        assert change.poll(MOST_FROZEN_S * 1000)
    if how == "killed":
        machine.wait_for(STARTED, after=cursor)
    assert not victim.is_frozen()
    assert victim.group() == victim.home
