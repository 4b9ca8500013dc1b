"""The daemon as a service: starts everything, carries orders out, ends everything.

Whoever runs it, systemd or Windows' service control manager, hands its wishes over as orders.
"""

from __future__ import annotations

import faulthandler
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from queue import SimpleQueue

from gpupanel import paths
from gpupanel.ipc.listening import Door, Listener
from gpupanel.model.errors import EndpointFailed
from gpupanel.sampling.store import Store
from gpupanel.service.audit.log import Audit, mirror_here
from gpupanel.service.daemon import Daemon
from gpupanel.service.overseer.orders import Order, Overseer
from gpupanel.service.overseer.watchdog import Watchdog
from gpupanel.service.scope import system_scope


def run(overseer: Overseer, orders: SimpleQueue[Order]) -> int:
    """The service of this machine, until it is told to stop; returns the exit status."""
    # A watchdog's SIGABRT, or a crash in a vendor's library, logs the stack of every thread.
    faulthandler.enable()
    scope = system_scope()
    store = Store(scope.history_file)
    audit = Audit(paths.machine_log_dir(), mirror_here())
    daemon = Daemon(scope, store, audit=audit)
    try:
        serve(daemon, lambda: Listener(_doors(), daemon.serve), orders, overseer)
    except EndpointFailed as reason:
        sys.stderr.write(f"gpupaneld: {reason}\n")
        return 1
    return 0


def serve(
    daemon: Daemon,
    endpoints: Callable[[], AbstractContextManager[object]],
    orders: SimpleQueue[Order],
    overseer: Overseer,
) -> None:
    """Start everything, tell the overseer, carry orders out until STOP, end everything.

    Args:
        daemon: Not started yet.
        endpoints: Opens them; closed before the daemon ends.
        orders: What the overseer wants.
        overseer: Is told, and given signs of life by the daemon's loop.
    """
    watchdog = Watchdog(overseer, daemon.turns, daemon.summary)
    daemon.start(watchdog.beat)
    try:
        with endpoints():
            overseer.ready(daemon.summary())
            while orders.get() is not Order.STOP:
                overseer.reloading()
                daemon.read_policy()
                overseer.ready(daemon.summary())
            overseer.stopping()
    finally:
        daemon.stop()


if sys.platform == "win32":
    from gpupanel.ipc import named_pipe

    def _doors() -> Sequence[Door]:
        return named_pipe.open_doors()

else:
    from gpupanel.ipc import unix_socket

    def _doors() -> Sequence[Door]:
        return unix_socket.open_doors(paths.machine_run_dir())
