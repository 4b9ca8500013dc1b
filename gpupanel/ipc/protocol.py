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
    subscribe {topic[, interval_s]}    -> {subscription}; topics: snapshots, gpus, policy,
                                          processes, events
    unsubscribe {subscription}         -> {}

SPAN is since_unix_s, until_unix_s; answers hold 1000 points or 500 events at most.

Notifications carry {subscription, ...}: snapshot {snapshot}, gpus {gpus, backends}, policy
{policy}, processes {processes: [ProcessSample], hidden: [reason]}, event {event: EventRecord}.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import Any, NoReturn

from gpupanel.model.errors import ProtocolError

PROTOCOL_VERSION = 1

MAX_REQUEST_BYTES = 64 * 1024
"""Longest line that a daemon reads."""

MAX_REPLY_BYTES = 16 * 1024 * 1024
"""Longest line that a client reads: an hour of history of eight GPUs."""


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


class Decoder:
    """Cuts a stream of bytes into messages, however the transport split them."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._pending = bytearray()

    def feed(self, chunk: bytes) -> list[dict[str, Any]]:
        """All messages that ``chunk`` completes, oldest first.

        Raises:
            ProtocolError: A line is too long or is not a JSON object; the stream is then
                unusable and the connection has to be closed.
        """
        self._pending += chunk
        *lines, rest = self._pending.split(b"\n")
        self._pending = bytearray(rest)
        if any(len(line) > self._max_bytes for line in (*lines, rest)):
            raise ProtocolError(f"a message is longer than {self._max_bytes} bytes")
        return [_decode(bytes(line)) for line in lines if line.strip()]


def _decode(line: bytes) -> dict[str, Any]:
    try:
        message = json.loads(line, object_pairs_hook=_unique_keys, parse_constant=_refuse_constant)
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
