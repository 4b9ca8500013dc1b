"""A service as a process of its own, for tests: ``service_child.py DIRECTORY [GID]``.

Its sockets are in DIRECTORY/run, its state in DIRECTORY/state, its policy in DIRECTORY/policy.d;
GID may control. It prints a line when it is ready. For each line that it reads it waits for the
threads whose names begin with that line to end, and prints what it takes then. Ends with its stdin.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from contextlib import suppress
from pathlib import Path

import psutil

from gpupanel.ipc.listening import Listener
from gpupanel.ipc.unix_socket import open_doors
from gpupanel.policy.sources import MachineSource, Sources, UserSource
from gpupanel.policy.trusted_file import Trust
from gpupanel.sampling.store import Store
from gpupanel.service.daemon import Daemon
from gpupanel.service.scope import Scope


def main() -> None:
    directory = Path(sys.argv[1])
    gid = int(sys.argv[2]) if len(sys.argv) > 2 else None
    state = directory / "state"
    machine = MachineSource((directory / "policy.d",), Trust(os.geteuid(), directory))
    sources = Sources(machine, UserSource(directory / "none"), state / "policy")
    scope = Scope("system", sources, state / "history.db", users_dir=state / "users")
    daemon = Daemon(scope, Store(scope.history_file))
    daemon.start()
    with Listener(open_doors(directory / "run", gid), daemon.serve):
        say("ready")
        for line in sys.stdin:
            for thread in threading.enumerate():
                if thread.name.startswith(line.strip()):
                    thread.join(20)
            process = psutil.Process()
            say(
                json.dumps(
                    {
                        "threads": threading.active_count(),
                        "descriptors": len(descriptors()),
                        "rss_bytes": process.memory_info().rss,
                        "peak_bytes": peak_bytes(),
                    }
                )
            )
    daemon.stop()
    say(json.dumps([thread.name for thread in threading.enumerate()]))


def descriptors() -> list[str]:
    """What is open beside files, of which the history opens some when it first writes."""
    links = []
    for path in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # the one of this very look
            links.append(os.readlink(path))
    return [link for link in links if not link.startswith("/")]


def peak_bytes() -> int:
    """The most memory that this process ever had."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    (line,) = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
