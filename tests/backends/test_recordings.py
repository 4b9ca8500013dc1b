"""The recordings themselves: whole, small, and what their names say."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gpupanel.backends.nvidia.nvml_cards import PciCards

RECORDINGS = Path(__file__).parents[1] / "recordings" / "sysfs"
CARDS = sorted(file.name.removesuffix(".tar.xz") for file in RECORDINGS.glob("*.tar.xz"))


@pytest.mark.parametrize("name", CARDS)
def test_a_recorded_card_is_found_in_a_sysfs_by_its_address(
    name: str, recorded_card: Callable[[str], Path], sysfs_of: Callable[..., Path]
) -> None:
    root = sysfs_of(recorded_card(name))
    (device,) = (root / "sys/bus/pci/devices").iterdir()
    vendor = {"amd": "1002", "intel": "8086", "nvidia": "10DE"}[name.partition("-")[0]]
    assert f"PCI_ID={vendor}:" in (device / "uevent").read_text(encoding="utf-8")
    card = root / "sys/class/drm/card0"
    assert (card / "device").resolve() == device.resolve()
    driver = (device / "driver").resolve()
    assert (driver / device.name).resolve() == device.resolve()


@pytest.mark.parametrize("name", [name for name in CARDS if name != "amd-procfs-vega"])
def test_every_card_has_what_lact_reads_of_it(
    name: str, expected_of: Callable[[str], dict[str, Any]]
) -> None:
    assert "stats" in expected_of(name)


def test_the_nvidia_card_is_met_where_it_is(
    recorded_card: Callable[[str], Path],
    sysfs_of: Callable[..., Path],
    expected_of: Callable[[str], dict[str, Any]],
) -> None:
    """Its driver has no files of readings; all that the system tells is where the card is."""
    root = sysfs_of(recorded_card("nvidia-rtx4080"), recorded_card("amd-rx7800xt"))
    cards = PciCards(root / "sys/bus/pci/devices", lambda: 0.0)
    assert cards.addresses() == ("0000:09:00.0",)
    assert cards.is_held("0000:09:00.0")
    assert not cards.gate("0000:09:00.0").is_asleep()
    assert expected_of("nvidia-rtx4080")["info"]["driver"] == "nvidia"


def test_together_they_are_small() -> None:
    assert len(CARDS) == 19
    assert sum(file.stat().st_size for file in RECORDINGS.iterdir()) < 300_000
