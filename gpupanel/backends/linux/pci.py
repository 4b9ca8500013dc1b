"""What the kernel and the list of PCI ids say of a PCI device, without waking it."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from gpupanel.backends.linux.sysfs import read_text

_ADDRESS = re.compile(r"[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")
_ID = re.compile(r"[0-9A-Fa-f]{4}:[0-9A-Fa-f]{4}")

_PCI_IDS = ("usr/share/misc/pci.ids", "usr/share/hwdata/pci.ids")

_GENERATIONS: Mapping[str, int] = {"2.5": 1, "5.0": 2, "8.0": 3, "16.0": 4, "32.0": 5, "64.0": 6}
"""GT/s as ``current_link_speed`` spells it."""

_BRIDGE_CLASS = "0x0604"


class DeviceId(NamedTuple):
    """Who made a device and what it is: four hexadecimal digits each, in lower case."""

    vendor: str
    device: str


def devices_of(driver: str, root: Path) -> tuple[str, ...] | None:
    """The addresses of the devices that ``driver`` holds; None while it is not loaded."""
    try:
        entries = sorted(entry.name for entry in (root / "sys/bus/pci/drivers" / driver).iterdir())
    except OSError:
        return None
    return tuple(entry for entry in entries if _ADDRESS.fullmatch(entry))


def cards_there(root: Path) -> frozenset[tuple[str, int]]:
    """What tells one set of graphics cards and drivers from another; opens no device.

    The names in the kernel's lists, and the number that each gets when it is made: a driver that
    was loaded again is another one.
    """
    listed: set[tuple[str, int]] = set()
    for folder in ("sys/class/drm", "sys/bus/pci/drivers/nvidia"):
        try:
            with os.scandir(root / folder) as entries:
                listed.update((entry.name, entry.inode()) for entry in entries)
        except OSError:
            continue  # not loaded, or not Linux
    return frozenset(listed)


def parse_uevent(text: str) -> dict[str, str]:
    """The lines ``KEY=value`` of a uevent file; anything else in it is left out."""
    return dict(line.split("=", 1) for line in text.strip("\0").splitlines() if "=" in line)


def device_id(device_dir: Path) -> DeviceId | None:
    """From ``uevent``, which the kernel keeps in memory; None where it does not tell."""
    try:
        text = parse_uevent(read_text(f"{device_dir}/uevent")).get("PCI_ID", "")
    except OSError:
        return None
    return DeviceId(*text.lower().split(":")) if _ID.fullmatch(text) else None


def listed_name(identity: DeviceId, root: Path) -> str | None:
    """What the list of PCI ids of this system calls a device; None where it is not in it."""
    for file in _PCI_IDS:
        try:
            return name_in_list((root / file).read_bytes(), identity)
        except OSError:
            continue
    return None


def name_in_list(pci_ids: bytes, identity: DeviceId) -> str | None:
    """Look ``identity`` up in the text of pci.ids.

    Returns:
        The name that a shop would use where the list has one in brackets.
    """
    vendor = re.search(
        rb"^%s  .*\n((?:[\t#].*\n|\n)*)" % identity.vendor.encode(), pci_ids, re.MULTILINE
    )
    if vendor is None:
        return None
    device = re.search(rb"(?m)^\t%s  (.*)$" % identity.device.encode(), vendor[1])
    if device is None:
        return None
    name = device[1].decode("utf-8", "replace").strip()
    sold_as = re.search(r"\[([^]]+)\]", name)
    return sold_as[1] if sold_as else name or None


def link_generation(speed: str) -> int | None:
    """``16.0 GT/s PCIe`` is 4; None for anything unknown."""
    return _GENERATIONS.get(speed.partition(" ")[0])


def outer_port(device_dir: Path, vendor: str) -> Path:
    """Where the link to the slot ends.

    Many cards carry a switch of their own: the GPU's link then ends in it and is always fast.

    Args:
        device_dir: Of the GPU.
        vendor: Whose bridges above the GPU belong to the card: ``1002``.
    """
    outer = device_dir.resolve()
    while _is_bridge_of(outer.parent, vendor):
        outer = outer.parent
    return outer


def _is_bridge_of(device_dir: Path, vendor: str) -> bool:
    try:
        return read_text(f"{device_dir}/vendor") == f"0x{vendor}" and read_text(
            f"{device_dir}/class"
        ).startswith(_BRIDGE_CLASS)
    except OSError:
        return False


def drives_display(device_dir: Path) -> bool | None:
    """Whether a screen shows what a DRM device draws; None where it has no connector.

    The kernel answers from memory: no screen is asked, and a sleeping card sleeps on.
    """
    connectors = sorted(device_dir.glob("drm/card[0-9]*/card[0-9]*-*/enabled"))
    try:
        states = [read_text(str(path)) for path in connectors]
    except OSError:
        return None  # the card is on its way out
    return "enabled" in states if states else None
