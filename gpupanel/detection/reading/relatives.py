"""Who started a process and whom it started, of the same account: evidence may sit with them.

A launcher holds the command line, a parent the connection, a child the proxy. Not counted are
shells and desktops, which start everything, and who uses a GPU too: they are judged themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator

from gpupanel.detection.reading.facts import Connection, Relative
from gpupanel.detection.reading.own_files import OwnFiles
from gpupanel.detection.reading.proc_files import children, owner, read, status
from gpupanel.detection.reading.tables import words
from gpupanel.detection.signatures import Signatures

_MOST_LAUNCHERS = 3
_MOST_CHILDREN = 8
_GENERATIONS = 2
_COMMAND_BYTES = 32_768

ConnectionsOf = Callable[[int], tuple[Connection, ...]]


class Relatives:
    """Reads each process once a look, however many are related to it."""

    def __init__(
        self, root: str, known: Signatures, files: OwnFiles, connections_of: ConnectionsOf
    ) -> None:
        self.known = known
        self._files = files
        self._root = root
        self._connections_of = connections_of
        self._clients: Collection[int] = ()
        self._arguments: dict[int, tuple[str, ...]] = {}
        self._connections: dict[int, tuple[Connection, ...]] = {}

    def begin_look(self, clients: Collection[int]) -> None:
        """Forget what was read at the last look; ``clients`` use a GPU."""
        self._clients = frozenset(clients)
        self._arguments, self._connections = {}, {}

    def launchers(self, pid: int, uid: int, program: str) -> tuple[Relative, ...]:
        """``pid`` and who started it, up to a shell or another account.

        Of a shell's script only the lines count that start ``program``.
        """
        found: list[Relative] = []
        while pid > 1 and len(found) < _MOST_LAUNCHERS:
            folder = f"{self._root}/{pid}"
            about = status(folder)
            if about is None or owner(folder) != uid:
                break
            if about.name in self.known.launcher_ends:
                found += self._lines_of_script(pid, uid, program)
                break
            found.append(self._relative(pid, about.name))
            pid = about.parent
        return tuple(found)

    def _lines_of_script(self, pid: int, uid: int, program: str) -> Iterator[Relative]:
        """Without quotes and variables resolved: what is written there in plain words."""
        arguments = self._arguments_of(pid)
        name = next((word for word in arguments[1:] if not word.startswith("-")), "")
        if "-c" in arguments or not name or not program:
            return
        lines = self._files.text(f"{self._root}/{pid}", name, uid).replace("\\\n", " ").splitlines()
        for line in lines:
            said = [word.strip("\"'") for word in line.split()]
            starts = [place for place, word in enumerate(said) if _names(word, program)]
            if starts and not line.lstrip().startswith("#"):
                yield Relative(name, tuple(said[starts[0] :]))

    def children(self, pid: int, uid: int) -> tuple[Relative, ...]:
        """Of two generations; nothing below a shell, which somebody may be typing into."""
        return tuple(self._below(pid, uid, _GENERATIONS))[:_MOST_CHILDREN]

    def _below(self, pid: int, uid: int, generations: int) -> Iterator[Relative]:
        for child in children(f"{self._root}/{pid}", _MOST_CHILDREN):
            folder = f"{self._root}/{child}"
            about = status(folder)
            if about is None or about.name in self.known.launcher_ends or owner(folder) != uid:
                continue
            if child not in self._clients:
                yield self._relative(child, about.name)
            if generations > 1:
                yield from self._below(child, uid, generations - 1)

    def _relative(self, pid: int, name: str) -> Relative:
        if pid not in self._connections:
            is_client = pid in self._clients
            self._connections[pid] = () if is_client else self._connections_of(pid)
        return Relative(name, self._arguments_of(pid), self._connections[pid])

    def _arguments_of(self, pid: int) -> tuple[str, ...]:
        if pid not in self._arguments:
            command = read(f"{self._root}/{pid}/cmdline", _COMMAND_BYTES)
            self._arguments[pid] = words(command)
        return self._arguments[pid]


def _names(word: str, program: str) -> bool:
    return word.rpartition("/")[2] == program
