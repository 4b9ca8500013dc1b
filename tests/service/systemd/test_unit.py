"""The unit under a real systemd: ready, told, ended, killed, hung, and started again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.service.systemd.machine import FAILED, STARTED, UNIT, USER_UID, Machine

CTL = ("/opt/gpupanel/bin/python3", "-I", "-m", "gpupanel", "ctl")
POLICY = "/etc/gpupanel/policy.d/50-test.toml"
MOST_RSS_MB = 64


def test_it_is_ready_and_says_what_it_does(machine: Machine) -> None:
    assert machine.show("ActiveState") == "active"
    assert machine.show("SubState") == "running"
    machine.wait_until_says("policy unmanaged, 1 GPU")


def test_nobody_gets_rid_of_it_by_crashing_it_often(machine: Machine) -> None:
    """The long test does so; here it is only read back."""
    assert machine.show("Restart") == "always"
    assert machine.show("StartLimitIntervalUSec") == "0"
    assert machine.show("WatchdogUSec") == "10s"


def test_the_admin_may_enable_it_for_every_start(machine: Machine) -> None:
    machine.run("systemctl", "enable", UNIT)
    assert machine.run("systemctl", "is-enabled", UNIT) == "enabled\n"
    wanted = machine.path(f"/etc/systemd/system/multi-user.target.wants/{UNIT}")
    assert wanted.is_symlink()
    machine.run("systemctl", "disable", UNIT)


def test_a_reload_reads_the_policy(machine: Machine) -> None:
    machine.path(POLICY).write_text("schema = 1\nmandatory.mining.max_efficiency_percent = 50\n")
    try:
        machine.run("systemctl", "reload", UNIT)
        machine.wait_until_says("policy managed, 1 GPU")
        machine.path(POLICY).write_text("broken")
        machine.run("systemctl", "reload", UNIT)
        machine.wait_until_says("policy stale, 1 GPU")
    finally:
        machine.path(POLICY).unlink()
        machine.run("systemctl", "reload", UNIT)
    machine.wait_until_says("policy unmanaged, 1 GPU")


def test_what_it_remembers_is_closed_to_users(machine: Machine) -> None:
    modes = machine.run("stat", "-c", "%n %U %a", "/var/lib/gpupanel", "/var/log/gpupanel",
                        "/run/gpupanel", "/var/lib/gpupanel/history.db")  # fmt: skip
    assert modes.splitlines() == [
        "/var/lib/gpupanel root 700",
        "/var/log/gpupanel root 750",
        "/run/gpupanel root 755",
        "/var/lib/gpupanel/history.db root 600",
    ]


def test_a_user_may_ask_it(machine: Machine) -> None:
    told = machine.run(*CTL, "status", "--json", user=USER_UID)
    answering = json.loads(told)["agent"]
    assert (answering["scope"], answering["endpoint"]) == ("system", "read-only")


def test_a_stop_is_clean(machine: Machine) -> None:
    machine.run("systemctl", "stop", UNIT)
    assert machine.show("Result") == "success"
    assert machine.show("ExecMainStatus") == "0"
    assert machine.show("ActiveState") == "inactive"


def test_killed_it_is_there_again(machine: Machine) -> None:
    before, cursor = machine.show("MainPID"), machine.cursor()
    machine.run("systemctl", "kill", "--kill-whom=main", "--signal=KILL", UNIT)
    machine.wait_for(STARTED, after=cursor)
    assert machine.show("MainPID") != before
    assert machine.show("ActiveState") == "active"


def test_hung_it_is_ended_and_started_again(machine: Machine) -> None:
    with patience_of(machine, "3s"):
        cursor = machine.cursor()
        machine.run("kill", "-STOP", machine.show("MainPID"))
        ended = machine.wait_for(FAILED, after=cursor)
        machine.wait_for(STARTED, after=ended)
        assert machine.show("ActiveState") == "active"
        stacks = machine.run(
            "journalctl", "-u", UNIT, "-o", "cat", "-g", "Current thread|Thread 0x"
        )
    assert json.loads(ended)["UNIT_RESULT"] == "watchdog"
    assert stacks.count("most recent call first") > 2


def test_it_is_small(machine: Machine) -> None:
    pid = machine.show("MainPID")
    rss = next(
        line for line in machine.run("cat", f"/proc/{pid}/status").splitlines() if "VmRSS" in line
    )
    assert int(rss.split()[1]) / 1024 < MOST_RSS_MB


@pytest.mark.long
def test_killed_25_times_it_is_still_there(machine: Machine) -> None:
    for _ in range(25):
        cursor = machine.cursor()
        machine.run("systemctl", "kill", "--kill-whom=main", "--signal=KILL", UNIT)
        machine.wait_for(STARTED, after=cursor)
    assert machine.show("ActiveState") == "active"
    assert int(machine.show("NRestarts")) >= 25


@contextmanager
def patience_of(machine: Machine, watchdog: str) -> Iterator[None]:
    """The service with another WatchdogSec: it beats as often as that asks for."""
    drop_in = machine.path(f"/run/systemd/system/{UNIT}.d/patience.conf")
    drop_in.parent.mkdir()
    drop_in.write_text(f"[Service]\nWatchdogSec={watchdog}\n")
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "restart", UNIT)
    try:
        yield
    finally:
        drop_in.unlink()
        drop_in.parent.rmdir()
        machine.run("systemctl", "daemon-reload")
        machine.run("systemctl", "restart", UNIT)
