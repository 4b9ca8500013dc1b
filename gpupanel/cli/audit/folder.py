"""The files of one audit log, read while a daemon may be writing."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from gpupanel import paths
from gpupanel.model.chain import Record, file_number, unseal

_NONE_YET = "there is no audit log; --user reads that of your own agent"


class Line(NamedTuple):
    """One line of one file.

    Attributes:
        number: From 1.
        content: Without its end.
        is_torn: It is the last of the newest file and has no end.
    """

    file: Path
    number: int
    content: bytes
    is_torn: bool


def chosen(folder: Path | None, *, is_user: bool) -> Path:
    """That which the options name; the service's by default."""
    return folder or (paths.user_audit_dir() if is_user else paths.machine_log_dir())


def files(folder: Path) -> list[Path]:
    """In the order of the chain; at least one.

    Raises:
        OSError: There is none, or it may not be looked for.
    """
    try:
        numbers = {file_number(name): name for name in os.listdir(folder)}
    except FileNotFoundError:
        raise FileNotFoundError(f"{folder}: {_NONE_YET}") from None
    except PermissionError:
        raise PermissionError(f"{folder} may not be read: ask as the administrator") from None
    names = [name for number, name in sorted(_known(numbers))]
    if not names:
        raise FileNotFoundError(f"{folder}: {_NONE_YET}")
    return [folder / name for name in names]


def _known(numbers: dict[int | None, str]) -> Iterator[tuple[int, str]]:
    for number, name in numbers.items():
        if number is not None:
            yield number, name


def lines(folder: Path) -> Iterator[Line]:
    """All lines in the order of the chain.

    Raises:
        OSError: A file cannot be read.
    """
    every = files(folder)
    for path in every:
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                content = line.removesuffix(b"\n")
                is_torn = path == every[-1] and content == line
                yield Line(path, number, content, is_torn)


def records(folder: Path, since_unix_s: float | None) -> Iterator[Record | Line]:
    """The records from a time on, and whatever line is none; a torn one is left out."""
    for line in lines(folder):
        try:
            record = unseal(line.content)
        except ValueError:
            if not line.is_torn:
                yield line
        else:
            if since_unix_s is None or record.time_unix_s >= since_unix_s:
                yield record


def insecure(folder: Path) -> list[tuple[Path, str]]:
    """Who else could have written the folder or a file, and how.

    Above the folder nothing is looked at: distributions let the group of their log daemon write
    into /var/log. On Windows nothing is: the installer sets the access lists.
    """
    if os.name != "posix":
        return []
    own = {0} if folder == paths.machine_log_dir() else {0, folder.stat().st_uid}
    told = ((path, _exposed(path.lstat(), own)) for path in (folder, *files(folder)))
    return [(path, text) for path, text in told if text]


def _exposed(status: os.stat_result, trusted_uids: set[int]) -> str:
    if stat.S_ISLNK(status.st_mode):
        return "is a link: put the files themselves there"
    if status.st_uid not in trusted_uids:
        return f"belongs to uid {status.st_uid}: chown it"
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        mode = f"{stat.S_IMODE(status.st_mode):04o}"
        return f"can be written by group or others (mode {mode}): chmod go-w it"
    return ""
