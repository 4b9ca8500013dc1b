"""NVIDIA's cards as the system lists them, without NVML: to start it may wake what sleeps."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from gpupanel.backends.linux.pci import parse_uevent
from gpupanel.backends.linux.sleep import PciPower
from gpupanel.backends.linux.sysfs import read_text
from gpupanel.backends.sleep import SleepGate

_NVIDIA = "10DE:"
_DISPLAY_CLASS = re.compile("3[0-9A-F]{4}")
"""As the kernel prints it: 30000 is VGA, 30200 a card without a display."""


class PciCards:
    """The NVIDIA display cards in sysfs; empty where there is no sysfs.

    Vendor and class are read once for each address, so that looking again opens no file.

    Attributes:
        gates: By address, of those that were asked for; another thread may look at them.
    """

    def __init__(self, root: Path, clock_unix_s: Callable[[], float]) -> None:
        self._root = root
        self._clock_unix_s = clock_unix_s
        self.gates: dict[str, SleepGate] = {}
        self._is_ours: dict[str, bool] = {}

    def addresses(self) -> tuple[str, ...]:
        """In order."""
        try:
            names = {entry.name for entry in self._root.iterdir()}
        except OSError:
            return ()
        known = self._is_ours
        self._is_ours = {name: known[name] if name in known else self._look(name) for name in names}
        self.gates = {address: gate for address, gate in self.gates.items() if address in names}
        return tuple(sorted(name for name, is_ours in self._is_ours.items() if is_ours))

    def gate(self, address: str) -> SleepGate:
        """Always the same for an address."""
        if address not in self.gates:
            gate = SleepGate(PciPower(self._root / address), self._clock_unix_s)
            self.gates = {**self.gates, address: gate}
        return self.gates[address]

    def is_held(self, address: str) -> bool:
        """Whether it is NVIDIA's driver that has the card."""
        return (self._root / address / "driver").resolve().name == "nvidia"

    def _look(self, name: str) -> bool:
        try:
            told = parse_uevent(read_text(f"{self._root}/{name}/uevent"))
        except OSError:
            return False
        return told.get("PCI_ID", "").startswith(_NVIDIA) and bool(
            _DISPLAY_CLASS.fullmatch(told.get("PCI_CLASS", ""))
        )
