"""The service's doors: who comes in gets a thread, if there is room for him."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Protocol

from gpupanel.ipc import protocol
from gpupanel.ipc.limits import Account, Admission
from gpupanel.ipc.protocol import ErrorCode
from gpupanel.ipc.transport import Peer, Stream
from gpupanel.model.closing import Closing
from gpupanel.model.errors import RequestDenied

Serve = Callable[[Stream, Peer, Account], None]
"""Answers one client and returns when that has left."""

_RETRY_S = 0.1


class Caller(Stream, Protocol):
    """A client that has connected and was not looked at yet."""

    def peer(self) -> Peer:
        """Who it is.

        Raises:
            RequestDenied: One of those who are not served.
            OSError: It is gone.
        """

    def close(self) -> None:
        """Give back what it took, when no thread uses it any more."""


class Door(Protocol):
    """One endpoint that clients can connect to."""

    def accept(self) -> Caller:
        """The next client; waits for one.

        Raises:
            OSError: The door is closed, or there is no room for a client now.
        """

    def shut(self) -> None:
        """Nobody can connect any more, and ``accept`` returns."""

    def close(self) -> None:
        """Give back what it took, when nobody waits in ``accept`` any more."""


class Listener(Closing):
    """All doors of the service; they are open when it is made."""

    def __init__(self, doors: Sequence[Door], serve: Serve) -> None:
        """Begin to let in.

        Args:
            doors: Of ``unix_socket.open_doors`` or ``named_pipe.open_doors``.
            serve: Called in a thread of its own for each client.
        """
        self._doors = doors
        self._serve = serve
        self._admission = Admission()
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self._served: dict[threading.Thread, Caller] = {}
        self._porters = [
            threading.Thread(target=self._let_in, args=(door,), name="ipc-porter") for door in doors
        ]
        for porter in self._porters:
            porter.start()

    def close(self) -> None:
        """Let nobody in any more, and end what there is; returns when all threads have."""
        if self._closing.is_set():
            return
        self._closing.set()
        for door in self._doors:
            door.shut()
        for porter in self._porters:
            porter.join()
        with self._lock:
            served = dict(self._served)
        for thread, caller in served.items():
            caller.abort()
            thread.join()
        for door in self._doors:
            door.close()

    def _let_in(self, door: Door) -> None:
        while not self._closing.is_set():
            try:
                caller = door.accept()
            except OSError as reason:
                if not self._closing.is_set():
                    # Out of descriptors, at worst; who waits is served when some are back.
                    logging.getLogger(__name__).warning("a client was not let in: %s", reason)
                    self._closing.wait(_RETRY_S)
                continue
            self._receive(caller)

    def _receive(self, caller: Caller) -> None:
        try:
            peer = caller.peer()
            account = self._admission.enter(peer)
        except RequestDenied as reason:
            _refuse(caller, str(reason))
            return
        except OSError:
            caller.close()
            return
        thread = threading.Thread(
            target=self._serve_one, args=(caller, peer, account), name=f"ipc-{peer.account}"
        )
        with self._lock:
            self._served[thread] = caller
        thread.start()

    def _serve_one(self, caller: Caller, peer: Peer, account: Account) -> None:
        try:
            self._serve(caller, peer, account)
        finally:
            # Counted out before the client can see the end: it may come back at once.
            self._admission.leave(peer)
            caller.close()
            with self._lock:
                del self._served[threading.current_thread()]


def _refuse(caller: Caller, reason: str) -> None:
    """Say why, which an empty buffer takes without waiting, and hang up."""
    with suppress(OSError):
        caller.send(protocol.encode(protocol.error(None, ErrorCode.DENIED, reason)))
    caller.close()
