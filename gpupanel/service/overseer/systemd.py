"""What the service tells systemd, and what systemd wants of it.

The protocol of sd_notify(3), without its library: one datagram of assignments to the socket that
``NOTIFY_SOCKET`` names. These variables are the only ones that the service reads; systemd sets
them for this very process, over whatever else the environment says.
"""

from __future__ import annotations

import os
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable, MutableMapping
from queue import SimpleQueue
from types import FrameType

from gpupanel.service.overseer.orders import Order

assert sys.platform != "win32"

_LONGEST_SEND = struct.pack("ll", 1, 0)
"""One second, as a timeval."""


class Systemd:
    """See ``Overseer``; where nobody started this process as a unit, nothing is told.

    Attributes:
        watchdog_s: It wants a sign of life within this time; None if it wants none.
    """

    def __init__(self, address: str = "", watchdog_s: float | None = None) -> None:
        """``address`` is a path, or ``@name`` of an abstract socket; empty for nobody."""
        self.watchdog_s = watchdog_s if address else None
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._socket: socket.socket | None = None
        if address:
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
        """See ``Overseer``."""
        self._tell("READY=1", _status(text))

    def reloading(self) -> None:
        """See ``Overseer``; with the time by the clock that systemd compares."""
        self._tell("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """See ``Overseer``."""
        self._tell("STOPPING=1")

    def status(self, text: str) -> None:
        """See ``Overseer``: for ``systemctl status``."""
        self._tell(_status(text), flags=socket.MSG_DONTWAIT)

    def alive(self) -> None:
        """See ``Overseer``."""
        self._tell("WATCHDOG=1", flags=socket.MSG_DONTWAIT)

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


def signals() -> SimpleQueue[Order]:
    """SIGTERM and SIGINT stop, SIGHUP reads policy anew; handled between two orders."""
    orders: SimpleQueue[Order] = SimpleQueue()

    def give(order: Order) -> Callable[[int, FrameType | None], None]:
        return lambda _signal, _frame: orders.put(order)

    signal.signal(signal.SIGTERM, give(Order.STOP))
    signal.signal(signal.SIGINT, give(Order.STOP))
    signal.signal(signal.SIGHUP, give(Order.READ_POLICY))
    return orders
