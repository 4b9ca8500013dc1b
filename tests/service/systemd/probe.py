"""Runs inside the sandbox of the unit and tells, as JSON, what it may do there.

For each attempt: ``done``, or the name of the error that refused it.
"""

from __future__ import annotations

import ctypes
import errno
import json
import mmap
import os
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_NEWUSER = 0x10000000
PTRACE_ATTACH = 16


def of_libc(name: str, *arguments: object) -> None:
    if getattr(LIBC, name)(*arguments) == -1:
        raise OSError(ctypes.get_errno(), name)


def write(path: str, text: str) -> None:
    Path(path).write_text(text)


def serve_in(directory: str) -> None:
    path = Path(directory, "probe.sock")
    with suppress(FileNotFoundError):
        path.unlink()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        os.chown(path, -1, os.getgroups()[-1])
        path.chmod(0o660)
        listening.listen()
    path.unlink()


def attempts(pid: int, group: str) -> dict[str, Callable[[], object]]:
    """All of them; ``pid`` is another user's process in the control group ``group``."""
    return {
        "internet": lambda: socket.socket(socket.AF_INET),
        "internet 6": lambda: socket.socket(socket.AF_INET6),
        "netlink": lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW),
        "packets": lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW),
        "write its own code": lambda: write("/opt/gpupanel/evil.py", ""),
        "write its own policy": lambda: write("/etc/gpupanel/policy.d/evil.toml", ""),
        "write a setting of the kernel": lambda: write("/proc/sys/kernel/core_pattern", "|/x"),
        "look into a home": lambda: os.listdir("/home/tester"),
        "write and run memory": lambda: mmap.mmap(-1, 4096, prot=mmap.PROT_WRITE | mmap.PROT_EXEC),
        "mount": lambda: of_libc("mount", b"none", b"/tmp", b"tmpfs", 0, None),
        "make a namespace": lambda: of_libc("unshare", CLONE_NEWUSER),
        "trace": lambda: of_libc("ptrace", PTRACE_ATTACH, pid, 0, 0),
        "become somebody": lambda: os.setuid(4711),
        "set its own user": lambda: os.setuid(0),
        "set its priority": lambda: os.nice(1),
        "make a setuid file": lambda: os.chmod("/run/gpupanel", 0o4755),
        "set the clock": lambda: of_libc("settimeofday", ctypes.create_string_buffer(16), None),
        "open a device": lambda: os.open("/dev/probe-other", os.O_RDONLY),
        # What it is for.
        "signal anybody": lambda: os.kill(pid, signal.SIGCONT),
        "see anybody's program": lambda: Path(f"/proc/{pid}/exe").read_bytes()[:4],
        "see anybody's files": lambda: os.readlink(f"/proc/{pid}/fd/0"),
        "see anybody's connections": lambda: Path(f"/proc/{pid}/net/tcp").read_text(),
        "open a GPU": lambda: os.open("/dev/probe-nvidia", os.O_RDWR),
        "freeze": lambda: write(f"{group}/cgroup.freeze", "1"),
        "thaw": lambda: write(f"{group}/cgroup.freeze", "0"),
        "make a control group": lambda: os.mkdir(f"{group}/probe"),
        "remove a control group": lambda: os.rmdir(f"{group}/probe"),
        "serve its group": lambda: serve_in("/run/gpupanel"),
        "remember": lambda: write("/var/lib/gpupanel/probe", ""),
        "write a log": lambda: write("/var/log/gpupanel/probe", ""),
    }


def outcome(attempt: Callable[[], object]) -> str:
    try:
        attempt()
    except OSError as refused:
        return errno.errorcode.get(refused.errno or 0, str(refused))
    return "done"


if __name__ == "__main__":
    found = {name: outcome(one) for name, one in attempts(int(sys.argv[1]), sys.argv[2]).items()}
    json.dump(found, sys.stdout)
