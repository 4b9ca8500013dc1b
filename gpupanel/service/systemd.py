"""What the service tells systemd: that it is ready, what it does, and that it lives.

The protocol of sd_notify(3), without its library: one datagram of assignments to the socket that
``NOTIFY_SOCKET`` names. These variables are the only ones that the service reads; systemd sets
them for this very process, over whatever else the environment says.
"""

from __future__ import annotations

import os
import socket
import struct
import sys
import time
from collections.abc import Callable, MutableMapping, Sequence

from gpupanel.service.turn import Turn

_BEATS_PER_INTERVAL = 3
"""Two may be lost or late before systemd thinks that we hang."""

_NO_WAIT = getattr(socket, "MSG_DONTWAIT", 0)
"""Windows, where there is no systemd, does not know it."""

_LONGEST_SEND = struct.pack("ll", 1, 0)
"""One second, as a timeval."""


class Systemd:
    """Whoever started this process as a unit; where nobody did, nothing is told.

    Attributes:
        watchdog_s: It wants a sign of life within this time; None if it wants none.
    """

    def __init__(self, address: str = "", watchdog_s: float | None = None) -> None:
        """``address`` is a path, or ``@name`` of an abstract socket; empty for nobody."""
        self.watchdog_s = watchdog_s if address else None
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._socket: socket.socket | None = None
        if address and sys.platform != "win32":
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            # In the kernel: settimeout() would turn in circles on a full queue of the other end.
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _LONGEST_SEND)

    @classmethod
    def from_environment(cls, environment: MutableMapping[str, str] = os.environ) -> Systemd:
        """Takes the variables out, so that no child of ours speaks in our name."""
        address = environment.pop("NOTIFY_SOCKET", "")
        interval_us = environment.pop("WATCHDOG_USEC", "")
        is_for_us = environment.pop("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        wants_life = interval_us.isdecimal() and int(interval_us) > 0 and is_for_us
        return cls(address, int(interval_us) / 1e6 if wants_life else None)

    def ready(self, text: str) -> None:
        """Everything serves, and as what; also the end of ``reloading``."""
        self._tell("READY=1", _status(text))

    def reloading(self) -> None:
        """The configuration is being read anew."""
        self._tell("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """The end was asked for, or is near."""
        self._tell("STOPPING=1")

    def status(self, text: str) -> None:
        """One line for ``systemctl status``; never waits."""
        self._tell(_status(text), flags=_NO_WAIT)

    def alive(self) -> None:
        """One sign of life; never waits."""
        self._tell("WATCHDOG=1", flags=_NO_WAIT)

    def close(self) -> None:
        """Tell nothing any more."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _tell(self, *assignments: str, flags: int = 0) -> None:
        if self._socket is None:
            return
        try:
            self._socket.sendto("\n".join(assignments).encode(), flags, self._address)
        except OSError as reason:
            # A systemd that hears nothing for long starts us anew; until then, go on.
            sys.stderr.write(f"gpupaneld: systemd does not hear {assignments[0]}: {reason}\n")


def _status(text: str) -> str:
    """In one line, or the rest would be assignments of its own."""
    return "STATUS=" + " ".join(text.split())


class Watchdog:
    """The sign of life, given by the loop that enforces and by no other thread.

    A beat says that this loop turns and that every thread it relies on does. Without one for
    ``watchdog_s``, systemd ends this process, thaws what it held and starts another.
    """

    def __init__(
        self,
        systemd: Systemd,
        turns: Sequence[Turn],
        describe: Callable[[], str],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Give no sign yet.

        Args:
            systemd: Is told.
            turns: Of the threads without which nothing is enforced.
            describe: What the service does now, in one line.
            clock: Seconds; a test brings its own.
        """
        self._systemd = systemd
        self._turns = turns
        self._describe = describe
        self._clock = clock
        self._pause_s = (systemd.watchdog_s or 0.0) / _BEATS_PER_INTERVAL
        self._next_s = clock()
        self._status = ""
        self._is_complaining = False

    def beat(self) -> None:
        """Called at every turn of the loop; costs nothing until a sign is due."""
        if self._systemd.watchdog_s is None or self._clock() < self._next_s:
            return
        self._next_s = self._clock() + self._pause_s
        late = "; ".join(filter(None, (turn.late() for turn in self._turns)))
        if late:
            self._complain(late)
            return
        self._is_complaining = False
        self._systemd.alive()
        self._tell_status(self._describe())

    def _complain(self, late: str) -> None:
        self._tell_status(late)
        if not self._is_complaining:
            self._is_complaining = True
            sys.stderr.write(f"gpupaneld: {late}: systemd will start the service anew\n")

    def _tell_status(self, text: str) -> None:
        if text != self._status:
            self._status = text
            self._systemd.status(text)
