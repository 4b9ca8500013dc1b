"""How many bytes went over a connection so far, as the kernel counts them. Nothing is sniffed.

One question to ``NETLINK_SOCK_DIAG`` per connection (``linux/inet_diag.h``, ``struct tcp_info`` of
``linux/tcp.h``), which needs no right. It answers for this network's connections alone: those of a
container stay unknown.
"""

from __future__ import annotations

import socket
import struct
import sys
from ipaddress import ip_address

from gpupanel.detection.reading.tables import Socket

_SOCK_DIAG, _BY_FAMILY, _REQUEST = 4, 20, 1
_WITH_INFO, _INFO = 1 << 1, 2
_ALL_STATES = 0xFFFFFFFF
_ANY_COOKIE = b"\xff" * 8
_HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
_ANSWER_BYTES, _INODE_AT = 72, 68
_ACKED_AT = 120
"""Of ``tcpi_bytes_acked`` in ``tcp_info``; ``tcpi_bytes_received`` follows it. Since Linux 4.1."""


def question(one: Socket) -> bytes:
    """The message that asks for one established connection."""
    here, there = ip_address(one.local_host), ip_address(one.host)
    family = socket.AF_INET if there.version == 4 else socket.AF_INET6
    ports = struct.pack(">HH", one.local_port, one.port)
    hosts = here.packed.ljust(16, b"\0") + there.packed.ljust(16, b"\0")
    asked = struct.pack("=BBBBI", family, socket.IPPROTO_TCP, _WITH_INFO, 0, _ALL_STATES)
    body = asked + ports + hosts + struct.pack("=I", 0) + _ANY_COOKIE
    return _HEADER.pack(_HEADER.size + len(body), _BY_FAMILY, _REQUEST, 1, 0) + body


def counted(answer: bytes, inode: int) -> int | None:
    """Bytes both ways; None where the answer is an error, too short, or another connection's."""
    if len(answer) < _HEADER.size + _ANSWER_BYTES:
        return None
    length, kind, *_ = _HEADER.unpack_from(answer)
    body = answer[_HEADER.size : length]
    if kind != _BY_FAMILY or len(body) < _ANSWER_BYTES:
        return None
    if int.from_bytes(body[_INODE_AT:_ANSWER_BYTES], sys.byteorder) != inode:
        return None
    place = _ANSWER_BYTES
    while place + _ATTRIBUTE.size <= len(body):
        size, attribute = _ATTRIBUTE.unpack_from(body, place)
        if size < _ATTRIBUTE.size:
            return None
        information = body[place + _ATTRIBUTE.size : place + size]
        if attribute == _INFO and len(information) >= _ACKED_AT + 16:
            return int(sum(struct.unpack_from("=QQ", information, _ACKED_AT)))
        place += (size + 3) & ~3
    return None


if sys.platform == "linux":

    def bytes_of(one: Socket) -> int | None:
        """None where the kernel does not tell."""
        try:
            with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _SOCK_DIAG) as kernel:
                kernel.settimeout(0)
                kernel.sendto(question(one), (0, 0))
                return counted(kernel.recv(4096), one.inode)
        except OSError:
            return None

else:

    def bytes_of(one: Socket) -> int | None:
        """Nowhere else."""
        del one
        return None
