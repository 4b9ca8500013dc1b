"""The serving end of a connection: requests in, answers and notifications out.

Knows the protocol and nothing of GPUs: the daemon hands in its methods. A client that does not
read loses its oldest notifications, never holds up the daemon.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import IO, Any

from gpupanel.ipc import protocol
from gpupanel.ipc.protocol import ErrorCode
from gpupanel.model.errors import HistoryRefused, ObjectionRefused, ProtocolError

Method = Callable[[Mapping[str, Any]], Mapping[str, Any]]
"""Takes params; raises KeyError, TypeError or ValueError when they are wrong, HistoryRefused when
there is nothing to answer from, ObjectionRefused when policy does not let a user object."""

_REFUSALS: Mapping[type[Exception], ErrorCode] = {
    ProtocolError: ErrorCode.VERSION,
    HistoryRefused: ErrorCode.NO_HISTORY,
    ObjectionRefused: ErrorCode.DENIED,
}

MAX_WAITING_MESSAGES = 256
EARLY_S = 0.05
"""A tick that comes this much before a subscription is due still counts as its tick."""

OUTGOING_GRACE_S = 0.2


@dataclass(slots=True)
class Subscription:
    """What a client wants to be told.

    Attributes:
        interval_s: At most one notification in this time; 0 for each.
    """

    topic: str
    interval_s: float
    next_due_s: float = 0.0

    def due(self, now_s: float) -> bool:
        """Whether to tell now; keeps to the grid of its interval, and starts one after a gap."""
        if now_s < self.next_due_s - EARLY_S:
            return False
        late = now_s > self.next_due_s + self.interval_s
        self.next_due_s = (now_s if late else self.next_due_s) + self.interval_s
        return True


class Connection:
    """One client over one pair of byte streams."""

    def __init__(
        self, reader: IO[bytes], writer: IO[bytes], methods: Mapping[str, Method], topics: set[str]
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._methods = {
            **methods,
            "subscribe": self._subscribe,
            "unsubscribe": self._unsubscribe,
        }
        self._topics = topics
        self._numbers = itertools.count(1)
        self._subscriptions: dict[int, Subscription] = {}
        self._lock = threading.Lock()
        self._outgoing: deque[bytes] = deque(maxlen=MAX_WAITING_MESSAGES)
        self._wake = threading.Condition()
        self._closed = False

    def serve(self) -> None:
        """Answer until the client closes its end or breaks the protocol."""
        writer = threading.Thread(target=self._write, name="ipc-writer", daemon=True)
        writer.start()
        decoder = protocol.Decoder(protocol.MAX_REQUEST_BYTES)
        try:
            while chunk := self._reader.read1(65536):  # type: ignore[attr-defined]
                for message in decoder.feed(chunk):
                    self._send(self._answer(message))
        except ProtocolError as reason:
            self._send(protocol.error(None, ErrorCode.PARSE, str(reason)))
        with self._wake:
            self._closed = True
            self._wake.notify()
        writer.join(OUTGOING_GRACE_S)

    def publish(self, topic: str, method: str, params: Mapping[str, Any]) -> None:
        """Tell this client if it asked for ``topic`` and its interval is over."""
        now_s = time.monotonic()
        with self._lock:
            due = [
                number
                for number, subscription in self._subscriptions.items()
                if subscription.topic == topic and subscription.due(now_s)
            ]
        for number in due:
            self._send(protocol.notification(method, {"subscription": number, **params}))

    def shortest_interval_s(self, topic: str) -> float | None:
        """How often somebody wants ``topic``; None while nobody does."""
        with self._lock:
            intervals = [s.interval_s for s in self._subscriptions.values() if s.topic == topic]
        return min(intervals, default=None)

    def _answer(self, message: Mapping[str, Any]) -> Mapping[str, Any]:
        number, name = message.get("id"), message.get("method")
        params = message.get("params", {})
        if not isinstance(number, int) or not isinstance(params, dict):
            return protocol.error(
                None, ErrorCode.INVALID_REQUEST, "a request has an integer id and an object params"
            )
        method = self._methods.get(str(name))
        if method is None:
            return protocol.error(number, ErrorCode.UNKNOWN_METHOD, f"there is no method {name}")
        try:
            return protocol.result(number, method(params))
        except tuple(_REFUSALS) as reason:
            return protocol.error(number, _REFUSALS[type(reason)], str(reason))
        except (KeyError, TypeError, ValueError) as reason:
            return protocol.error(number, ErrorCode.INVALID_PARAMS, f"{name}: {reason!r}")

    def _subscribe(self, params: Mapping[str, Any]) -> Mapping[str, Any]:
        topic = params["topic"]
        if topic not in self._topics:
            raise ValueError(f"topic is one of {sorted(self._topics)}")
        interval_s = float(params.get("interval_s", 0.0))
        if not 0 <= interval_s <= 3600:
            raise ValueError("interval_s is 0 to 3600")
        with self._lock:
            number = next(self._numbers)
            self._subscriptions[number] = Subscription(topic, interval_s)
        return {"subscription": number}

    def _unsubscribe(self, params: Mapping[str, Any]) -> Mapping[str, Any]:
        with self._lock:
            del self._subscriptions[params["subscription"]]
        return {}

    def _send(self, message: Mapping[str, Any]) -> None:
        with self._wake:
            self._outgoing.append(protocol.encode(message))
            self._wake.notify()

    def _write(self) -> None:
        while True:
            with self._wake:
                while not self._outgoing and not self._closed:
                    self._wake.wait()
                if not self._outgoing:
                    return
                line = self._outgoing.popleft()
            try:
                self._writer.write(line)
                self._writer.flush()
            except OSError:
                return  # the client is gone; its end of our reader says so too
