"""Files that a process was told to read, opened as it would open them, and with care.

Only regular ones that are its own or everybody's to read, and none on a network's drive, which may
hang.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterator, Sequence

from gpupanel.detection.arguments import options
from gpupanel.detection.reading.facts import Config
from gpupanel.detection.reading.proc_files import read, target

_TABLE_BYTES, _TEXT_BYTES = 2**22, 65_536
_MOST_CONFIGS = 6
_MOST_BESIDE = 4096

_NO_WAIT = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)
"""A pipe in a file's place must not hold us until somebody writes to it."""

_CONFIG_SUFFIXES = (".json", ".txt", ".ini", ".conf", ".cfg", ".toml", ".yaml", ".yml")
_NETWORK_DRIVES = frozenset({"nfs", "nfs4", "cifs", "smb3", "9p", "afs", "ceph", "fuse.sshfs"})

_State = tuple[int, int, int]


class OwnFiles:
    """Reads files through the root and the folder of the process that they belong to."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._network_drives: tuple[str, ...] = ()
        self._beside: dict[_State, tuple[str, ...]] = {}

    def begin_look(self) -> None:
        """See which drives are a network's now."""
        mounts = read(f"{self._root}/self/mounts", _TABLE_BYTES).decode("utf-8", "replace")
        fields = (line.split(" ") for line in mounts.splitlines())
        self._network_drives = tuple(
            f"{one[1]}/" for one in fields if len(one) > 2 and one[2] in _NETWORK_DRIVES
        )

    def is_far(self, path: str) -> bool:
        """Whether asking for it may hang."""
        return path.startswith(self._network_drives)

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
        where = name if name.startswith("/") else f"{target(f'{folder}/cwd')}/"
        if "\0" in name or self.is_far(where):
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
        if self.is_far(f"{target(f'{folder}/cwd')}/"):
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
