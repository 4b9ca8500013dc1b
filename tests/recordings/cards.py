"""Recorded cards of real machines as folders, and as a sysfs in which a backend finds them."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

RECORDINGS = Path(__file__).parents[1] / "recordings" / "sysfs"

CARDS = tuple(sorted(file.name.removesuffix(".tar.xz") for file in RECORDINGS.glob("*.tar.xz")))
"""``<vendor>-<card>``, one for every recording."""


@pytest.fixture(scope="session")
def recorded_card(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """``recorded_card("amd-rx580")``: the folder that holds ``cardN/``, unpacked once."""
    unpacked: dict[str, Path] = {}

    def folder(name: str) -> Path:
        if name not in unpacked:
            target = tmp_path_factory.mktemp(name)
            with tarfile.open(RECORDINGS / f"{name}.tar.xz") as archive:
                # Debian 12's Python 3.11.2 does not know filters; newer ones insist on one.
                if hasattr(tarfile, "data_filter"):
                    archive.extraction_filter = tarfile.data_filter
                archive.extractall(target)
            unpacked[name] = target
        return unpacked[name]

    return folder


@pytest.fixture
def expected_of() -> Callable[[str], dict[str, Any]]:
    """``expected_of("amd-rx580")``: what LACT reads from that recording."""

    def parsed(name: str) -> dict[str, Any]:
        text = (RECORDINGS / f"{name}.snap").read_text(encoding="utf-8")
        document: dict[str, Any] = json.loads(text.split("---\n", 2)[2])
        return document

    return parsed


@pytest.fixture
def sysfs_of(tmp_path: Path) -> Callable[..., Path]:
    """``sysfs_of(folder, ...)``: a root whose ``sys`` holds these recorded cards.

    ``sys/bus/pci/devices/<address>`` is a link to a copy of ``cardN/device``, ``.../driver`` a
    link to ``sys/bus/pci/drivers/<name>``, and ``sys/class/drm/cardN`` a link to the copy of
    ``cardN`` inside the device, whose ``device`` leads back, as the kernel has it. Cards are
    numbered from 0; a test may change the copies.
    """

    def root_of(*folders: Path) -> Path:
        for number, folder in enumerate(folders):
            _plug_in(tmp_path, next(folder.glob("card*")), number)
        return tmp_path

    return root_of


def _plug_in(root: Path, card: Path, number: int) -> None:
    # One recorder kept the whole page of the kernel, zeros included.
    lines = (card / "device/uevent").read_text(encoding="utf-8").strip("\0").splitlines()
    uevent = dict(line.split("=", 1) for line in lines)
    address = uevent["PCI_SLOT_NAME"]
    device = root / "sys/devices/pci0000:00" / address
    _copy(card / "device", device)
    _copy(card, device / f"drm/card{number}", without="device")
    (device / f"drm/card{number}/device").symlink_to(device)
    driver = root / "sys/bus/pci/drivers" / uevent["DRIVER"]
    driver.mkdir(parents=True, exist_ok=True)
    (device / "driver").symlink_to(driver)
    for link, target in (
        (root / "sys/bus/pci/devices" / address, device),
        (driver / address, device),
        (root / f"sys/class/drm/card{number}", device / f"drm/card{number}"),
    ):
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(target)


def _copy(source: Path, target: Path, without: str = "") -> None:
    target.mkdir(parents=True)
    for entry in source.iterdir():
        if entry.name == without:
            continue
        if entry.is_dir():
            _copy(entry, target / entry.name)
        else:
            (target / entry.name).write_bytes(entry.read_bytes())
