"""Kills a writer of the audit log again and again, and prints what its mirror was told."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from gpupanel.service.audit.log import Audit
from gpupanel.service.audit.mirror import Told


class PipeMirror:
    """Tells the parent, one line a record."""

    problem = ""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def tell(self, told: Told) -> None:
        assert told.record is not None
        os.write(self._fd, f"{told.record.seq} {told.record.hash}\n".encode())

    def close(self) -> None:
        os.close(self._fd)


def write_until_killed(folder: Path, fd: int) -> None:
    audit = Audit(folder, PipeMirror(fd), file_bytes=50_000)
    audit.record("service.started")
    while True:
        audit.record("hold.changed", name="a program", reason="x" * 100)


def main(folder: Path, kills: int) -> None:
    for kill in range(kills):
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            write_until_killed(folder, writer)
        os.close(writer)
        told = b""
        while told.count(b"\n") <= kill * 3:
            told += os.read(reader, 4096)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        while rest := os.read(reader, 65536):
            told += rest
        os.close(reader)
        sys.stdout.write(told[: told.rfind(b"\n") + 1].decode())
    last = Audit(folder, None)
    last.record("service.started")
    last.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
