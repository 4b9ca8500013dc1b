"""The service's two Unix sockets, and what the kernel tells of whoever connects.

A process in a namespace of its own does not become somebody else by it: its user is the one that
this machine knows, and from another pid namespace (a container into which the socket was mounted)
nobody is served but a root that is root of this machine.
"""

from __future__ import annotations

import os
import select
import socket
import stat
import struct
import sys
from contextlib import closing, suppress
from pathlib import Path

from gpupanel.ipc.limits import STALL_S
from gpupanel.ipc.transport import READ_BYTES, Endpoint, Peer
from gpupanel.model.errors import EndpointFailed, RequestDenied

assert sys.platform != "win32"

GROUP = "gpupanel"
NAMES = {Endpoint.READ_ONLY: "read-only.sock", Endpoint.CONTROL: "control.sock"}

_BACKLOG = 64
_CREDENTIALS = struct.Struct("3i")
_SO_PEERGROUPS = 59
_SO_PEERPIDFD = 77
"""From Linux 4.13 and 6.5; Python has no names for them."""

_GROUPS_BYTES = 1024
"""Room for 256 groups: Python's getsockopt takes no more. Who has more is not known to be in any,
and is refused."""

_CAP_SYS_ADMIN = 1 << 21


class SocketStream:
    """A connected socket; it never blocks a thread for longer than it should."""

    def __init__(self, connected: socket.socket, stall_s: float = STALL_S) -> None:
        """``stall_s`` is how long the other end may take nothing while something is sent."""
        connected.setblocking(False)
        self._socket = connected
        self._stall_s = stall_s

    def receive(self, timeout_s: float | None) -> bytes:
        """As ``Stream``."""
        while True:
            with suppress(BlockingIOError):
                return self._socket.recv(READ_BYTES)
            self._wait(select.POLLIN, timeout_s)

    def send(self, line: bytes) -> None:
        """As ``Stream``."""
        rest = memoryview(line)
        while rest:
            try:
                rest = rest[self._socket.send(rest) :]
            except BlockingIOError:
                self._wait(select.POLLOUT, self._stall_s)

    def abort(self) -> None:
        """As ``Stream``."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Give the descriptor back, when no thread uses it any more."""
        self._socket.close()

    def _wait(self, event: int, timeout_s: float | None) -> None:
        poll = select.poll()
        poll.register(self._socket, event)
        if not poll.poll(None if timeout_s is None else timeout_s * 1000):
            raise TimeoutError


class SocketCaller(SocketStream):
    """A client of the service."""

    def __init__(self, connected: socket.socket, endpoint: Endpoint, gid: int | None) -> None:
        super().__init__(connected)
        self._endpoint = endpoint
        self._gid = gid

    def peer(self) -> Peer:
        """Who connected.

        Raises:
            RequestDenied: It is gone already, lives in a container, or came to the control
                endpoint and is not of its group: then somebody changed the permissions.
        """
        pid, uid, _ = credentials(self._socket)
        is_control = self._endpoint is Endpoint.CONTROL
        if is_control and uid != os.geteuid() and self._gid not in _groups(self._socket):
            raise RequestDenied(f"you are not in the group {GROUP}")
        status = _status(pid)
        started = _started(pid)
        if status is None or not started or not _still_runs(self._socket, pid, started):
            raise RequestDenied("the process that connected has ended")
        if len(status.get("NSpid", "").split()) != 1 and not _is_root_here(pid, uid, status):
            raise RequestDenied("processes in containers are not served")
        return Peer(self._endpoint, uid, pid, started, is_admin=uid == 0)


