"""``gpupaneld``: the daemon in system scope, as the operating system's service runs it.

Started by systemd (packaging/linux/gpupaneld.service) or by Windows' service control manager
(``winservice.py``); both hand their wishes over as orders. ``gpupaneld restore`` is run after it
ended, however it ended.
"""

from __future__ import annotations

import argparse
import faulthandler
import signal
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from enum import Enum, auto
from queue import SimpleQueue
from types import FrameType

from gpupanel import __version__
from gpupanel.policy.sources import own_uid
from gpupanel.sampling.store import Store
from gpupanel.service.daemon import Daemon
from gpupanel.service.scope import system_scope
from gpupanel.service.systemd import Systemd, Watchdog

_DENIED = 8
"""Exit status; the same number as gpupanelctl's."""


class Order(Enum):
    """What whoever runs the service may want of it."""

    STOP = auto()
    READ_POLICY = auto()


def main(arguments: list[str]) -> int:
    """Entry of ``gpupaneld``; returns the exit status."""
    parser = argparse.ArgumentParser("gpupaneld", description="Cap mining on this machine.")
    parser.add_argument("--version", action="version", version=f"gpupaneld {__version__}")
    parser.add_argument(
        "verb", nargs="?", choices=["restore"], help="let go of what a service that died still held"
    )
    verb = parser.parse_args(arguments).verb
    if own_uid() not in (None, 0):
        sys.stderr.write("gpupaneld: only root may run the service: systemctl start gpupaneld\n")
        return _DENIED
    if verb == "restore":
        return _restore()
    return run(Systemd.from_environment(), _signals())


def run(systemd: Systemd, orders: SimpleQueue[Order]) -> int:
    """The service of this machine, until it is told to stop; returns the exit status."""
    # A watchdog's SIGABRT, or a crash in a vendor's library, logs the stack of every thread.
    faulthandler.enable()
    scope = system_scope()
    store = Store(scope.history_file)
    daemon = Daemon(scope, store)
    serve(daemon, nullcontext, orders, systemd)
    return 0


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


def _restore() -> int:
    from gpupanel.enforcement import restore  # type: ignore[attr-defined]

    return restore.main()


def _signals() -> SimpleQueue[Order]:
    """SIGTERM and SIGINT stop, SIGHUP reads policy anew; handled between two orders."""
    orders: SimpleQueue[Order] = SimpleQueue()

    def give(order: Order) -> Callable[[int, FrameType | None], None]:
        return lambda _signal, _frame: orders.put(order)

    signal.signal(signal.SIGTERM, give(Order.STOP))
    signal.signal(signal.SIGINT, give(Order.STOP))
    if sys.platform != "win32":
        signal.signal(signal.SIGHUP, give(Order.READ_POLICY))
    return orders
