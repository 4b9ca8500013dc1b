"""The asking end: a blocking client of the service, or of an agent where there is no service.

For programs without an event loop (gpupanelctl). The window speaks the same protocol through its
own event loop in ``ui/link.py``.
"""

from __future__ import annotations

import itertools
import subprocess
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from gpupanel import children
from gpupanel.ipc import protocol, reach
from gpupanel.ipc.transport import READ_BYTES, Endpoint, Service, installed_service
from gpupanel.model.closing import Closing
from gpupanel.model.errors import ProtocolError, ServiceUnreachable

CLOSE_GRACE_S = 1.0

ANSWER_S = 30.0
"""The service may let a user wait who asked much."""


class AgentLine:
    """An agent that is started for its user and ends with it."""

    def __init__(self) -> None:
        self._agent = subprocess.Popen(
            # A command takes a look; the history is the window's to write.
            [*children.command("agent"), "--forget"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._agent.stdin is not None
        assert self._agent.stdout is not None
        self._to_agent = self._agent.stdin
        self._from_agent = self._agent.stdout

    def receive(self, timeout_s: float | None) -> bytes:
        """As ``Stream``; never times out."""
        del timeout_s
        chunk: bytes = self._from_agent.read1(READ_BYTES)  # type: ignore[attr-defined]
        return chunk

    def send(self, line: bytes) -> None:
        """As ``Stream``."""
        self._to_agent.write(line)
        self._to_agent.flush()

    def abort(self) -> None:
        """As ``Stream``."""
        self._agent.kill()

    def close(self) -> None:
        """End the agent."""
        with suppress(BrokenPipeError):
            self._to_agent.close()
        try:
            self._agent.wait(CLOSE_GRACE_S)
        except subprocess.TimeoutExpired:
            self._agent.kill()
            self._agent.wait()
        self._from_agent.close()


class Client(Closing):
    """A conversation with the service, or with an agent of its own where there is none.

    Use as a context manager.

    Attributes:
        endpoint: By which door it came; PARENT for an agent.
        hello: What the other end says it is.
    """

    def __init__(self, service: Service | None = None) -> None:
        """Connect, or start an agent; and greet it.

        Args:
            service: Where to look for one; None for this machine's.

        Raises:
            ServiceUnreachable: Who answers is not the service; or the agent did not start, or
                speaks another version.
            ProtocolError: The service refuses this user, which it explains.
        """
        self._numbers = itertools.count(1)
        self._decoder = protocol.Decoder(protocol.MAX_REPLY_BYTES)
        self._incoming: deque[dict[str, Any]] = deque()
        self._notifications: deque[dict[str, Any]] = deque()
        self._line, self.endpoint = reach.connect(service or installed_service()) or (
            AgentLine(),
            Endpoint.PARENT,
        )
        try:
            self.hello = self.call("hello", {"protocol": protocol.PROTOCOL_VERSION})
        except ProtocolError:
            self.close()
            raise

    @property
    def is_service(self) -> bool:
        """Whether the service answers, and no agent of our own."""
        return self.endpoint is not Endpoint.PARENT

    @property
    def scope(self) -> str:
        """``system`` or ``user``."""
        return str(self.hello["scope"])

    def call(self, method: str, params: Mapping[str, Any]) -> dict[str, Any]:
        """Ask, wait, return the result.

        Raises:
            ServiceUnreachable: The connection ended.
            ProtocolError: The daemon refused; the text is its reason.
        """
        number = next(self._numbers)
        # Where nobody takes it any more, what was said last tells why.
        with suppress(BrokenPipeError, ConnectionResetError):
            self._line.send(protocol.encode(protocol.request(number, method, params)))
        while "method" in (message := self._receive(ANSWER_S)):
            self._notifications.append(message)
        answer: dict[str, Any] = message["result"]
        return answer

    def notifications(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """What the daemon tells, (method, params), without end.

        Raises:
            ServiceUnreachable: The connection ended.
        """
        while True:
            waiting = self._notifications
            message = waiting.popleft() if waiting else self._receive(None)
            yield message["method"], message["params"]

    def close(self) -> None:
        """Leave; an agent of our own ends."""
        self._line.close()

    def _receive(self, timeout_s: float | None) -> dict[str, Any]:
        while not self._incoming:
            self._incoming.extend(self._decoder.feed(self._chunk(timeout_s)))
        message = self._incoming.popleft()
        if "error" in message:
            raise ProtocolError(message["error"]["message"])
        return message

    def _chunk(self, timeout_s: float | None) -> bytes:
        try:
            chunk = self._line.receive(timeout_s)
        except TimeoutError:
            raise ServiceUnreachable("the service does not answer: restart gpupaneld") from None
        except ConnectionResetError:
            chunk = b""
        if not chunk and self.is_service:
            raise ServiceUnreachable("the service ended the connection: see its log")
        if not chunk:
            raise ServiceUnreachable("the agent ended; see its message above")
        return chunk
