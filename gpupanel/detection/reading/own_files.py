"""Files that a process was told to read, opened as it would open them, and with care.

Only regular ones that are its own or everybody's to read, and none on a drive that may hang.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from gpupanel.backends.linux.far_drives import FarDrives
from gpupanel.detection.arguments import options
from gpupanel.detection.reading.facts import Config
from gpupanel.detection.reading.proc_files import target

_TEXT_BYTES = 65_536
_MOST_CONFIGS = 6
_MOST_BESIDE = 4096

_NO_WAIT = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)
"""A pipe in a file's place must not hold us until somebody writes to it."""

_CONFIG_SUFFIXES = (".json", ".txt", ".ini", ".conf", ".cfg", ".toml", ".yaml", ".yml")

_State = tuple[int, int, int]


class OwnFiles:
    """Reads files through the root and the folder of the process that they belong to."""

    def __init__(self, root: str) -> None:
        self._far = FarDrives(Path(root))
        self._beside: dict[_State, tuple[str, ...]] = {}

    def begin_look(self) -> None:
        """Drives may have come and gone."""
        self._far.look_again()

    def is_far(self, folder: str, path: str) -> bool:
        """Whether asking for what the process of ``folder`` calls ``path`` may hang."""
        return self._far.has(folder.rpartition("/")[2], path)

    def leads_far(self, folder: str, name: str) -> bool:
        """The same of what it calls ``name`` itself, which may be a link."""
        path = name if name.startswith("/") else f"{target(f'{folder}/cwd')}/{name}"
        return self._far.on_the_way(folder.rpartition("/")[2], path)

    def configs(
        self, folder: str, uid: int, arguments: Sequence[str], wanted: Collection[str]
    ) -> Iterator[Config]:
        """What ``arguments`` name, and what of ``wanted`` lies in the working folder."""
        named = [
            option.value
            for option in options(arguments)
            if option.value.casefold().endswith(_CONFIG_SUFFIXES)
        ]
        count = 0
        for name in dict.fromkeys([*named, *self._beside_it(folder, wanted)]):
            text = self.text(folder, name, uid)
            if text:
                yield Config(name.replace("\\", "/").rpartition("/")[2], text)
                count += 1
            if count == _MOST_CONFIGS:
                return

    def text(self, folder: str, name: str, uid: int) -> str:
        """Of what the process whose ``folder`` it is calls ``name``; empty for all else."""
        if "\0" in name or self.leads_far(folder, name):
            return ""
        try:
            descriptor = os.open(inside(folder, name), os.O_RDONLY | _NO_WAIT)
        except OSError:
            return ""
        try:
            status = os.fstat(descriptor)
            is_its_own = status.st_uid == uid or status.st_mode & stat.S_IROTH
            if not stat.S_ISREG(status.st_mode) or not is_its_own:
                return ""
            return os.read(descriptor, _TEXT_BYTES).decode("utf-8", "replace")
        except OSError:
            return ""
        finally:
            os.close(descriptor)

    def _beside_it(self, folder: str, wanted: Collection[str]) -> tuple[str, ...]:
        """Looked for anew only where something was put into the folder or taken out of it."""
        if self.is_far(folder, f"{target(f'{folder}/cwd')}/"):
            return ()
        try:
            found = os.stat(f"{folder}/cwd")
        except OSError:
            return ()
        state = found.st_dev, found.st_ino, found.st_mtime_ns
        if state not in self._beside:
            if len(self._beside) >= _MOST_BESIDE:
                self._beside.clear()
            names = tuple(name for name in wanted if os.path.lexists(inside(folder, name)))
            self._beside[state] = names
        return self._beside[state]


def inside(folder: str, name: str) -> str:
    """Where a process finds what it calls ``name``."""
    return f"{folder}/root{name}" if name.startswith("/") else f"{folder}/cwd/{name}"
