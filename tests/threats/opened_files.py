"""The service itself, with the constants of the system scope: tells when it has looked about.

Runs as root in namespaces of its own, in which the machine's folders are empty (see
test_opened_files.py).
"""

from __future__ import annotations

import sys
from queue import SimpleQueue

from gpupanel.service import serving
from gpupanel.service.overseer.orders import Order

BEATS = 5


class Impatient:
    """Has policy read once more, and ends the service when it has looked about a second long."""

    watchdog_s = 0.6

    def __init__(self, orders: SimpleQueue[Order]) -> None:
        self._orders = orders
        self._is_told = False
        self._beats = 0

    def ready(self, text: str) -> None:
        if not self._is_told:
            self._orders.put(Order.READ_POLICY)
        self._is_told = True
        sys.stdout.write(f"{text}\n")

    def reloading(self) -> None:
        """Policy is read anew."""

    def stopping(self) -> None:
        """It ends."""

    def status(self, text: str) -> None:
        """Of no interest."""

    def alive(self) -> None:
        self._beats += 1
        if self._beats == BEATS:
            self._orders.put(Order.STOP)


if __name__ == "__main__":
    orders: SimpleQueue[Order] = SimpleQueue()
    sys.exit(serving.run(Impatient(orders), orders))
