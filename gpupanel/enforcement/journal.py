"""What is held, written down before it is: who comes after a crash lets go of it.

One file of JSON lines, replaced as a whole: the boot first, then one hold a line. Whatever damages
one line leaves the others readable.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpupanel.enforcement.cell import Trace
from gpupanel.files import replace_file
from gpupanel.model.errors import HoldFailed

_VERSION = 1
_MOST_ENTRIES = 256
_MOST_LINE_BYTES = 65_536
_MOST_FILE_BYTES = (_MOST_ENTRIES + 1) * (_MOST_LINE_BYTES + 1)


@dataclass(frozen=True, slots=True)
class Entry:
    """One hold.

    Attributes:
        name: Of its cell.
        trace: What ``restore`` needs.
        resume: What whoever holds wants to know after a restart.
    """

    name: str
    trace: Trace
    resume: Mapping[str, Any]


class Journal:
    """The holds of this boot. One writer; not thread-safe.

    Attributes:
        problem: What of the file could not be read; empty while all is well.
    """

    def __init__(self, path: Path, boot_id: str) -> None:
        """Read what is there.

        Args:
            path: In a folder that exists and that nobody else may write to.
            boot_id: See ``gpupanel.enforcement.restore.boot_id``; what another boot held, it freed.
        """
        self._path = path
        self._boot_id = boot_id
        self._has_swept = False
        self.problem = ""
        self._entries = self._read()

    def write(self, name: str, trace: Trace, resume: Mapping[str, Any]) -> None:
        """Note a hold, or note it anew; on the disk when this returns.

        Raises:
            HoldFailed: It could not be written down: nothing may be held.
        """
        entry = Entry(name, dict(trace), dict(resume))
        if len(_line(entry)) > _MOST_LINE_BYTES:
            raise HoldFailed(f"the note of {name} is longer than {_MOST_LINE_BYTES} bytes")
        entries = {**self._entries, name: entry}
        if len(entries) > _MOST_ENTRIES:
            raise HoldFailed(f"{_MOST_ENTRIES} holds are noted in {self._path} already")
        self._replace(entries)

    def remove(self, name: str) -> None:
        """Forget a hold that ended; one that is not noted is no fault.

        Raises:
            HoldFailed: It is still noted, which does no harm: it is let go of once more.
        """
        if name in self._entries:
            self._replace({key: one for key, one in self._entries.items() if key != name})

    def entries(self) -> tuple[Entry, ...]:
        """All holds that are noted, the oldest first."""
        return tuple(self._entries.values())

    def _replace(self, entries: dict[str, Entry]) -> None:
        head = {"version": _VERSION, "boot": self._boot_id}
        lines = [_text(head), *(_line(entry) for entry in entries.values())]
        try:
            self._sweep()
            replace_file(self._path, b"".join(line + b"\n" for line in lines))
        except OSError as reason:
            raise HoldFailed(f"{self._path} cannot be written: {reason.strerror}") from None
        self._entries = entries

    def _sweep(self) -> None:
        """Remove what a writer left that was killed between two steps."""
        if not self._has_swept:
            for part in self._path.parent.glob(f"{self._path.name}*.part"):
                part.unlink(missing_ok=True)
            self._has_swept = True

    def _read(self) -> dict[str, Entry]:
        try:
            with open(self._path, "rb") as file:
                content = file.read(_MOST_FILE_BYTES)
        except FileNotFoundError:
            return {}
        except OSError as reason:
            self.problem = f"{self._path} cannot be read: {reason.strerror}"
            return {}
        head, *lines = content.split(b"\n")
        if not self._is_of_this_boot(head):
            return {}
        entries = {}
        for number, line in enumerate(lines, start=2):
            entry = _entry(line)
            if entry is not None:
                entries[entry.name] = entry
            elif line:
                self.problem = f"{self._path}:{number}: this hold cannot be read; others are"
        return entries

    def _is_of_this_boot(self, head: bytes) -> bool:
        """A head that is damaged counts as ours: to let go once too often does no harm."""
        try:
            document = json.loads(head)
            return bool(document["boot"] == self._boot_id and document["version"] == _VERSION)
        except (ValueError, TypeError, KeyError, RecursionError):
            self.problem = f"{self._path}:1: it cannot be read of which boot this is"
            return True


def _line(entry: Entry) -> bytes:
    return _text({"name": entry.name, "trace": entry.trace, "resume": entry.resume})


def _text(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, separators=(",", ":"), allow_nan=False).encode()


def _entry(line: bytes) -> Entry | None:
    """None where it is damaged."""
    try:
        document = json.loads(line)
        name, trace, resume = document["name"], document["trace"], document["resume"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    is_whole = isinstance(name, str) and isinstance(trace, dict) and isinstance(resume, dict)
    return Entry(name, trace, resume) if is_whole else None
