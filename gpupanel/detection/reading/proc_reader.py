"""One process as ``/proc`` shows it: command line, program, connections, open files.

Reads, and nothing else. Files of the process are opened through its own root and folder, only where
they are regular, its own or everybody's to read, and not on a network's drive, which may hang.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from gpupanel.detection.arguments import options
from gpupanel.detection.reading.content import Content, Contents
from gpupanel.detection.reading.facts import Config, Connection, Launcher, ProcessFacts, Program
from gpupanel.detection.reading.tables import Socket, mapped_names, socket_inode, sockets, words
from gpupanel.detection.signatures import Signatures
from gpupanel.policy.trusted_file import safe_identity

_MOST_LAUNCHERS = 3
_LOOKS_OF_TRUST = 20
_MOST_DESCRIPTORS = 1024
_MOST_CONFIGS = 6
_COMMAND_BYTES, _TABLE_BYTES, _CONFIG_BYTES, _MAPS_BYTES = 32_768, 2**22, 65_536, 2**21

_PARENT_FIELD, _STARTED_FIELD = 4 - 3, 22 - 3
"""Of ``/proc/PID/stat``, counted from the first field after the name."""

_NO_WAIT = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)
"""A pipe in a file's place must not hold us until somebody writes to it."""

_CONFIG_SUFFIXES = (".json", ".txt", ".ini", ".conf", ".cfg", ".toml", ".yaml", ".yml")
_NETWORK_DRIVES = frozenset({"nfs", "nfs4", "cifs", "smb3", "9p", "afs", "ceph", "fuse.sshfs"})


