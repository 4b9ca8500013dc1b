"""What a client may take: of memory, of time, of connections; so that it harms nobody but itself.

Counted by user, not by connection: forty connections of one user get what one gets.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from gpupanel.ipc.transport import Peer
from gpupanel.model.errors import RequestDenied

MIB = 1024 * 1024

CPU_S_PER_TOKEN = 0.004
BYTES_PER_TOKEN = 16 * 1024
"""A request costs one token, and what it took of the processor and of the line."""

MOST_OWED_BURSTS = 2
"""A user who ran wild is served again after some seconds."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The bounds of one kind of client.

    Attributes:
        hello_s: To say hello in; None for ever.
        line_s: From the first byte of a request to its last; None for ever.
        tokens_per_s: Requests of one user; None for any number.
        burst: How many of them at once, after a rest.
        unread_bytes: No request is answered while its user leaves more than this unread.
        reply_bytes: Of one reply; longer ones are refused with the advice to ask for less.
    """

    hello_s: float | None
    line_s: float | None
    tokens_per_s: float | None
    burst: float
    unread_bytes: int
    reply_bytes: int


PARENT = Limits(
    hello_s=None, line_s=None, tokens_per_s=None, burst=1, unread_bytes=MIB, reply_bytes=16 * MIB
)
"""A parent can harm only its own child."""

LOCAL_USER = Limits(
    hello_s=5.0, line_s=5.0, tokens_per_s=50.0, burst=200, unread_bytes=MIB, reply_bytes=8 * MIB
)

STALL_S = 10.0
"""A socket that takes nothing for this long while something waits for it is closed."""

PER_USER = 8
PER_ROOT = 16
IN_ALL = 64
"""Connections at a time."""


class Account:
    """What one user has taken; shared by the threads of all his connections."""

    def __init__(self, limits: Limits, clock_s: Callable[[], float] = time.monotonic) -> None:
        self.limits = limits
        self._clock_s = clock_s
        self._tokens = limits.burst
        self._at_s = clock_s()
        self._lock = threading.Lock()
        self._turn = threading.Lock()
        self._read = threading.Condition()
        self._unread_bytes = 0

    @contextmanager
    def turn(self) -> Iterator[None]:
        """One request of a user at a time: many connections get no more of the processor."""
        with self._turn:
            yield

    def charge(self, tokens: float) -> float:
        """Take ``tokens``, on credit too; returns how long to pause until nothing is owed, in s."""
        rate = self.limits.tokens_per_s
        if rate is None:
            return 0.0
        with self._lock:
            now_s = self._clock_s()
            earned = (now_s - self._at_s) * rate
            left = min(self.limits.burst, self._tokens + earned) - tokens
            self._tokens, self._at_s = max(left, -MOST_OWED_BURSTS * self.limits.burst), now_s
            return max(0.0, -self._tokens / rate)

    @property
    def is_rested(self) -> bool:
        """Whether a new account would be the same."""
        self.charge(0)
        return self._tokens == self.limits.burst

    def leave_unread(self, more_bytes: int) -> None:
        """Replies wait, or (negative) were read or given up."""
        with self._read:
            self._unread_bytes += more_bytes
            self._read.notify_all()

    def wait_until_read(self, is_over: Callable[[], bool]) -> None:
        """Returns when the user has read most of what he was answered, or ``is_over``."""
        with self._read:
            self._read.wait_for(lambda: self._unread_bytes <= self.limits.unread_bytes or is_over())

    def wake(self) -> None:
        """Something is over."""
        with self._read:
            self._read.notify_all()


class Admission:
    """Who may connect: so many of each user, so many in all.

    Keeps an account of each user who is connected, and of those who owe something.
    """

    def __init__(self, new_account: Callable[[], Account] | None = None) -> None:
        self._new_account = new_account or (lambda: Account(LOCAL_USER))
        self._lock = threading.Lock()
        self._accounts: dict[str, Account] = {}
        self._connections: dict[str, int] = {}

    def enter(self, peer: Peer) -> Account:
        """One more connection.

        Raises:
            RequestDenied: There are too many, or they come too fast; says whose.
        """
        name = peer.account
        with self._lock:
            account = self._accounts.get(name)
            if account is None:
                self._forget()
                account = self._accounts[name] = self._new_account()
            most = PER_ROOT if peer.is_admin else PER_USER
            if self._connections.get(name, 0) >= most:
                raise RequestDenied(f"your user has {most} connections already, and no more may be")
            # Root gets in, or whoever fills the service locks its administrator out.
            if sum(self._connections.values()) >= IN_ALL and not peer.is_admin:
                raise RequestDenied(f"{IN_ALL} connections are open already, and no more may be")
            if account.charge(1) > 0:
                raise RequestDenied("your user asks too much of the service: wait some seconds")
            self._connections[name] = self._connections.get(name, 0) + 1
        return account

    def leave(self, peer: Peer) -> None:
        """One connection less."""
        name = peer.account
        with self._lock:
            self._connections[name] -= 1
            if not self._connections[name]:
                del self._connections[name]

    def _forget(self) -> None:
        """Users who are gone and have rested."""
        self._accounts = {
            name: account
            for name, account in self._accounts.items()
            if name in self._connections or not account.is_rested
        }
