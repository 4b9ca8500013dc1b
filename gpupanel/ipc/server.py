"""The serving end of a connection: requests in, answers and notifications out.

Knows the protocol and nothing of GPUs: the daemon hands in its methods. A client that does not
read, does not finish or asks too much waits or is dropped, and never holds up the daemon.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any

from gpupanel.ipc import protocol
from gpupanel.ipc.limits import BYTES_PER_TOKEN, CPU_S_PER_TOKEN, PARENT, Account
from gpupanel.ipc.outbox import Outbox
from gpupanel.ipc.protocol import ErrorCode
from gpupanel.ipc.transport import Peer, Stream
from gpupanel.model.errors import (
    HistoryRefused,
    ObjectionRefused,
    PolicyInvalid,
    ProtocolError,
    RequestDenied,
)

Method = Callable[[Mapping[str, Any]], Mapping[str, Any]]
"""Takes params; raises KeyError, TypeError or ValueError when they are wrong, HistoryRefused when
there is nothing to answer from, ObjectionRefused when policy does not let a user object,
RequestDenied when the caller may not, PolicyInvalid when a policy in them is refused."""

_REFUSALS: Mapping[type[Exception], ErrorCode] = {
    RequestDenied: ErrorCode.DENIED,
    ProtocolError: ErrorCode.VERSION,
    HistoryRefused: ErrorCode.NO_HISTORY,
    ObjectionRefused: ErrorCode.DENIED,
    PolicyInvalid: ErrorCode.INVALID_PARAMS,
}
"""The first class that fits decides."""

EARLY_S = 0.05
"""A tick that comes this much before a subscription is due still counts as its tick."""

OUTGOING_GRACE_S = 0.2


@dataclass(slots=True)
class Subscription:
    """What a client wants to be told.

    Attributes:
        interval_s: At most one notification in this time; 0 for each.
    """

    number: int
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
    """One client over one stream.

    Attributes:
        peer: Who it is.
    """

    def __init__(
        self,
        stream: Stream,
        peer: Peer,
        methods: Mapping[str, Method],
        topics: AbstractSet[str],
        account: Account | None = None,
    ) -> None:
        """Answer nothing yet.

        Args:
            stream: To the client.
            peer: Who the client is.
            methods: What it may ask; whatever is refused to it refuses by itself.
            topics: What it may subscribe to, each once.
            account: What its user has taken; None for a parent's.
        """
        self.peer = peer
        self._stream = stream
        self._methods = {
            **methods,
            "subscribe": self._subscribe,
            "unsubscribe": self._unsubscribe,
        }
        self._topics = topics
        self._account = account or Account(PARENT)
        self._outbox = Outbox(self._account)
        self._numbers = itertools.count(1)
        self._subscriptions: dict[str, Subscription] = {}
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._has_greeted = False
        self._cpu_s = 0.0

    def serve(self) -> None:
        """Answer until the client closes its end, breaks the protocol, or is closed."""
        writer = threading.Thread(target=self._write, name="ipc-writer", daemon=True)
        writer.start()
        try:
            self._answer_all()
        except ProtocolError as reason:
            self._outbox.reply(protocol.encode(protocol.error(None, ErrorCode.PARSE, str(reason))))
        except OSError:
            pass  # the client is gone, or fell silent in the middle
        finally:
            self._outbox.close()
            writer.join(OUTGOING_GRACE_S)
            self.close()
            writer.join(OUTGOING_GRACE_S)

    def close(self) -> None:
        """End the connection, from any thread."""
        self._over.set()
        self._outbox.discard()
        self._account.wake()
        self._stream.abort()

    def publish(self, topic: str, method: str, params: Mapping[str, Any]) -> None:
        """Tell this client if it asked for ``topic`` and its interval is over."""
        with self._lock:
            subscription = self._subscriptions.get(topic)
            if subscription is None or not subscription.due(time.monotonic()):
                return
        told = {"subscription": subscription.number, **params}
        self._outbox.notify(protocol.encode(protocol.notification(method, told)))

    def shortest_interval_s(self, topic: str) -> float | None:
        """How often the client wants ``topic``; None while it does not."""
        with self._lock:
            subscription = self._subscriptions.get(topic)
        return None if subscription is None else subscription.interval_s

    def _answer_all(self) -> None:
        """Line by line, each after its user has paid for those before."""
        limits = self._account.limits
        self._cpu_s = time.thread_time()
        lines = protocol.Lines(protocol.MAX_REQUEST_BYTES)
        deadline_s = _in(limits.hello_s)
        while chunk := self._stream.receive(_left(deadline_s)):
            was_unfinished = lines.is_unfinished
            complete = lines.feed(chunk)
            for line in complete:
                self._answer_line(line)
                if self._over.is_set():
                    return
            if not complete:
                self._pay(0.0)
            if not self._has_greeted:
                continue
            if not lines.is_unfinished:
                deadline_s = None
            elif complete or not was_unfinished:
                deadline_s = _in(limits.line_s)

    def _answer_line(self, line: bytes) -> None:
        account = self._account
        account.wait_until_read(self._over.is_set)
        with account.turn():
            reply = self._encoded(self._answer(protocol.decode_request(line)))
            self._outbox.reply(reply)
        self._pay(1.0 + len(reply) / BYTES_PER_TOKEN)

    def _pay(self, tokens: float) -> None:
        """Charge ``tokens`` and this thread's time, and pause while the user owes."""
        cpu_s = time.thread_time()
        tokens += (cpu_s - self._cpu_s) / CPU_S_PER_TOKEN
        self._cpu_s = cpu_s
        pause_s = self._account.charge(tokens)
        if pause_s:
            self._over.wait(pause_s)

    def _answer(self, message: Mapping[str, Any]) -> Mapping[str, Any]:
        number, name = message.get("id"), message.get("method")
        params = message.get("params", {})
        is_number = isinstance(number, int) and not isinstance(number, bool)
        if not is_number or not isinstance(name, str) or not isinstance(params, dict):
            return protocol.error(
                None, ErrorCode.INVALID_REQUEST,
                "a request has an integer id, a method and an object params",
            )  # fmt: skip
        assert isinstance(number, int)
        method = self._methods.get(name)
        if method is None:
            return protocol.error(
                number, ErrorCode.UNKNOWN_METHOD, f"there is no method {name[:80]}"
            )
        if self._account.limits.hello_s and not self._has_greeted and name != "hello":
            return protocol.error(number, ErrorCode.VERSION, "say hello first")
        try:
            value = method(params)
        except tuple(_REFUSALS) as reason:
            code = next(code for kind, code in _REFUSALS.items() if isinstance(reason, kind))
            return protocol.error(number, code, str(reason))
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as reason:
            return protocol.error(number, ErrorCode.INVALID_PARAMS, f"{name}: {reason!r}")
        self._has_greeted = self._has_greeted or name == "hello"
        return protocol.result(number, value)

    def _subscribe(self, params: Mapping[str, Any]) -> Mapping[str, Any]:
        """Another one of the same topic takes the place of the one before."""
        topic = params["topic"]
        if topic not in self._topics:
            raise ValueError(f"topic is one of {sorted(self._topics)}")
        interval_s = float(params.get("interval_s", 0.0))
        if not 0 <= interval_s <= 3600:
            raise ValueError("interval_s is 0 to 3600")
        with self._lock:
            number = next(self._numbers)
            self._subscriptions[topic] = Subscription(number, interval_s)
        return {"subscription": number}

    def _unsubscribe(self, params: Mapping[str, Any]) -> Mapping[str, Any]:
        number = params["subscription"]
        with self._lock:
            (topic,) = [key for key, one in self._subscriptions.items() if one.number == number]
            del self._subscriptions[topic]
        return {}

    def _encoded(self, message: Mapping[str, Any]) -> bytes:
        """One line, no longer than this kind of client may be sent."""
        line = protocol.encode(message)
        most = self._account.limits.reply_bytes
        if len(line) <= most:
            return line
        text = f"the answer is longer than {most >> 20} MiB: ask for less"
        return protocol.encode(protocol.error(message["id"], ErrorCode.INVALID_PARAMS, text))

    def _write(self) -> None:
        try:
            while (line := self._outbox.next()) is not None:
                self._stream.send(line)
        except OSError:
            self.close()  # the client is gone, or takes nothing any more


def _in(seconds: float | None) -> float | None:
    return None if seconds is None else time.monotonic() + seconds


def _left(deadline_s: float | None) -> float | None:
    return None if deadline_s is None else max(0.0, deadline_s - time.monotonic())
