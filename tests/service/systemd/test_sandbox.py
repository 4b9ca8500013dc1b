"""What the unit may do and what it may not, tried in its own sandbox and judged by systemd."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from tests.service.systemd.machine import LINUX, UNIT, Machine

MOST_EXPOSED = 3.0

KMSG, NVIDIA = ("1", "11"), ("195", "0")
"""Numbers of devices, from the kernel's Documentation/admin-guide/devices.txt."""

HOSTILE = (
    "LD_PRELOAD", "LD_LIBRARY_PATH", "LD_AUDIT", "GLIBC_TUNABLES", "GCONV_PATH", "PYTHONPATH",
    "PYTHONHOME", "PYTHONSTARTUP", "PYTHONUSERBASE", "PYTHONWARNINGS", "PYTHONBREAKPOINT",
    "XDG_CONFIG_HOME", "XDG_CONFIG_DIRS", "XDG_STATE_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME",
    "HOME", "TMPDIR", "OCL_ICD_VENDORS", "OPENCL_VENDOR_PATH",
)  # fmt: skip
"""With one of these, other programs can be made to run or to read what is not theirs."""

MAY = {
    "signal anybody", "see anybody's program", "see anybody's files", "see anybody's connections",
    "freeze", "thaw", "make a control group", "remove a control group", "serve its group",
    "remember", "write a log",
}  # fmt: skip
REFUSED = {
    "internet": "EAFNOSUPPORT",
    "internet 6": "EAFNOSUPPORT",
    "netlink": "EAFNOSUPPORT",
    "packets": "EAFNOSUPPORT",
    "write its own code": "EROFS",
    "write its own policy": "EROFS",
    "write a setting of the kernel": "EROFS",
    "look into a home": "ENOENT",
    "write and run memory": "EPERM",
    "mount": "EPERM",
    "make a namespace": "EPERM",
    "trace": "EPERM",
    "become somebody": "EPERM",
    "set its own user": "EPERM",
    "set its priority": "EPERM",
    "make a setuid file": "EPERM",
    "set the clock": "EPERM",
    "open a device": "EPERM",
}


@pytest.fixture(scope="module")
def outcomes(booted: Machine) -> dict[str, str]:
    """Of the probe, in a unit that is ours but for what it runs."""
    booted.run("systemd-run", "--unit=victim", "--uid=tester", "sleep", "infinity")
    booted.run("mknod", "/dev/probe-other", "c", *KMSG)
    booted.run("mknod", "/dev/probe-nvidia", "c", *NVIDIA)
    pid, group = booted.show("MainPID", "victim"), booted.show("ControlGroup", "victim")
    shutil.copy(Path(__file__).with_name("probe.py"), booted.path("/opt/probe.py"))
    command = f"/opt/gpupanel/bin/python3 -I /opt/probe.py {pid} /sys/fs/cgroup{group}"
    dropped = ("Exec", "Type", "Restart", "Watchdog", "NotifyAccess")
    lines = [
        line
        for line in (LINUX / UNIT).read_text().splitlines()
        if not line.startswith(dropped) or line == "[Service]"
    ]
    at = lines.index("[Service]") + 1
    lines[at:at] = [
        "Type=oneshot", f"ExecStart={command}", "StandardOutput=truncate:/run/probe.json",
    ]  # fmt: skip
    booted.path("/run/systemd/system/probe.service").write_text("\n".join(lines))
    booted.run("systemctl", "daemon-reload")
    booted.run("systemctl", "start", "probe")
    booted.run("systemctl", "stop", "victim")
    found: dict[str, str] = json.loads(booted.path("/run/probe.json").read_text())
    return found


def test_it_may_what_it_is_for(outcomes: dict[str, str]) -> None:
    assert {name: outcomes[name] for name in MAY} == dict.fromkeys(MAY, "done")
    # Nobody drives it here: the door is open and there is nothing behind it.
    assert outcomes["open a GPU"] in {"done", "ENXIO"}


def test_it_may_nothing_else(outcomes: dict[str, str]) -> None:
    assert {name: outcomes[name] for name in REFUSED} == REFUSED


def test_every_attempt_is_judged(outcomes: dict[str, str]) -> None:
    assert outcomes.keys() == MAY | REFUSED.keys() | {"open a GPU"}


def test_systemd_finds_it_little_exposed(machine: Machine) -> None:
    told = machine.run("systemd-analyze", "security", UNIT, "--no-pager")
    score = re.search(r"Overall exposure level for gpupaneld.service: ([0-9.]+)", told)
    assert score is not None, told
    assert float(score[1]) <= MOST_EXPOSED
    offline = ("--offline=true", f"--threshold={MOST_EXPOSED * 10:.0f}", "--no-pager")
    machine.run("systemd-analyze", "security", *offline, f"/etc/systemd/system/{UNIT}")


def test_systemd_has_nothing_to_say_about_the_unit(machine: Machine) -> None:
    assert machine.run("systemd-analyze", "verify", f"/etc/systemd/system/{UNIT}") == ""


def test_no_variable_of_all_units_reaches_it(machine: Machine) -> None:
    machine.run("systemctl", "set-environment", *(f"{name}=/tmp/evil" for name in HOSTILE))
    try:
        machine.run("systemctl", "restart", UNIT)
        pid = machine.show("MainPID")
        environment = machine.run("cat", f"/proc/{pid}/environ").split("\0")
    finally:
        machine.run("systemctl", "unset-environment", *HOSTILE)
        machine.run("systemctl", "restart", UNIT)
    assert {line.partition("=")[0] for line in environment} & set(HOSTILE) == set()
    assert not any("evil" in line for line in environment)


def test_no_foreign_code_is_in_it(machine: Machine) -> None:
    pid = machine.show("MainPID")
    mapped = machine.run("cat", f"/proc/{pid}/maps")
    files = {Path(line.split()[-1]).name for line in mapped.splitlines() if "/" in line}
    assert any(name.startswith("libc") for name in files)
    strangers = re.compile(r"numpy|qt|pyside|opencl|pocl|libcuda|multiarray", re.IGNORECASE)
    assert [name for name in files if strangers.search(name)] == []


def test_it_has_no_network(machine: Machine) -> None:
    pid = machine.show("MainPID")
    ours, its = (machine.run("readlink", f"/proc/{one}/ns/net") for one in ("1", pid))
    assert ours != its
    cards = machine.run("cat", f"/proc/{pid}/net/dev").splitlines()[2:]
    assert [line.split(":")[0].strip() for line in cards] == ["lo"]
