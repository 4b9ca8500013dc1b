"""Files below ``/proc``, each read in one go; whoever is gone or forbidden is empty.

Nothing here follows what another process wrote: links are read and not opened.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

MOST_DESCRIPTORS = 1024
_BLOCK_BYTES = 2**18

_PARENT_FIELD, _STARTED_FIELD = 4 - 3, 22 - 3
"""Of ``/proc/PID/stat``, counted from the first field after the name."""


@dataclass(frozen=True, slots=True)
class Status:
    """What ``/proc/PID/stat`` says."""

    name: str
    parent: int
    started: int


def status(folder: str) -> Status | None:
    """None where the process is gone."""
    before, _, after = read(f"{folder}/stat", 4096).rpartition(b")")
    fields = after.split()
    try:
        name = before.partition(b"(")[2].decode("utf-8", "replace")
        return Status(name, int(fields[_PARENT_FIELD]), int(fields[_STARTED_FIELD]))
    except (ValueError, IndexError):
        return None


def owner(folder: str) -> int | None:
    """The folder's: the files in it belong to root where a program allows no dumps."""
    try:
        return os.stat(folder).st_uid
    except OSError:
        return None


def target(link: str) -> str:
    """Where a link leads; empty where there is none or no right to ask."""
    try:
        return os.readlink(link)
    except (OSError, ValueError):
        return ""


def descriptors(folder: str) -> list[str]:
    """The numbers of what the process has open."""
    try:
        return os.listdir(f"{folder}/fd")[:MOST_DESCRIPTORS]
    except OSError:
        return []


def links(folder: str, numbers: Sequence[str]) -> tuple[str, ...]:
    """Where descriptors lead, without devices."""
    found = (target(f"{folder}/fd/{number}") for number in numbers)
    return tuple(one for one in found if one and not one.startswith("/dev/"))


def children(folder: str, most: int) -> Iterator[int]:
    """Of all threads: the kernel keeps a child with the thread that started it."""
    try:
        threads = os.listdir(f"{folder}/task")[:most]
    except OSError:
        return
    for thread in threads:
        for word in read(f"{folder}/task/{thread}/children", 4096).split()[:most]:
            if word.isdigit():
                yield int(word)


def read(path: str, most_bytes: int) -> bytes:
    """Up to so many bytes; empty where there is nothing to read or no right to."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return b""
    blocks: list[bytes] = []
    try:
        while most_bytes > 0 and (block := os.read(descriptor, min(most_bytes, _BLOCK_BYTES))):
            blocks.append(block)
            most_bytes -= len(block)
    except OSError:
        return b""  # it ended meanwhile
    finally:
        os.close(descriptor)
    return b"".join(blocks)
