"""A second system on this kernel: systemd boots in private namespaces, with gpupanel installed.

Everything in it is real but the disks: the files of this machine lie below an overlay in memory.
Nothing of it can be reached from outside but through ``Machine``.
"""

from __future__ import annotations

import errno
import json
import os
import re
import select
import shutil
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Sequence
from importlib.metadata import distribution
from pathlib import Path
from typing import IO

REPOSITORY = Path(__file__).resolve().parents[3]
LINUX = REPOSITORY / "packaging" / "linux"
PYTHON = Path("/usr/bin/python3")
"""The system's, as on a machine that runs the service; that of the tests may lie in a home."""

DEPENDENCIES = (
    "nvidia-ml-py", "psutil",
    "pydantic", "pydantic_core", "annotated-types", "typing_extensions", "typing-inspection",
)  # fmt: skip
"""All that the service imports beside the standard library."""

UNIT = "gpupaneld.service"
PLACES = {
    UNIT: "etc/systemd/system",
    "gpupanel.sysusers": "etc/sysusers.d/gpupanel.conf",
    "gpupanel.tmpfiles": "etc/tmpfiles.d/gpupanel.conf",
}
"""Where an administrator puts the files of packaging/linux."""

STARTED = "39f53479d3a045ac8e11786248231fbf"
FAILED = "d9b373ed55a64feb8242e02dbe79a49c"
"""Kinds of journal entries, from systemd's sd-messages.h: a unit was started, and has failed."""

BOOT_S = 30
USER_UID = 4711

_TARGET = """
[Unit]
Requires=basic.target
Wants=dbus.service
After=basic.target dbus.service
AllowIsolate=yes
"""
_OF_THE_MACHINE = {
    "etc/fstab": "",
    "etc/machine-id": "0123456789abcdef0123456789abcdef\n",
    "etc/systemd/journald.conf.d/test.conf": "[Journal]\nStorage=volatile\nRateLimitBurst=0\n",
    "etc/systemd/system/gpupanel-test.target": _TARGET,
    "etc/sysusers.d/zz-test.conf": f"u tester {USER_UID} - /home/tester /bin/sh\n",
}
_NOT_NEEDED = (
    "e2scrub_reap.service",
    "ldconfig.service",
    "systemd-firstboot.service",
    "systemd-hwdb-update.service",
    "systemd-modules-load.service",
    "systemd-timesyncd.service",
    "systemd-udev-trigger.service",
    "systemd-udevd.service",
)