class SocketDoor:
    """One endpoint, listening when it is made; a socket that a dead service left is replaced."""

    def __init__(self, directory: Path, endpoint: Endpoint, gid: int | None) -> None:
        """Listen.

        Args:
            directory: Where the socket is; made if it is missing.
            endpoint: Which one.
            gid: The group that may connect to the control endpoint; None for root alone.

        Raises:
            EndpointFailed: Somebody else could put a socket there, something else is there, or
                another service answers.
        """
        self._path = directory / NAMES[endpoint]
        self._endpoint = endpoint
        self._gid = gid
        try:
            _check_directory(directory)
            _remove_stale(self._path)
            self._listening = socket.socket(socket.AF_UNIX)
            try:
                self._listen()
            except BaseException:
                self._listening.close()
                raise
        except OSError as reason:
            text = f"{self._path} cannot be opened: {reason.strerror or reason}"
            raise EndpointFailed(text) from None

    def accept(self) -> SocketCaller:
        """As ``Door``."""
        connected, _ = self._listening.accept()
        return SocketCaller(connected, self._endpoint, self._gid)

    def shut(self) -> None:
        """As ``Door``."""
        self._path.unlink(missing_ok=True)
        self._listening.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """As ``Door``."""
        self._listening.close()

    def _listen(self) -> None:
        """Nobody can connect before ``listen``, so nobody by the permissions of a moment."""
        self._listening.bind(os.fspath(self._path))
        if self._endpoint is Endpoint.READ_ONLY:
            os.chmod(self._path, 0o666)  # noqa: S103 - this door is for everybody
        else:
            os.chown(self._path, -1, os.getegid() if self._gid is None else self._gid)
            os.chmod(self._path, 0o600 if self._gid is None else 0o660)
        self._listening.listen(_BACKLOG)


def open_doors(directory: Path, gid: int | None = None) -> list[SocketDoor]:
    """Both endpoints of the service.

    Args:
        directory: ``paths.machine_run_dir()``, outside of tests.
        gid: Who may control; None for the group ``gpupanel``, where this machine has it.

    Raises:
        EndpointFailed: As ``SocketDoor``; none is open then.
    """
    gid = group_id() if gid is None else gid
    doors: list[SocketDoor] = []
    try:
        doors.extend(SocketDoor(directory, one, gid) for one in NAMES)
    except EndpointFailed:
        for door in doors:
            door.shut()
            door.close()
        raise
    return doors


def group_id() -> int | None:
    """Of the group that may control; None where this machine has no such group."""
    import grp

    try:
        return grp.getgrnam(GROUP).gr_gid
    except KeyError:
        return None


def _check_directory(directory: Path) -> None:
    directory.mkdir(mode=0o755, exist_ok=True)
    found = directory.lstat()
    is_ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()
    if not is_ours or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise EndpointFailed(
            f"{directory} is not a directory of the service's own that only it can change: "
            "remove it"
        )


def _remove_stale(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise EndpointFailed(f"{path} is not a socket: remove it")
    with closing(socket.socket(socket.AF_UNIX)) as asking:
        asking.setblocking(False)
        try:
            asking.connect(os.fspath(path))
        except ConnectionRefusedError:
            path.unlink()
            return
        except OSError:
            pass  # its backlog is full: somebody listens
    raise EndpointFailed(f"another service answers at {path}: stop it first")


def credentials(connected: socket.socket) -> tuple[int, int, int]:
    """Pid, user and group of the other end when it connected, or listened."""
    raw = connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, gid = _CREDENTIALS.unpack(raw)
    return pid, uid, gid


def _groups(connected: socket.socket) -> frozenset[int]:
    """All of the other end when it connected."""
    raw = connected.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, _GROUPS_BYTES)
    return frozenset(memoryview(raw).cast("I")) | {credentials(connected)[2]}


def _still_runs(connected: socket.socket, pid: int, started: int) -> bool:
    """Whether ``pid`` still is the process that connected, so that what was read is about it."""
    try:
        pidfd = connected.getsockopt(socket.SOL_SOCKET, _SO_PEERPIDFD)
    except OSError:
        # An older kernel: at least it is the process that it was a moment ago.
        return _started(pid) == started
    try:
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        return not poll.poll(0)
    finally:
        os.close(pidfd)


def _status(pid: int) -> dict[str, str] | None:
    try:
        lines = Path(f"/proc/{pid}/status").read_text(errors="replace").splitlines()
    except OSError:
        return None
    return {name: said.strip() for name, _, said in (line.partition(":") for line in lines)}


def _started(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[19])
    except (OSError, IndexError, ValueError):
        return 0


def _is_root_here(pid: int, uid: int, status: dict[str, str]) -> bool:
    """Whether it is root of this machine, and not of a container that has taken its powers."""
    try:
        theirs, ours = (os.stat(f"/proc/{one}/ns/user").st_ino for one in (pid, "self"))
    except OSError:
        return False
    powers = int(status.get("CapEff", "0"), 16)
    return uid == 0 and theirs == ours and bool(powers & _CAP_SYS_ADMIN)
