"""A machine whose graphics cards are plugged, unplugged, and lose and get their driver."""

from __future__ import annotations

import shutil
from pathlib import Path


class Slot:
    """One recorded card in a sysfs of ``sysfs_of``, as the kernel would show what happens to it."""

    def __init__(self, root: Path, address: str) -> None:
        self.device = root / "sys/devices/pci0000:00" / address
        (self._card,) = (entry.name for entry in (self.device / "drm").glob("card[0-9]"))
        self._links = {
            link: link.readlink()
            for link in (
                root / "sys/bus/pci/devices" / address,
                (self.device / "driver").resolve() / address,
                root / "sys/class/drm" / self._card,
            )
        }
        self._away = root / "away" / address

    def unplug(self) -> None:
        """The whole device goes."""
        self._away.parent.mkdir(exist_ok=True)
        self.device.rename(self._away)
        for link in self._links:
            link.unlink()

    def plug(self) -> None:
        """The device is there again, with its driver."""
        self._away.rename(self.device)
        self._make_anew()
        for link, target in self._links.items():
            link.symlink_to(target)

    def unload(self) -> None:
        """The module goes, the device stays."""
        for link in list(self._links)[1:]:
            link.unlink()
        (self.device / "drm").rename(self.device / "drm of old")
        (self.device / "hwmon").rename(self.device / "hwmon of old")

    def load(self) -> None:
        """The module comes: the kernel makes its folders anew, and numbers sensors as it likes."""
        (self.device / "drm of old").rename(self.device / "drm")
        (self.device / "hwmon of old").rename(self.device / "hwmon")
        self._make_anew()
        for link, target in list(self._links.items())[1:]:
            link.symlink_to(target)

    def _make_anew(self) -> None:
        drm = self.device / "drm"
        old = drm.rename(self.device / "old")
        shutil.copytree(old, drm, symlinks=True)  # while the old one has its inode
        shutil.rmtree(old)
        (sensors,) = (self.device / "hwmon").iterdir()
        sensors.rename(sensors.with_name("hwmon9" if sensors.name == "hwmon8" else "hwmon8"))
