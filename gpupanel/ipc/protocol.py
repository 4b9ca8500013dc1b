"""The one language between clients and the daemon: JSON-RPC 2.0, one message per line.

Pure: bytes in, messages out. The same text travels over a child's stdio (the agent), a Unix
socket or a named pipe (the service). A peer is never trusted to be well-formed: lines have a
size limit, duplicate keys and NaN are refused, nesting cannot exhaust the stack.

Methods (params -> result):

    hello {protocol}                   -> {protocol, version, scope}
    gpus {}                            -> {gpus: [GpuInfo], backends: [{name, state, reason}]}
    history {seconds}                  -> {snapshots: [Snapshot]} oldest first
    policy {}                          -> EffectivePolicy
    limits {}                          -> {limits: {gpu: {minute|hour|day: Account}}}
    note {gpu, text}                   -> {}; a run began or ended: an event of the history
    remembered {}                      -> {gpus: {gpu: [metric]}, since_unix_s, until_unix_s}
    series {gpu, metric, SPAN, points} -> {width_s, points: [[time_unix_s, low, mean, high]]}
    events {SPAN}                      -> {events: [EventRecord], complete} oldest first
    energy {SPAN}                      -> {since_unix_s, gpus: {gpu: {joules, measured_s}}}
    sleep {}                           -> {sleep: {gpu: SleepRecord}}
    explain {pid, started}             -> {judgement: Verdict with its evidence, or null}
    object {pid, started}              -> {}; its user says that this program does not mine
    declare {pid, workload}            -> {}; a worker of the caller's own, checked by the kernel
    holds {}                           -> {holds: [Hold]}
    wishes.get {}                      -> {text}; the service alone: of the caller's own user
    wishes.set {text}                  -> {}; a policy file, which replaces what was there
    subscribe {topic[, interval_s]}    -> {subscription}; topics: snapshots, gpus, policy,
                                          processes, events, holds; each once, and anew with
                                          another interval
    unsubscribe {subscription}         -> {}

SPAN is since_unix_s, until_unix_s; answers hold 1000 points or 500 events at most.

Notifications carry {subscription, ...}: snapshot {snapshot}, gpus {gpus, backends}, policy
{policy}, processes {processes: [ProcessSample], hidden: [reason]}, event {event: EventRecord},
holds {holds: [Hold]}.

Who may ask what of the service is one table, ``service/authorization.py``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import Any, NoReturn

from gpupanel.model.errors import ProtocolError

PROTOCOL_VERSION = 1

MAX_REQUEST_BYTES = 64 * 1024
"""Longest line that a daemon reads."""

MAX_REPLY_BYTES = 16 * 1024 * 1024
"""Longest line that a client reads: an hour of history of eight GPUs."""


MAX_REQUEST_CONTAINERS = 64
"""Most objects and arrays in a request, and so its deepest nesting too."""

_TEXT = re.compile(rb'"(?:[^"\\]|\\.)*+"?', re.DOTALL)
"""A JSON string, or one without an end; never walked twice."""


class ErrorCode(IntEnum):
    """Stable error numbers; the first four are JSON-RPC's own."""

    PARSE = -32700
    INVALID_REQUEST = -32600
    UNKNOWN_METHOD = -32601
    INVALID_PARAMS = -32602
    VERSION = -32000
    DENIED = -32001
    NO_HISTORY = -32002


def request(message_id: int, method: str, params: Mapping[str, Any]) -> dict[str, Any]:
    """A call that wants an answer."""
    return {"jsonrpc": "2.0", "id": message_id, "method": method, "params": dict(params)}


def notification(method: str, params: Mapping[str, Any]) -> dict[str, Any]:
    """A message that wants no answer."""
    return {"jsonrpc": "2.0", "method": method, "params": dict(params)}


def result(message_id: int, value: Mapping[str, Any]) -> dict[str, Any]:
    """The answer to a request that was carried out."""
    return {"jsonrpc": "2.0", "id": message_id, "result": dict(value)}


def error(message_id: int | None, code: ErrorCode, text: str) -> dict[str, Any]:
    """The answer to a request that was not; ``message_id`` is None if it could not be read."""
    return {"jsonrpc": "2.0", "id": message_id, "error": {"code": int(code), "message": text}}


def encode(message: Mapping[str, Any]) -> bytes:
    """One line of UTF-8 that ends with a newline."""
    return json.dumps(message, separators=(",", ":"), allow_nan=False).encode() + b"\n"


class Lines:
    """Cuts a stream of bytes into lines, however the transport split them."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._pending: list[bytes] = []
        self._pending_bytes = 0

    @property
    def is_unfinished(self) -> bool:
        """Whether the beginning of a line is there, and its end is not."""
        return self._pending_bytes > 0

    def feed(self, chunk: bytes) -> list[bytes]:
        """All lines that ``chunk`` completes, oldest first.

        Raises:
            ProtocolError: A line is too long; the stream is then unusable and the connection has
                to be closed.
        """
        first, *others = chunk.split(b"\n")
        self._pending.append(first)
        self._pending_bytes += len(first)
        self._check(self._pending_bytes)
        if not others:
            return []
        *whole, rest = others
        lines = [b"".join(self._pending), *whole]
        self._pending, self._pending_bytes = [rest], len(rest)
        self._check(max(map(len, lines)), len(rest))
        return lines

    def _check(self, *lengths: int) -> None:
        if max(lengths) > self._max_bytes:
            raise ProtocolError(f"a message is longer than {self._max_bytes} bytes")


class Decoder:
    """Cuts a stream of bytes into messages."""

    def __init__(self, max_bytes: int) -> None:
        self._lines = Lines(max_bytes)

    def feed(self, chunk: bytes) -> list[dict[str, Any]]:
        """All messages that ``chunk`` completes, oldest first.

        Raises:
            ProtocolError: A line is too long or is not a JSON object; the stream is then
                unusable and the connection has to be closed.
        """
        return [decode(line) for line in self._lines.feed(chunk)]


def decode_request(line: bytes) -> dict[str, Any]:
    """As ``decode``, of a line that anybody may have written.

    Raises:
        ProtocolError: As ``decode``; or it holds more objects and arrays than any request does,
            which would take far more memory than the line.
    """
    if line.count(b"{") + line.count(b"[") > MAX_REQUEST_CONTAINERS:
        bare = _TEXT.sub(b"", line)
        if bare.count(b"{") + bare.count(b"[") > MAX_REQUEST_CONTAINERS:
            raise ProtocolError(
                f"not a message: more than {MAX_REQUEST_CONTAINERS} objects and arrays in it"
            )
    return decode(line)


def decode(line: bytes) -> dict[str, Any]:
    """The message that a line is.

    Raises:
        ProtocolError: It is not a JSON object of the protocol.
    """
    try:
        # Not bytes: of those, json guesses the encoding.
        text = line.decode()
        message = json.loads(text, object_pairs_hook=_unique_keys, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as reason:
        raise ProtocolError(f"not a message: {reason}") from None
    if not isinstance(message, dict) or message.get("jsonrpc") != "2.0":
        raise ProtocolError('not a message: a JSON object with "jsonrpc": "2.0" was expected')
    return message


def _unique_keys(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return document


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")
