"""Drives that may not answer, in tables of mounts and behind links."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from gpupanel.backends.linux.far_drives import FarDrives

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="/proc is Linux's")

OURS, THEIRS = "user_id=0", "user_id=1000"
TABLE = (
    "/dev/sda1 / ext4 rw 0 0\n"
    "server:/x /srv/a\\040b nfs4 rw 0 0\n"
    f"x /home/mara/drive fuse.x ro,{THEIRS},allow_other 0 0\n"
    f"x /opt/ours fuse rw,{OURS} 0 0\n"
    f"/dev/sdb1 /media/disk fuseblk rw,{THEIRS} 0 0\n"
    "damaged\n"
)


@pytest.fixture
def drives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FarDrives:
    """As process 7 sees them, whose root is a folder of the test; ours are none."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    for name, table in (("self", "/dev/sda1 / ext4 rw 0 0\n"), ("7", TABLE)):
        folder = tmp_path / name
        (folder / "ns").mkdir(parents=True)
        (folder / "ns/mnt").symlink_to(f"mnt:[{name}]")
        (folder / "mounts").write_text(table)
        (folder / "root").symlink_to(tmp_path / "tree")
    home = tmp_path / "tree/home/mara"
    home.mkdir(parents=True)
    for name, target in {
        "config": "/srv/a b/config", "near": "plain", "circle": "circle", "up": "../mara/drive/x",
        "folder": "drive",
    }.items():  # fmt: skip
        (home / name).symlink_to(target)
    (home / "plain").write_text("x")
    return FarDrives(tmp_path)


@pytest.mark.parametrize(
    ("path", "is_far"),
    [
        ("/home/mara/plain", False), ("/srv/a b/miner", True), ("/srv/a", False),
        ("/home/mara/drive/miner", True), ("/opt/ours/x", False), ("/media/disk/miner", False),
    ],
)  # fmt: skip
def test_which_drives_may_hang(drives: FarDrives, path: str, is_far: bool) -> None:
    assert drives.has(7, path) is is_far
    assert drives.on_the_way(7, path) is is_far
    assert not drives.has("self", path)
    assert not drives.has(8, path)  # nobody: nothing of it can be asked for


@pytest.mark.parametrize(
    ("name", "is_far"),
    [
        ("plain", False), ("near", False), ("config", True), ("up", True), ("folder/x", True),
        ("./../mara/near", False), ("circle", True), ("../../srv/a b", True), ("gone", False),
    ],
)  # fmt: skip
def test_a_link_to_one_is_not_followed(drives: FarDrives, name: str, is_far: bool) -> None:
    assert drives.on_the_way(7, f"/home/mara/{name}") is is_far


def test_a_drive_that_came_is_seen_at_the_next_look(drives: FarDrives, tmp_path: Path) -> None:
    assert not drives.has("self", "/mnt/x")
    (tmp_path / "self/mounts").write_text("x /mnt 9p rw 0 0\n")
    assert not drives.has("self", "/mnt/x")
    drives.look_again()
    assert drives.has("self", "/mnt/x")
