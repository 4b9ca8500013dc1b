"""The hash rate that a miner tells of itself, through its API on this machine.

It is a hint for a trim of the cap and no more: the miner may lie, and one that is held does not
answer. Asked are ports of the loopback that the process itself listens on, and only with requests
that change nothing. Never call this on the thread that holds and lets go: it waits.

The APIs are those of T-Rex (``/summary``), XMRig (``/2/summary``), lolMiner (``/``) and of cgminer
and its descendants (``summary`` over TCP), as their READMEs and documents describe them.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Any

from gpupanel.model.gpu import Reading, Unavailable

ANSWER_S = 0.3
"""For one question; a miner on this machine answers in a few milliseconds."""

_MOST_BYTES = 65536
_MOST_HASH_PER_S = 1e18
"""More than the largest pools have; no GPU comes near."""

_MOST_PORTS = 8
_CGMINER_PORTS = frozenset({4028, 4029})
_HASHES_BY_UNIT: Mapping[str, float] = {"": 1.0, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}


class _NotTold(Exception):
    """What answers tells no rate that is understood."""


class _Silent(_NotTold):
    """Nothing answers in time: no use to ask again."""


def reported_rate(pid: int, ports: Collection[int]) -> Reading:
    """Hashes per second as the process tells them.

    Args:
        pid: Whose word is asked for.
        ports: That the process listens on now, as its own descriptors say; only the first few are
            asked.
    """
    if not ports:
        return Unavailable("it listens on no port")
    if not _is_on_our_network(pid):
        return Unavailable("it runs in a network of its own, a container, or cannot be seen")
    reason = ""
    for port in sorted(ports)[:_MOST_PORTS]:
        for question in _CGMINERS if port in _CGMINER_PORTS else _PAGES:
            try:
                return question(port)
            except _NotTold as why:
                reason = f"port {port}: {why}"
                if isinstance(why, _Silent):
                    break
    return Unavailable(reason)


def _of_trex(answer: Any) -> float:  # noqa: ANN401 - JSON
    return _rate(_at(answer, "hashrate"))


def _of_xmrig(answer: Any) -> float:  # noqa: ANN401 - JSON
    """Of ten seconds, a minute, a quarter of an hour; null where it is younger."""
    return _rate(_at(answer, "hashrate", "total", 0))


def _of_lolminer(answer: Any) -> float:  # noqa: ANN401 - JSON
    """Of its first algorithm: a factor, or a unit like ``Mh/s``, goes with the number."""
    algorithm = _at(answer, "Algorithms", 0)
    factor = algorithm.get("Performance_Factor") if isinstance(algorithm, dict) else None
    if factor is None:
        unit = str(_at(algorithm, "Performance_Unit")).upper()
        factor = _HASHES_BY_UNIT.get(unit.removesuffix("/S").removesuffix("H"))
    return _rate(_rate(_at(algorithm, "Total_Performance")) * _rate(factor))


def _asked_for_page(path: str, rate_of: Callable[[Any], float], port: int) -> float:
    return rate_of(_fetched(port, path))


def _asked_as_cgminer(port: int) -> float:
    """The rate of the last seconds; its key names how many: ``MHS 5s``, ``KHS 30s``."""
    text = _exchanged(port, b'{"command":"summary"}', lambda received: received.endswith(b"\0"))
    summary = _at(_parsed(text.rstrip(b"\0")), "SUMMARY", 0)
    for key, value in summary.items() if isinstance(summary, dict) else ():
        unit, _, span = str(key).partition(" ")
        factor = _HASHES_BY_UNIT.get(unit.upper().removesuffix("HS"))
        if unit.upper().endswith("HS") and factor and span.endswith("s") and span[:-1].isdecimal():
            return _rate(_rate(value) * factor)
    raise _NotTold("it tells no rate")


_PAGES: tuple[Callable[[int], float], ...] = (
    partial(_asked_for_page, "/summary", _of_trex),
    partial(_asked_for_page, "/2/summary", _of_xmrig),
    partial(_asked_for_page, "/", _of_lolminer),
)
_CGMINERS: tuple[Callable[[int], float], ...] = (_asked_as_cgminer,)


def _at(document: Any, *path: str | int) -> Any:  # noqa: ANN401 - JSON
    for step in path:
        fits = isinstance(document, dict if isinstance(step, str) else list)
        try:
            document = document[step] if fits else None
        except (KeyError, IndexError):
            document = None
    return document


def _rate(value: Any) -> float:  # noqa: ANN401 - JSON
    """A number that a rate can be; digits in quotes are one too, as cgminer's descendants write."""
    if isinstance(value, str) and len(value) <= 32:
        try:
            value = float(value)
        except ValueError:
            value = None
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not 0 <= value <= _MOST_HASH_PER_S:  # NaN is neither
        raise _NotTold("it tells no rate")
    return float(value)


def _fetched(port: int, path: str) -> Any:  # noqa: ANN401 - JSON
    request = f"GET {path} HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n"
    head, found, body = _exchanged(port, request.encode(), _is_whole).partition(b"\r\n\r\n")
    status = head.split(b"\r\n", 1)[0].split(b" ")
    if not found or not status[0].startswith(b"HTTP/1.") or status[1:2] != [b"200"]:
        raise _NotTold("what answers is no miner's page")
    return _parsed(body)


def _is_whole(received: bytes) -> bool:
    """Whether as much came as was announced; without an announcement the end of it tells."""
    head, found, body = received.partition(b"\r\n\r\n")
    for line in head.lower().split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name == b"content-length" and value.strip().isdigit():
            return bool(found) and len(body) >= int(value.strip()[:9])
    return False


def _exchanged(port: int, request: bytes, is_whole: Callable[[bytes], bool]) -> bytes:
    """Send, and receive until it is whole or its sender is done; both within ANSWER_S."""
    until_s = time.monotonic() + ANSWER_S
    received = b""
    try:
        with socket.create_connection(("127.0.0.1", port), ANSWER_S) as connection:
            connection.sendall(request)
            while not is_whole(received):
                left_s = until_s - time.monotonic()
                if left_s <= 0 or len(received) > _MOST_BYTES:
                    raise _Silent("its answer does not end")
                connection.settimeout(left_s)
                piece = connection.recv(_MOST_BYTES)
                if not piece:
                    break
                received += piece
    except OSError as error:
        raise _Silent(f"it does not answer ({error})") from error
    return received


def _parsed(text: bytes) -> Any:  # noqa: ANN401 - JSON
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _NotTold("its answer is no JSON") from error


def _is_on_our_network(pid: int) -> bool:
    """The same port of a container is somebody else's."""
    is_ours = True
    if sys.platform != "win32":
        try:
            is_ours = os.readlink(f"/proc/{pid}/ns/net") == os.readlink("/proc/self/ns/net")
        except OSError:
            is_ours = False
    return is_ours
