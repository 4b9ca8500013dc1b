"""One process as ``/proc`` shows it: command line, program, connections, open files.

Reads, and nothing else.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from gpupanel.detection.reading.content import Content, Contents
from gpupanel.detection.reading.facts import Connection, ProcessFacts, Program, Relative
from gpupanel.detection.reading.own_files import OwnFiles, inside
from gpupanel.detection.reading.proc_files import descriptors, links, owner, read, status, target
from gpupanel.detection.reading.rates import bytes_of
from gpupanel.detection.reading.relatives import Relatives
from gpupanel.detection.reading.tables import (
    Socket,
    mapped_files,
    mapped_names,
    socket_inode,
    sockets,
    words,
)
from gpupanel.detection.signatures import Signatures
from gpupanel.policy.trusted_file import safe_identity

_LOOKS_OF_TRUST = 20
_COMMAND_BYTES, _ENVIRONMENT_BYTES, _TABLE_BYTES, _MAPS_BYTES = 32_768, 2**20, 2**22, 2**21
_LOOKS_OF_LINKS, _LOOKS_OF_RELATIVES, _LOOKS_OF_RATES, _LOOKS_OF_MAPS = 4, 4, 4, 20
_MOST_RATES = 4


@dataclass(slots=True)
class _Seen:
    """A connection: when it was seen first, how much had gone over it, and how fast since."""

    at_s: float
    bytes: int | None
    bytes_per_s: float | None = None


@dataclass(slots=True)
class _Known:
    """What is kept of a process between looks.

    Attributes:
        seen: Of its connections, by inode.
    """

    started: int
    looks: int = 0
    libraries: frozenset[str] = frozenset()
    descriptors: list[str] = field(default_factory=list)
    links: tuple[str, ...] = ()
    children: tuple[Relative, ...] = ()
    seen: dict[int, _Seen] = field(default_factory=dict)

    def is_turn(self, pid: int, every: int) -> bool:
        """At the first look and then now and then, not for all processes at the same look."""
        return self.looks == 1 or (self.looks + pid) % every == 0


class ProcReader:
    """Reads processes one after the other; ``begin_look`` before each round of them."""

    def __init__(self, known: Signatures, root: str = "/proc") -> None:
        self._root = root
        self._contents = Contents(known.markers)
        self._files = OwnFiles(root)
        self._relatives = Relatives(root, known, self._files, self._connections_of)
        self._processes: dict[int, _Known] = {}
        self._sockets: dict[str, dict[int, Socket]] = {}
        self._trusted: dict[tuple[str, tuple[int, int]], bool] = {}
        self._looks = 0
        self._now_s = 0.0

    @property
    def known(self) -> Signatures:
        """What is known of miners."""
        return self._relatives.known

    @known.setter
    def known(self, known: Signatures) -> None:
        self._relatives.known = known

    def begin_look(self, now_s: float, pids: Sequence[int]) -> None:
        """Forget all but ``pids``, and what tables said at the last look."""
        self._now_s = now_s
        self._sockets = {}
        self._looks += 1
        if self._looks % _LOOKS_OF_TRUST == 0:
            self._trusted = {}  # somebody may have been given the right to write since
        self._files.begin_look()
        self._relatives.begin_look(pids)
        self._processes = {pid: self._processes[pid] for pid in pids if pid in self._processes}

    def glance(self, pid: int, started: int) -> ProcessFacts | None:
        """What costs little: what it runs, its command line, who started it, its configurations."""
        folder = f"{self._root}/{pid}"
        about, uid = status(folder), owner(folder)
        if about is None or uid is None or (started and about.started != started):
            return None
        kept = self._processes.get(pid)
        if kept is None or kept.started != about.started:
            kept = self._processes[pid] = _Known(about.started)
        arguments = words(read(f"{folder}/cmdline", _COMMAND_BYTES))
        program, script = self._program(folder), self._script(folder, arguments)
        return ProcessFacts(
            pid, about.started, about.name, program, script, arguments,
            self._relatives.launchers(about.parent, uid, (script or program).name),
            configs=tuple(
                self._files.configs(folder, uid, arguments, self.known.configs_to_read)
            ),
            parent=about.parent, uid=uid,
        )  # fmt: skip

    def read(self, pid: int, started: int) -> ProcessFacts | None:
        """All that can be read of the process; None where it is gone, or its pid another's."""
        glanced = self.glance(pid, started)
        if glanced is None or glanced.uid is None:
            return None
        folder, kept = f"{self._root}/{pid}", self._processes[pid]
        kept.looks += 1
        opened = _opened(folder, pid, kept)
        connections, ports = self._network(pid, opened, kept)
        if kept.is_turn(pid, _LOOKS_OF_RELATIVES):
            kept.children = self._relatives.children(pid, glanced.uid)
        facts = replace(
            glanced,
            connections=connections,
            listening_ports=ports,
            open_files=tuple(link for link in opened if link.startswith("/")),
            libraries=self._libraries(folder, pid, kept),
            children=kept.children,
        )
        # Between the first word and the last, the pid may have become another's.
        after = status(folder)
        return facts if after is not None and after.started == facts.started else None

    def read_on(self, is_over: Callable[[], bool]) -> None:
        """Read more of the content of programs, until all is read or ``is_over``."""
        self._contents.read_on(is_over)

    def parent(self, pid: int) -> tuple[int, int] | None:
        """Pid of its parent, and its own start; None where it is gone."""
        about = status(f"{self._root}/{pid}")
        return None if about is None else (about.parent, about.started)

    def environment(self, pid: int) -> dict[str, str] | None:
        """With which it was started; None where that cannot be read."""
        pairs = read(f"{self._root}/{pid}/environ", _ENVIRONMENT_BYTES).split(b"\0")
        named = (os.fsdecode(pair).partition("=") for pair in pairs if b"=" in pair)
        return {name: value for name, _, value in named} or None

    def has_foreign_code(self, pid: int) -> bool:
        """Whether it runs code from a file that root did not install, a removed one too.

        Code that was written into its memory (by a debugger, by itself) is not seen.
        """
        folder = f"{self._root}/{pid}"
        files = mapped_files(read(f"{folder}/maps", _MAPS_BYTES))
        return not files or any(self._is_foreign(folder, *one) for one in files)

    def _is_foreign(self, folder: str, path: str, inode: int) -> bool:
        """By inode: of some file systems, this table and ``stat`` tell different devices."""
        found = None if self._files.is_far(folder, path) else safe_identity(Path(path))
        return found is None or found[1] != inode

    def _program(self, folder: str) -> Program:
        link = f"{folder}/exe"
        path = target(link)
        if not path or self._files.is_far(folder, path):
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
        if os.path.basename(target(f"{folder}/exe")) not in self.known.interpreters:
            return None
        for word in arguments[1:]:
            if word.startswith("-") or "\0" in word or self._files.leads_far(folder, word):
                continue
            content = self._contents.of(inside(folder, word))
            if content is not None:
                return self._described(word, content)
        return Program()

    def _connections_of(self, pid: int) -> tuple[Connection, ...]:
        """Of a relative that is not watched itself; neither age nor rate is known."""
        folder = f"{self._root}/{pid}"
        found = self._sockets_of(folder, links(folder, descriptors(folder)))
        return tuple(
            Connection(one.host, one.port, is_local=one.is_local)
            for one in found
            if not one.is_listening
        )

    def _sockets_of(self, folder: str, opened: Sequence[str]) -> list[Socket]:
        inodes = {inode for link in opened if (inode := socket_inode(link)) is not None}
        if not inodes:
            return []
        table = self._table(folder)
        return [table[inode] for inode in sorted(inodes) if inode in table]

    def _network(
        self, pid: int, opened: Sequence[str], kept: _Known
    ) -> tuple[tuple[Connection, ...], tuple[int, ...]]:
        own = self._sockets_of(f"{self._root}/{pid}", opened)
        held = [one for one in own if not one.is_listening]
        away = [one for one in held if not one.is_local]
        is_asked = len(away) <= _MOST_RATES and kept.is_turn(pid, _LOOKS_OF_RATES)
        before, kept.seen = kept.seen, {}
        for one in held:
            seen = before.get(one.inode)
            if seen is None:
                counted = bytes_of(one) if one in away[:_MOST_RATES] else None
                seen = _Seen(self._now_s, counted)
            elif is_asked and one in away:
                self._measure(one, seen)
            kept.seen[one.inode] = seen
        connections = tuple(
            Connection(one.host, one.port, self._now_s - seen.at_s, one.is_local, seen.bytes_per_s)
            for one in held
            for seen in (kept.seen[one.inode],)
        )
        return connections, tuple(one.local_port for one in own if one.is_listening)

    def _measure(self, one: Socket, seen: _Seen) -> None:
        counted, age_s = bytes_of(one), self._now_s - seen.at_s
        if counted is None or seen.bytes is None or age_s <= 0:
            seen.bytes_per_s = None
        else:
            seen.bytes_per_s = (counted - seen.bytes) / age_s

    def _table(self, folder: str) -> dict[int, Socket]:
        """Of the process's own network: a container has another."""
        network = target(f"{folder}/ns/net")
        if network not in self._sockets:
            tables = (read(f"{folder}/net/{name}", _TABLE_BYTES) for name in ("tcp", "tcp6"))
            self._sockets[network] = {one.inode: one for text in tables for one in sockets(text)}
        return self._sockets[network]

    def _libraries(self, folder: str, pid: int, kept: _Known) -> frozenset[str]:
        """Read at first, once more when all is loaded, and then seldom: the table is long."""
        if kept.is_turn(pid, _LOOKS_OF_MAPS) or kept.looks == 3 + pid % 4:
            kept.libraries = mapped_names(read(f"{folder}/maps", _MAPS_BYTES))
        return kept.libraries


def _opened(folder: str, pid: int, kept: _Known) -> tuple[str, ...]:
    """Links are read anew where descriptors came or went, and else now and then."""
    numbers = descriptors(folder)
    if numbers != kept.descriptors or kept.is_turn(pid, _LOOKS_OF_LINKS):
        kept.descriptors, kept.links = numbers, links(folder, numbers)
    return kept.links
