"""One process as psutil shows it: Windows' way to the same facts.

No open files and no libraries: asking for them there may hang or take seconds.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from ipaddress import ip_address
from typing import TYPE_CHECKING

from gpupanel.detection.arguments import options
from gpupanel.detection.reading.content import Contents
from gpupanel.detection.reading.facts import Config, Connection, ProcessFacts, Program, Relative
from gpupanel.detection.signatures import Signatures

if TYPE_CHECKING:
    import psutil

_MOST_LAUNCHERS = 3
_MOST_CONFIGS = 6
_CONFIG_BYTES = 65_536
_CONFIG_SUFFIXES = (".json", ".txt", ".ini", ".conf", ".cfg")
_FILETIME_OF_1970 = 116_444_736_000_000_000


class PsutilReader:
    """Reads processes one after the other; ``begin_look`` before each round of them."""

    def __init__(self, known: Signatures) -> None:
        self.known = known
        self._contents = Contents(known.markers)
        self._seen_s: dict[tuple[int, str, int], float] = {}
        self._now_s = 0.0

    def begin_look(self, now_s: float, pids: Sequence[int]) -> None:
        """Forget all but ``pids``."""
        self._now_s = now_s
        self._seen_s = {key: at_s for key, at_s in self._seen_s.items() if key[0] in pids}

    def glance(self, pid: int, started: int) -> ProcessFacts | None:
        """What costs little: all but connections, which Windows tells of the whole system alone."""
        import psutil

        try:
            process = psutil.Process(pid)
            if started and abs(_started(process) - started) > _STARTED_SLACK:
                return None
            name, parent = process.name(), process.ppid()
        except psutil.Error:
            return None
        arguments = _arguments(process)
        program = self._program(_path(process))
        script = self._script(process, program.name, arguments)
        return ProcessFacts(
            pid, started, name, program, script, arguments, self._launchers(process),
            configs=self._configs(process, arguments), parent=parent,
        )  # fmt: skip

    def read(self, pid: int, started: int) -> ProcessFacts | None:
        """All that can be read of the process; None where it is gone, or its pid another's."""
        import psutil

        facts = self.glance(pid, started)
        if facts is None:
            return None
        try:
            connections, ports = self._network(psutil.Process(pid))
        except psutil.Error:
            return None
        return replace(facts, connections=connections, listening_ports=ports)

    def read_on(self, is_over: Callable[[], bool]) -> None:
        """Read more of the content of programs, until all is read or ``is_over``."""
        self._contents.read_on(is_over)

    def parent(self, pid: int) -> tuple[int, int] | None:
        """Pid of its parent, and its own start; None where it is gone."""
        import psutil

        try:
            process = psutil.Process(pid)
            return process.ppid(), _started(process)
        except psutil.Error:
            return None

    def environment(self, pid: int) -> dict[str, str] | None:
        """With which it was started; None where that cannot be read."""
        import psutil

        try:
            return dict(psutil.Process(pid).environ())
        except (psutil.Error, OSError):
            return None

    def has_foreign_code(self, pid: int) -> bool:
        """Nothing is trusted on this system for where it lies, so nobody can borrow that."""
        del pid
        return True

    def _program(self, path: str) -> Program:
        content = None if not path or path.startswith("\\\\") else self._contents.of(path)
        if content is None:
            return Program(path)
        return Program(path, content.sha256, content.markers, _is_of_windows(path))

    def _script(
        self, process: psutil.Process, name: str, arguments: Sequence[str]
    ) -> Program | None:
        if name.removesuffix(".exe") not in self.known.interpreters:
            return None
        folder = _folder(process)
        for word in arguments[1:]:
            path = os.path.join(folder, word) if not word.startswith("-") and folder else ""
            if path and not path.startswith("\\\\") and os.path.isfile(path):
                return self._program(path)
        return Program()

    def _launchers(self, process: psutil.Process) -> tuple[Relative, ...]:
        import psutil

        found: list[Relative] = []
        try:
            for parent in process.parents()[:_MOST_LAUNCHERS]:
                name = parent.name()
                if name in self.known.launcher_ends:
                    break
                found.append(Relative(name, _arguments(parent)))
        except psutil.Error:
            return tuple(found)
        return tuple(found)

    def _network(self, process: psutil.Process) -> tuple[tuple[Connection, ...], tuple[int, ...]]:
        import psutil

        try:
            rows = process.net_connections(kind="tcp")
        except (psutil.Error, OSError):
            return (), ()
        found: list[Connection] = []
        ports: list[int] = []
        for row in rows:
            if row.status == psutil.CONN_LISTEN:
                ports.append(row.laddr.port)
            elif row.status == psutil.CONN_ESTABLISHED and row.raddr:
                host, port = str(_plain(row.raddr.ip)), row.raddr.port
                at_s = self._seen_s.setdefault((process.pid, host, port), self._now_s)
                is_local = ip_address(host).is_loopback or row.laddr.ip == row.raddr.ip
                found.append(Connection(host, port, self._now_s - at_s, is_local))
        return tuple(found), tuple(ports)

    def _configs(self, process: psutil.Process, arguments: Sequence[str]) -> tuple[Config, ...]:
        folder = _folder(process)
        named = [
            option.value
            for option in options(arguments)
            if option.value.casefold().endswith(_CONFIG_SUFFIXES)
        ]
        found: list[Config] = []
        for name in dict.fromkeys([*named, *self.known.configs_to_read]):
            path = os.path.join(folder, name) if folder else ""
            text = "" if not path or path.startswith("\\\\") else _text(path)
            if text and len(found) < _MOST_CONFIGS:
                found.append(Config(name.replace("\\", "/").rpartition("/")[2], text))
        return tuple(found)


_STARTED_SLACK = 20_000_000
"""Of 100 ns: drivers and psutil read the start from different clocks."""


def _started(process: psutil.Process) -> int:
    """As FILETIME, which is how Windows' drivers tell it; no other system is asked by start."""
    return round(process.create_time() * 1e6) * 10 + _FILETIME_OF_1970


def _arguments(process: psutil.Process) -> tuple[str, ...]:
    import psutil

    try:
        return tuple(process.cmdline())
    except (psutil.Error, OSError):
        return ()


def _path(process: psutil.Process) -> str:
    import psutil

    try:
        return process.exe()
    except (psutil.Error, OSError):
        return ""


def _folder(process: psutil.Process) -> str:
    import psutil

    try:
        return process.cwd()
    except (psutil.Error, OSError):
        return ""


def _plain(host: str) -> str:
    mapped = getattr(ip_address(host.partition("%")[0]), "ipv4_mapped", None)
    return str(mapped or host.partition("%")[0])


def _text(path: str) -> str:
    try:
        if not os.path.isfile(path):
            return ""
        with open(path, "rb") as file:
            return file.read(_CONFIG_BYTES).decode("utf-8", "replace")
    except OSError:
        return ""


if sys.platform == "win32":

    def _is_of_windows(path: str) -> bool:
        """Below the folder of Windows, which the shell names and the environment does not."""
        import ctypes

        buffer = ctypes.create_unicode_buffer(32_768)
        length = ctypes.windll.kernel32.GetSystemWindowsDirectoryW(buffer, len(buffer))
        folder = buffer.value.casefold() + "\\"
        return bool(length) and path.casefold().startswith(folder)

else:

    def _is_of_windows(path: str) -> bool:
        """Nothing is, elsewhere."""
        del path
        return False