@dataclass(slots=True)
class _Known:
    """What is kept of a process between looks.

    Attributes:
        seen_s: When each of its connections was seen first, by inode.
    """

    started: int
    looks: int = 0
    libraries: frozenset[str] = frozenset()
    seen_s: dict[int, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Stat:
    name: str
    parent: int
    started: int


class ProcReader:
    """Reads processes one after the other; ``begin_look`` before each round of them."""

    def __init__(self, known: Signatures, root: str = "/proc") -> None:
        self.known = known
        self._root = root
        self._contents = Contents(known.markers)
        self._processes: dict[int, _Known] = {}
        self._sockets: dict[str, dict[int, Socket]] = {}
        self._trusted: dict[tuple[str, tuple[int, int]], bool] = {}
        self._network_drives: tuple[str, ...] = ()
        self._looks = 0
        self._now_s = 0.0

    def begin_look(self, now_s: float, pids: Sequence[int]) -> None:
        """Forget all but ``pids``, and what tables said at the last look."""
        self._now_s = now_s
        self._sockets = {}
        self._looks += 1
        if self._looks % _LOOKS_OF_TRUST == 0:
            self._trusted = {}  # somebody may have been given the right to write since
        self._contents.begin_look()
        self._processes = {pid: self._processes[pid] for pid in pids if pid in self._processes}
        mounts = _read(f"{self._root}/self/mounts", _TABLE_BYTES).decode("utf-8", "replace")
        fields = (line.split(" ") for line in mounts.splitlines())
        self._network_drives = tuple(
            f"{one[1]}/" for one in fields if len(one) > 2 and one[2] in _NETWORK_DRIVES
        )

    def read(self, pid: int, started: int) -> ProcessFacts | None:
        """All that can be read of the process; None where it is gone, or its pid another's."""
        folder = f"{self._root}/{pid}"
        about = _stat(folder)
        uid = _owner(folder)
        if about is None or uid is None or (started and about.started != started):
            return None
        kept = self._processes.get(pid)
        if kept is None or kept.started != about.started:
            kept = self._processes[pid] = _Known(about.started)
        kept.looks += 1
        arguments = words(_read(f"{folder}/cmdline", _COMMAND_BYTES))
        links = _links(f"{folder}/fd")
        connections, ports = self._network(folder, links, kept)
        facts = ProcessFacts(
            pid, about.started, about.name, self._program(f"{folder}/exe"),
            self._script(folder, arguments), arguments, self._launchers(about.parent, uid),
            connections, ports, tuple(link for link in links if link.startswith("/")),
            self._libraries(folder, kept), self._configs(folder, uid, arguments),
            about.parent, uid,
        )  # fmt: skip
        # Between the first word and the last, the pid may have become another's.
        after = _stat(folder)
        return facts if after is not None and after.started == about.started else None

    def parent(self, pid: int) -> tuple[int, int] | None:
        """Pid of its parent, and its own start; None where it is gone."""
        about = _stat(f"{self._root}/{pid}")
        return None if about is None else (about.parent, about.started)

    def _program(self, link: str) -> Program:
        path = _target(link)
        if not path or self._is_far(path):
            return Program(path)
        content = self._contents.of(link)
        return self._described(path, content)

    def _described(self, path: str, content: Content | None) -> Program:
        if content is None:
            return Program(path)
        key = path, content.identity
        if key not in self._trusted:
            is_absolute = path.startswith("/")
            self._trusted[key] = is_absolute and safe_identity(Path(path)) == content.identity
        return Program(path, content.sha256, content.markers, self._trusted[key])

    def _script(self, folder: str, arguments: Sequence[str]) -> Program | None:
        """What an interpreter runs: the first of its arguments that is a file."""
        if os.path.basename(_target(f"{folder}/exe")) not in self.known.interpreters:
            return None
        for word in arguments[1:]:
            if word.startswith("-") or "\0" in word or self._is_far(word):
                continue
            content = self._contents.of(_inside(folder, word))
            if content is not None:
                return self._described(word, content)
        return Program()

    def _launchers(self, pid: int, uid: int) -> tuple[Launcher, ...]:
        found: list[Launcher] = []
        while pid > 1 and len(found) < _MOST_LAUNCHERS:
            folder = f"{self._root}/{pid}"
            about = _stat(folder)
            if about is None or about.name in self.known.launcher_ends or _owner(folder) != uid:
                break
            found.append(Launcher(about.name, words(_read(f"{folder}/cmdline", _COMMAND_BYTES))))
            pid = about.parent
        return tuple(found)

    def _network(
        self, folder: str, links: Sequence[str], kept: _Known
    ) -> tuple[tuple[Connection, ...], tuple[int, ...]]:
        inodes = {inode for link in links if (inode := socket_inode(link)) is not None}
        if not inodes:
            return (), ()
        table = self._table(folder)
        own = [table[inode] for inode in inodes if inode in table]
        kept.seen_s = {one.inode: kept.seen_s.get(one.inode, self._now_s) for one in own}
        connections = tuple(
            Connection(one.host, one.port, self._now_s - kept.seen_s[one.inode], one.is_local)
            for one in own
            if not one.is_listening
        )
        return connections, tuple(one.local_port for one in own if one.is_listening)

    def _table(self, folder: str) -> dict[int, Socket]:
        """Of the process's own network: a container has another."""
        network = _target(f"{folder}/ns/net")
        if network not in self._sockets:
            tables = (_read(f"{folder}/net/{name}", _TABLE_BYTES) for name in ("tcp", "tcp6"))
            self._sockets[network] = {one.inode: one for text in tables for one in sockets(text)}
        return self._sockets[network]

    def _libraries(self, folder: str, kept: _Known) -> frozenset[str]:
        """Read at the first looks and then seldom: the table is long, and libraries stay."""
        if kept.looks in (1, 3) or kept.looks % 20 == 0:
            kept.libraries = mapped_names(_read(f"{folder}/maps", _MAPS_BYTES))
        return kept.libraries

    def _configs(self, folder: str, uid: int, arguments: Sequence[str]) -> tuple[Config, ...]:
        """Files that it was told to read, and those that miners read without being told."""
        named = [
            option.value
            for option in options(arguments)
            if option.value.casefold().endswith(_CONFIG_SUFFIXES)
        ]
        found = []
        working = f"{_target(f'{folder}/cwd')}/"
        for name in dict.fromkeys([*named, *self.known.configs_to_read]):
            where = name if name.startswith("/") else working
            is_near = "\0" not in name and not self._is_far(where)
            text = _config(_inside(folder, name), uid) if is_near else ""
            if text:
                found.append(Config(name.replace("\\", "/").rpartition("/")[2], text))
            if len(found) == _MOST_CONFIGS:
                break
        return tuple(found)

    def _is_far(self, path: str) -> bool:
        return path.startswith(self._network_drives)


def _config(path: str, uid: int) -> str:
    """Of a regular file that the process may read; empty for all else."""
    try:
        descriptor = os.open(path, os.O_RDONLY | _NO_WAIT)
    except OSError:
        return ""
    try:
        status = os.fstat(descriptor)
        is_its_own = status.st_uid == uid or status.st_mode & stat.S_IROTH
        if not stat.S_ISREG(status.st_mode) or not is_its_own:
            return ""
        return os.read(descriptor, _CONFIG_BYTES).decode("utf-8", "replace")
    except OSError:
        return ""
    finally:
        os.close(descriptor)


def _inside(folder: str, name: str) -> str:
    """Where a process finds what it calls ``name``."""
    return f"{folder}/root{name}" if name.startswith("/") else f"{folder}/cwd/{name}"


def _links(folder: str) -> tuple[str, ...]:
    try:
        descriptors = os.listdir(folder)
    except OSError:
        return ()
    return tuple(_existing(_target(f"{folder}/{fd}") for fd in descriptors[:_MOST_DESCRIPTORS]))


def _existing(targets: Iterator[str]) -> Iterator[str]:
    return (target for target in targets if target and not target.startswith("/dev/"))


def _stat(folder: str) -> _Stat | None:
    before, _, after = _read(f"{folder}/stat", 4096).rpartition(b")")
    fields = after.split()
    try:
        name = before.partition(b"(")[2].decode("utf-8", "replace")
        return _Stat(name, int(fields[_PARENT_FIELD]), int(fields[_STARTED_FIELD]))
    except (ValueError, IndexError):
        return None


def _owner(folder: str) -> int | None:
    """The folder's: the files in it belong to root where a program allows no dumps."""
    try:
        return os.stat(folder).st_uid
    except OSError:
        return None


def _target(link: str) -> str:
    try:
        return os.readlink(link)
    except (OSError, ValueError):
        return ""


def _read(path: str, most_bytes: int) -> bytes:
    """Up to so many bytes; empty where there is nothing to read or no right to."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return b""
    blocks: list[bytes] = []
    try:
        while most_bytes > 0 and (block := os.read(descriptor, min(most_bytes, 2**18))):
            blocks.append(block)
            most_bytes -= len(block)
    except OSError:
        return b""  # it ended meanwhile
    finally:
        os.close(descriptor)
    return b"".join(blocks)
