"""The kernel's tables of connections and memory, parsed. Pure: bytes in, values out.

Whatever is not of the documented form is left out: a row that cannot be read is no reason to see
none of the others.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

_ESTABLISHED, _LISTEN = 0x01, 0x0A
_MOST_ROWS = 65_536

_ROW = re.compile(
    rb"^ *[0-9]+: ([0-9A-F]{8}|[0-9A-F]{32}):([0-9A-F]{4}) ([0-9A-F]{8}|[0-9A-F]{32}):([0-9A-F]{4})"
    rb" ([0-9A-F]{2}) [^ ]+ [^ ]+ +[^ ]+ +[0-9]+ +[0-9]+ ([0-9]{1,20})(?: |$)",
    re.MULTILINE,
)
_SOCKET = re.compile(r"socket:\[([0-9]{1,20})\]")
_MAPPED = re.compile(
    rb"^[0-9a-f]+-[0-9a-f]+ ..x. [0-9a-f]+ [^ ]+ ([0-9]{1,20}) +(/[^\n]*)$", re.MULTILINE
)


@dataclass(frozen=True, slots=True)
class Socket:
    """One row of ``/proc/net/tcp`` or ``tcp6``.

    Attributes:
        host: The other end as text, IPv4 also where it is written as IPv6.
        is_local: Both ends are this host.
        local_host: This end, as it is bound.
    """

    inode: int
    local_port: int
    host: str
    port: int
    is_listening: bool
    is_local: bool
    local_host: str = ""


def sockets(table: bytes) -> Iterator[Socket]:
    """Established connections and listening ports."""
    for row, match in enumerate(_ROW.finditer(table)):
        if row >= _MOST_ROWS:
            return
        local, local_port, remote, port, state, inode = match.groups()
        if int(state, 16) not in (_ESTABLISHED, _LISTEN):
            continue
        here, there = _address(local), _address(remote)
        yield Socket(
            int(inode), int(local_port, 16), str(there), int(port, 16),
            int(state, 16) == _LISTEN, there.is_loopback or here == there, str(here),
        )  # fmt: skip


def socket_inode(link: str) -> int | None:
    """Of the target of a descriptor; None where it leads to no socket."""
    match = _SOCKET.fullmatch(link)
    return int(match[1]) if match else None


def mapped_names(table: bytes) -> frozenset[str]:
    """Names of the libraries in ``/proc/PID/maps``: of files that are mapped to be executed."""
    paths = (path for path, _ in mapped_files(table))
    return frozenset(path.removesuffix(" (deleted)").rpartition("/")[2] for path in paths)


def mapped_files(table: bytes) -> set[tuple[str, int]]:
    """Path and inode of each of those files; of one that was removed, the path says so."""
    found = _MAPPED.findall(table)
    return {(path.decode("utf-8", "replace"), int(inode)) for inode, path in found}


def words(table: bytes) -> tuple[str, ...]:
    """A command line as ``/proc/PID/cmdline`` holds it.

    A program may write over it, and then it is one text with spaces.
    """
    parts = table.rstrip(b"\0").split(b"\0")
    if len(parts) == 1:
        parts = parts[0].split(b" ")
    return tuple(part.decode("utf-8", "replace") for part in parts if part)


def _address(digits: bytes) -> IPv4Address | IPv6Address:
    """Words of 32 bits in the processor's order, which is little-endian wherever a GPU is."""
    raw = bytes.fromhex(digits.decode("ascii"))
    swapped = b"".join(raw[place : place + 4][::-1] for place in range(0, len(raw), 4))
    if len(swapped) == 4:
        return IPv4Address(swapped)
    address = IPv6Address(swapped)
    return address.ipv4_mapped or address