def missing() -> str:
    """Why systemd cannot be booted here; empty where it can."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "systemd is booted by root on Linux only"
    if not Path("/lib/systemd/systemd").exists():
        return "there is no systemd here: packaging/dev test installs it"
    ours = sys.version_info[:2]
    is_ours = f"import sys; sys.exit(sys.version_info[:2] != {ours})"
    if subprocess.run([PYTHON, "-c", is_ours], check=False).returncode:
        return f"{PYTHON} is not the Python {ours[0]}.{ours[1]} for which our packages are built"
    tried = ["unshare", "--mount", "--cgroup", "--net", "--pid", "--fork", "true"]
    if subprocess.run(tried, capture_output=True, check=False).returncode:
        return "no namespaces may be made here: a container needs --privileged"
    return ""


_ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
_CREDENTIALS = struct.Struct("3i")
_UNUSED = shutil.ignore_patterns("__pycache__", "ui")


class Machine:
    """Booted when it is made."""

    def __init__(self, place: Path) -> None:
        """Install below ``place``, boot, and wait until systemd says that it is up."""
        _prepare(place / "files")
        (place / "host").mkdir()
        began_s = time.monotonic()
        with (
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told,
            (place / "log").open("wb") as log,
        ):
            told.bind(str(place / "host" / "notify"))
            told.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
            told.settimeout(BOOT_S)
            self._booting = subprocess.Popen(
                [
                    *("unshare", "--mount", "setpriv", "--pdeathsig", "TERM", "--"),
                    *(Path(__file__).with_name("boot.sh"), f"gpupanel-test-{os.getpid()}", place),
                ],
                # Whoever ends the tests' whole group leaves it time to clean up.
                start_new_session=True,
                stderr=log,
            )
            self._init_pid = _sender_of_ready(told, self._booting, place)
        self.boot_s = time.monotonic() - began_s

    def run(
        self, *command: str | Path, user: int = 0, timeout_s: float = 30, status: int | None = 0
    ) -> str:
        """Standard output and error of a command in there; ``status`` None allows any."""
        done = self.attempt(*command, user=user, timeout_s=timeout_s)
        assert status is None or done.returncode == status, f"{command}: {done.stdout}"
        return done.stdout

    def attempt(
        self, *command: str | Path, user: int = 0, timeout_s: float = 30
    ) -> subprocess.CompletedProcess[str]:
        """Like ``run``, whatever comes of it."""
        return subprocess.run(
            [*self._enter(user), *command],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
            text=True, timeout=timeout_s, check=False, env=_ENVIRONMENT,
        )  # fmt: skip

    def path(self, name: str) -> Path:
        """A file in there as it is called here."""
        return Path(f"/proc/{self._init_pid}/root", name.lstrip("/"))

    def cursor(self) -> str:
        """The end of its journal now."""
        return self.run("journalctl", "-n", "1", "-o", "json").strip()

    def wait_for(self, message_id: str, after: str, timeout_s: float = 30) -> str:
        """The first entry of this kind about or of our unit after ``after``, when it is there."""
        cursor = json.loads(after)["__CURSOR"]
        kind = f"MESSAGE_ID={message_id}"
        of_this_kind = f"UNIT={UNIT} {kind} + _SYSTEMD_UNIT={UNIT} {kind}"
        follow = f"journalctl -f -n all -o json --after-cursor='{cursor}' {of_this_kind}"
        # Bash does not wait for journalctl, which notices only later that nobody listens.
        script = f"head -n 1 < <({follow} 2>/dev/null)"
        return self.run("timeout", str(timeout_s), "bash", "-c", script)

    def wait_until_says(self, text: str, timeout_s: float = 10) -> None:
        """Returns when ``systemctl status`` shows ``text``; each look is a call of systemctl."""
        end_s = time.monotonic() + timeout_s
        while (said := self.show("StatusText")) != text:
            assert time.monotonic() < end_s, f"it says: {said}"

    def group_of(self, unit: str) -> Path:
        """The control group in which the main process of a unit is now, as it is called here."""
        lines = self.run("cat", f"/proc/{self.show('MainPID', unit)}/cgroup").splitlines()
        group = next(line.removeprefix("0::") for line in lines if line.startswith("0::"))
        return self.path(f"/sys/fs/cgroup{group}")

    def outer_pid(self, unit: str) -> int:
        """Of the main process of a unit, its number out here."""
        inner = self.show("MainPID", unit)
        for pid in (self.group_of(unit) / "cgroup.procs").read_text().split():
            status = Path(f"/proc/{pid}/status").read_text()
            if re.search(rf"^NSpid:.*\b{inner}$", status, re.MULTILINE):
                return int(pid)
        raise AssertionError(f"{unit} has no process {inner}")

    def show(self, name: str, unit: str = UNIT) -> str:
        """A property of a unit."""
        return self.run("systemctl", "show", "--value", "--property", name, unit).strip()

    def stop(self) -> None:
        """End all of it at once."""
        os.kill(self._init_pid, 9)
        assert self._booting.wait(timeout=30) == 0

    def _enter(self, user: int) -> Sequence[str]:
        entering = ("nsenter", "--target", str(self._init_pid), "--all", "--")
        if not user:
            return entering
        return (*entering, "setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", "--")


def wait_until_frozen(events: IO[str], is_frozen: bool, limit_s: float) -> None:
    """Until the kernel says so of a control group, whose ``cgroup.events`` are open.

    It answers who freezes before the last of them stands still, and tells when that is so. A group
    that was removed holds nobody.
    """
    change = select.poll()
    change.register(events, select.POLLPRI)
    while _is_frozen(events) != is_frozen:
        assert change.poll(limit_s * 1000), f"not within {limit_s} s"


def _is_frozen(events: IO[str]) -> bool:
    try:
        events.seek(0)
        return "frozen 1" in events.read()
    except OSError as reason:
        if reason.errno == errno.ENODEV:
            return False
        raise


def _sender_of_ready(told: socket.socket, booting: subprocess.Popen[bytes], place: Path) -> int:
    """Number, here, of the process that says that it is ready."""
    try:
        while True:
            text, ancillary, _, _ = told.recvmsg(4096, socket.CMSG_SPACE(_CREDENTIALS.size))
            if b"READY=1" in text.split(b"\n"):
                ((_, _, credentials),) = ancillary
                pid: int = _CREDENTIALS.unpack(credentials[: _CREDENTIALS.size])[0]
                return pid
    except TimeoutError:
        booting.terminate()
        booting.wait()
        raise AssertionError(f"systemd did not boot: {(place / 'log').read_text()}") from None


def _prepare(files: Path) -> None:
    """What lies over this machine's files: the product as installed, and a user."""
    before = os.umask(0o022)
    try:
        files.mkdir()
        files.chmod(0o755)
        for name, text in _OF_THE_MACHINE.items():
            (files / name).parent.mkdir(parents=True, exist_ok=True)
            (files / name).write_text(text)
        for name in _NOT_NEEDED:
            (files / "etc/systemd/system" / name).symlink_to("/dev/null")
        (files / "home/tester").mkdir(parents=True)
        os.chown(files / "home/tester", USER_UID, USER_UID)
        install(files)
    finally:
        os.umask(before)


def install(root: Path) -> None:
    """As packaging/linux/README.md says, below ``root``."""
    subprocess.run([PYTHON, "-m", "venv", "--without-pip", root / "opt/gpupanel"], check=True)
    (packages,) = (root / "opt/gpupanel/lib").glob("python*/site-packages")
    shutil.copytree(REPOSITORY / "gpupanel", packages / "gpupanel", ignore=_UNUSED)
    for name in DEPENDENCIES:
        for path in distribution(name).files or ():
            if path.suffix != ".pyc" and ".." not in path.parts:
                (packages / path).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path.locate(), packages / path)
    subprocess.run([PYTHON, "-m", "compileall", "-q", packages], check=True)
    for name, place in PLACES.items():
        target = root / place
        target = target if target.suffix else target / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(LINUX / name, target)
