"""Asks miners for the rates that they tell of themselves, on a thread that may wait for them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping

from gpupanel.detection.detector import Key
from gpupanel.enforcement.hash_rate import reported_rate
from gpupanel.model.gpu import Unavailable

INTERVAL_S = 5.0


class Rates:
    """One thread, started and stopped with the daemon.

    The service has a network of its own without anything in it, so there nobody can be asked.
    """

    def __init__(self, tell: Callable[[Key, float], None]) -> None:
        """Ask nobody yet; ``tell`` is given each process and its hashes per second."""
        self._tell = tell
        self._ports: Mapping[Key, Collection[int]] = {}
        self._stop = threading.Event()

    def ask(self, ports: Mapping[Key, Collection[int]]) -> None:
        """From now on these, at the ports that each listens on."""
        self._ports = ports

    def start(self) -> None:
        """Begin to ask."""
        self._thread = threading.Thread(target=self._run, name="rates")
        self._thread.start()

    def stop(self) -> None:
        """Returns when the thread has ended."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(INTERVAL_S):
            for process, ports in self._ports.items():
                rate = reported_rate(process[0], ports)
                if not isinstance(rate, Unavailable):
                    self._tell(process, rate)
