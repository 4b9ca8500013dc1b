"""What carries messages, and who is at its other end: told by the kernel, never by the client.

Three carriers speak the one protocol: a child's stdio (the agent), a Unix socket and a named pipe
(the service). The server sees each as a ``Stream`` and a ``Peer``.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import IO, Protocol

from gpupanel import paths

READ_BYTES = 64 * 1024


class Endpoint(StrEnum):
    """By which door a peer came in; the kernel lets in whom the door's permissions allow."""

    READ_ONLY = "read-only"
    """Every local user."""
    CONTROL = "control"
    """Root and the members of the group ``gpupanel``."""
    PARENT = "parent"
    """The pipe to the process that started the agent."""


@dataclass(frozen=True, slots=True)
class Peer:
    """Who is at the other end.

    Attributes:
        uid: Its effective user at the time it connected, as this machine numbers users, whatever
            it is called in a namespace of its own; None on Windows.
        sid: The same on Windows; empty elsewhere.
        pid: For a person; what is allowed never depends on it.
        started: Of that pid, in clock ticks since boot; 0 where it is not known.
        is_admin: Root, or an administrator.
    """

    endpoint: Endpoint
    uid: int | None
    pid: int
    started: int = 0
    is_admin: bool = False
    sid: str = ""

    @property
    def account(self) -> str:
        """What limits are counted by."""
        return self.sid or str(self.uid)

    @property
    def may_control(self) -> bool:
        """Whether it came in by a door that not everybody may use."""
        return self.endpoint is not Endpoint.READ_ONLY


def parent() -> Peer:
    """Who started this process; it has this process's rights, so it may see what that sees."""
    if sys.platform == "win32":
        uid = None
    else:
        uid = os.geteuid()
    return Peer(Endpoint.PARENT, uid, os.getppid())


@dataclass(frozen=True, slots=True)
class Service:
    """Where the service answers, and as whom.

    Attributes:
        run_dir: Of its sockets; unused on Windows, where pipes have names.
        uid: Its user; whoever else answers is not the service.
    """

    run_dir: Path
    uid: int = 0


def installed_service() -> Service:
    """That of this machine."""
    return Service(paths.machine_run_dir())


class Stream(Protocol):
    """Bytes in both ways; one thread receives and another one sends."""

    def receive(self, timeout_s: float | None) -> bytes:
        """What is there, at most READ_BYTES; empty at the end.

        Raises:
            TimeoutError: Nothing came in ``timeout_s``.
            OSError: The connection is broken.
        """

    def send(self, line: bytes) -> None:
        """All of ``line``.

        Raises:
            TimeoutError: The other end takes nothing any more.
            OSError: The connection is broken.
        """

    def abort(self) -> None:
        """End it for both sides at once: whoever waits in the other methods returns."""


class PipeStream:
    """A pair of pipes, such as stdio: they have no deadlines, for the other end is our parent."""

    def __init__(self, reader: IO[bytes], writer: IO[bytes]) -> None:
        self._reader = reader
        self._writer = writer

    def receive(self, timeout_s: float | None) -> bytes:
        """As ``Stream``; never times out."""
        del timeout_s
        chunk: bytes = self._reader.read1(READ_BYTES)  # type: ignore[attr-defined]
        return chunk

    def send(self, line: bytes) -> None:
        """As ``Stream``."""
        rest = memoryview(line)
        while rest:
            rest = rest[self._writer.write(rest) :]
        self._writer.flush()

    def abort(self) -> None:
        """Nothing: whoever waits for a pipe waits for the other end."""
