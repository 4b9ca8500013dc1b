"""The asking end: a blocking client, over a child's stdio now, over the service's socket later.

For programs without an event loop (gpupanelctl). The window speaks the same protocol through its
own event loop in ``ui/link.py``.
"""

from __future__ import annotations

import itertools
import subprocess
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

from gpupanel import children
from gpupanel.ipc import protocol
from gpupanel.model.closing import Closing
from gpupanel.model.errors import ProtocolError, ServiceUnreachable

CLOSE_GRACE_S = 1.0


class Client(Closing):
    """A conversation with the agent, which is started for it and ends with it.

    Use as a context manager.
    """

    def __init__(self) -> None:
        """Start the agent and greet it.

        Raises:
            ServiceUnreachable: It did not start, or speaks another version.
        """
        self._numbers = itertools.count(1)
        self._decoder = protocol.Decoder(protocol.MAX_REPLY_BYTES)
        self._incoming: deque[dict[str, Any]] = deque()
        self._notifications: deque[dict[str, Any]] = deque()
        self._agent = subprocess.Popen(
            # A command takes a look; the history is the window's to write.
            [*children.command("agent"), "--forget"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        try:
            self.hello = self.call("hello", {"protocol": protocol.PROTOCOL_VERSION})
        except ProtocolError:
            self.close()
            raise

    def call(self, method: str, params: Mapping[str, Any]) -> dict[str, Any]:
        """Ask, wait, return the result.

        Raises:
            ServiceUnreachable: The connection ended.
            ProtocolError: The daemon refused; the text is its reason.
        """
        number = next(self._numbers)
        assert self._agent.stdin is not None
        try:
            self._agent.stdin.write(protocol.encode(protocol.request(number, method, params)))
            self._agent.stdin.flush()
        except BrokenPipeError:
            raise ServiceUnreachable("the agent ended; see its message above") from None
        while "method" in (message := self._receive()):
            self._notifications.append(message)
        if "error" in message:
            raise ProtocolError(message["error"]["message"])
        answer: dict[str, Any] = message["result"]
        return answer

    def notifications(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """What the daemon tells, (method, params), without end.

        Raises:
            ServiceUnreachable: The connection ended.
        """
        while True:
            waiting = self._notifications
            message = waiting.popleft() if waiting else self._receive()
            yield message["method"], message["params"]

    def close(self) -> None:
        """End the agent."""
        assert self._agent.stdin is not None
        assert self._agent.stdout is not None
        self._agent.stdin.close()
        try:
            self._agent.wait(CLOSE_GRACE_S)
        except subprocess.TimeoutExpired:
            self._agent.kill()
            self._agent.wait()
        self._agent.stdout.close()

    def _receive(self) -> dict[str, Any]:
        assert self._agent.stdout is not None
        while not self._incoming:
            chunk = self._agent.stdout.read1(65536)  # type: ignore[attr-defined]
            if not chunk:
                raise ServiceUnreachable("the agent ended; see its message above")
            self._incoming.extend(self._decoder.feed(chunk))
        return self._incoming.popleft()
