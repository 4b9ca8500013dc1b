"""What is known of a PCI device without waking it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpupanel.backends.linux.pci import (
    DeviceId,
    device_id,
    devices_of,
    drives_display,
    link_generation,
    listed_name,
    name_in_list,
    outer_port,
    parse_uevent,
)

PCI_IDS = b"""#
1002  Advanced Micro Devices, Inc. [AMD/ATI]
\t1478  Navi 10 XL Upstream Port of PCI Express Switch
\t744c  Navi 31 [Radeon RX 7900 XT/7900 XTX/7900 GRE/7900M]
# a remark
\t\t1da2 471e  PULSE AMD Radeon RX 7900 XTX

\t747e  Navi 32 [Radeon RX 7700 XT / 7800 XT]
8086  Intel Corporation
\t747e  Not this one
C 03  Display controller
"""


@pytest.mark.parametrize(
    ("vendor", "device", "name"),
    [
        ("1002", "744c", "Radeon RX 7900 XT/7900 XTX/7900 GRE/7900M"),
        ("1002", "747e", "Radeon RX 7700 XT / 7800 XT"),
        ("1002", "1478", "Navi 10 XL Upstream Port of PCI Express Switch"),
        ("8086", "747e", "Not this one"),
        ("1002", "471e", None),
        ("1da2", "471e", None),
    ],
)
def test_names_come_from_the_list(vendor: str, device: str, name: str | None) -> None:
    assert name_in_list(PCI_IDS, DeviceId(vendor, device)) == name


def test_the_list_of_the_system_is_used_where_there_is_one(tmp_path: Path) -> None:
    identity = DeviceId("1002", "747e")
    assert listed_name(identity, tmp_path) is None
    (tmp_path / "usr/share/misc").mkdir(parents=True)
    (tmp_path / "usr/share/misc/pci.ids").write_bytes(PCI_IDS)
    assert listed_name(identity, tmp_path) == "Radeon RX 7700 XT / 7800 XT"


@given(st.binary(max_size=300))
def test_an_arbitrary_list_names_something_or_nothing(text: bytes) -> None:
    name = name_in_list(b"1002  AMD\n\t747e" + text, DeviceId("1002", "747e"))
    assert name is None or name


def test_devices_are_found_by_driver(
    recorded_card: Callable[[str], Path], sysfs_of: Callable[..., Path]
) -> None:
    root = sysfs_of(recorded_card("amd-rx580"), recorded_card("intel-cometlake"))
    assert devices_of("amdgpu", root) == ("0000:09:00.0",)
    assert devices_of("radeon", root) is None
    assert device_id(root / "sys/bus/pci/devices/0000:09:00.0") == DeviceId("1002", "67df")
    assert device_id(root / "nothing") is None


@given(st.text(max_size=200))
def test_an_arbitrary_uevent_is_pairs(text: str) -> None:
    assert all("\n" not in key for key in parse_uevent(text))


def test_a_uevent_is_pairs() -> None:
    assert parse_uevent("DRIVER=amdgpu\nnoise\nA=b=c\n\0\0") == {"DRIVER": "amdgpu", "A": "b=c"}


@pytest.mark.parametrize(
    ("speed", "generation"),
    [("2.5 GT/s PCIe", 1), ("8.0 GT/s PCIe", 3), ("32.0 GT/s PCIe", 5), ("Unknown", None)],
)
def test_speeds_are_generations(speed: str, generation: int | None) -> None:
    assert link_generation(speed) == generation


def test_the_outer_port_is_that_of_the_cards_own_switch(tmp_path: Path) -> None:
    root_port = tmp_path / "0000:00:01.0"
    upstream = root_port / "0000:01:00.0"
    downstream = upstream / "0000:02:00.0"
    gpu = downstream / "0000:03:00.0"
    gpu.mkdir(parents=True)
    for folder, vendor, kind in (
        (root_port, "1022", "0604"),
        (upstream, "1002", "0604"),
        (downstream, "1002", "0604"),
        (gpu, "1002", "0300"),
    ):
        (folder / "vendor").write_text(f"0x{vendor}\n")
        (folder / "class").write_text(f"0x{kind}00\n")
    assert outer_port(gpu, "1002") == upstream.resolve()
    assert outer_port(gpu, "10de") == gpu.resolve()


@pytest.mark.parametrize(
    ("states", "drives"),
    [
        ({}, None),
        ({"DP-1": "disabled"}, False),
        ({"DP-1": "disabled", "HDMI-A-1": "enabled"}, True),
    ],
)
def test_a_screen_is_seen_at_any_connector(
    tmp_path: Path, states: dict[str, str], drives: bool | None
) -> None:
    for connector, state in states.items():
        folder = tmp_path / "drm" / "card1" / f"card1-{connector}"
        folder.mkdir(parents=True)
        (folder / "enabled").write_text(f"{state}\n")
    assert drives_display(tmp_path) is drives
