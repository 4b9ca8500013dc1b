"""The sensors of one PCI device: hwmon, whose units are the same for every driver.

Labels decide what a sensor measures, not its index: index 2 is the hotspot on one card and the
memory on the next.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from gpupanel.backends.linux.sysfs import KeptFolder, read_text
from gpupanel.model.gpu import NOT_TOLD, Reading, Unavailable

_LABEL_FILE = re.compile(r"([a-z]+)(\d+)_label")

_SCALES: Mapping[str, float] = {"temp": 1e3, "power": 1e6, "energy": 1e6, "freq": 1e6}
"""The kernel's units (m°C, uW, uJ, Hz) to those of METRICS; in, fan and pwm are the same."""

_FIRST: Mapping[str, int] = {"in": 0}
"""Only voltages are counted from 0."""


class Hwmon:
    """The sensors that one driver registered for a device.

    Attributes:
        labels: Kind and label to the index of that sensor: ``("temp", "junction")`` to 2.
    """

    def __init__(self, device_dir: Path, name: str = "") -> None:
        """Look for the folder; a device without one has no sensors.

        Args:
            device_dir: Of the PCI device in sysfs.
            name: Of the driver as ``hwmonN/name`` has it; the first folder where it is empty.
        """
        folder = _folder(device_dir, name)
        self._files = KeptFolder(str(folder)) if folder else None
        self.labels = _labels(folder) if folder else {}

    def read(self, kind: str, label: str = "", item: str = "input") -> Reading:
        """One value now, in °C, W, J, MHz, mV or rpm.

        Args:
            kind: temp, power, energy, freq, in, fan; pwm is read with an empty ``item``.
            label: Of the sensor; empty for the first one, whatever its label.
            item: What follows the index: input, average, cap, crit, max.
        """
        index = self.labels.get((kind, label)) if label else _FIRST.get(kind, 1)
        if self._files is None or index is None:
            return NOT_TOLD
        number = self._files.number(f"{kind}{index}_{item}" if item else f"{kind}{index}")
        return number if isinstance(number, Unavailable) else number / _SCALES.get(kind, 1)

    def close(self) -> None:
        """Let go of every kept descriptor."""
        if self._files is not None:
            self._files.close()


def _folder(device_dir: Path, name: str) -> Path | None:
    for folder in sorted(device_dir.glob("hwmon/hwmon*")):
        try:
            if not name or read_text(f"{folder}/name") == name:
                return folder
        except OSError:
            continue  # it went while we looked
    return None


def _labels(folder: Path) -> dict[tuple[str, str], int]:
    """The first sensor of a label is the one that counts."""
    found: dict[tuple[str, str], int] = {}
    for file in sorted(folder.glob("*_label")):
        match = _LABEL_FILE.fullmatch(file.name)
        try:
            if match:
                found.setdefault((match[1], read_text(str(file))), int(match[2]))
        except OSError:
            continue
    return found
