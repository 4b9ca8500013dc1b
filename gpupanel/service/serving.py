"""The daemon as a service: starts everything, carries orders out, ends everything.

Whoever runs it, systemd or Windows' service control manager, hands its wishes over as orders.
"""

from __future__ import annotations

import faulthandler
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from enum import Enum, auto
from queue import SimpleQueue
from types import FrameType

from gpupanel import paths
from gpupanel.ipc import named_pipe, unix_socket
from gpupanel.ipc.listening import Door, Listener
from gpupanel.sampling.store import Store
from gpupanel.service.daemon import Daemon
from gpupanel.service.scope import system_scope
from gpupanel.service.systemd import Systemd, Watchdog


class Order(Enum):
    """What whoever runs the service may want of it."""

    STOP = auto()
    READ_POLICY = auto()


def run(systemd: Systemd, orders: SimpleQueue[Order]) -> None:
    """The service of this machine, until it is told to stop."""
    # A watchdog's SIGABRT, or a crash in a vendor's library, logs the stack of every thread.
    faulthandler.enable()
    scope = system_scope()
    store = Store(scope.history_file)
    daemon = Daemon(scope, store)
    serve(daemon, lambda: Listener(_doors(), daemon.serve), orders, systemd)


def serve(
    daemon: Daemon,
    endpoints: Callable[[], AbstractContextManager[object]],
    orders: SimpleQueue[Order],
    systemd: Systemd,
) -> None:
    """Start everything, tell systemd, carry orders out until STOP, end everything.

    Args:
        daemon: Not started yet.
        endpoints: Opens them; closed before the daemon ends.
        orders: From signals, or from Windows.
        systemd: Is told, and given signs of life by the daemon's loop.
    """
    watchdog = Watchdog(systemd, daemon.turns, daemon.summary)
    daemon.start(watchdog.beat)
    try:
        with endpoints():
            systemd.ready(daemon.summary())
            while orders.get() is not Order.STOP:
                systemd.reloading()
                daemon.read_policy()
                systemd.ready(daemon.summary())
            systemd.stopping()
    finally:
        daemon.stop()


def signals() -> SimpleQueue[Order]:
    """SIGTERM and SIGINT stop, SIGHUP reads policy anew; handled between two orders."""
    orders: SimpleQueue[Order] = SimpleQueue()

    def give(order: Order) -> Callable[[int, FrameType | None], None]:
        return lambda _signal, _frame: orders.put(order)

    signal.signal(signal.SIGTERM, give(Order.STOP))
    signal.signal(signal.SIGINT, give(Order.STOP))
    if sys.platform != "win32":
        signal.signal(signal.SIGHUP, give(Order.READ_POLICY))
    return orders


if sys.platform == "win32":

    def _doors() -> Sequence[Door]:
        return named_pipe.open_doors()

else:

    def _doors() -> Sequence[Door]:
        return unix_socket.open_doors(paths.machine_run_dir())
