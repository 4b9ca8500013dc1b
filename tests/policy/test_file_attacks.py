"""Thirteen ways to make the administrator's file another's, and a race of them: none is read."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from gpupanel.model.errors import PolicyInvalid
from gpupanel.policy.generation import load
from gpupanel.policy.parse import MAX_FILE_BYTES
from gpupanel.policy.resolve import PolicyState
from gpupanel.policy.sources import Sources
from gpupanel.policy.trusted_file import Trust, safe_read

pytest.importorskip("pwd", reason="Windows has no owners and modes to walk by")
assert sys.platform != "win32"

NOBODY = 65534
CAP = "mining.max_efficiency_percent"
GOOD = b"schema = 1\nmandatory.mining.max_efficiency_percent = 50\n"
EVIL = b"schema = 1\nmandatory.mining.max_efficiency_percent = 100\n"


def give_away(path: Path) -> None:
    """To somebody else; where we are not root, to everybody."""
    if os.geteuid() == 0:
        os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
    elif not path.is_symlink():
        path.chmod(0o666)


def evil(path: Path) -> Path:
    """A user's file in a directory of the user's."""
    home = path.parents[1] / "home"
    home.mkdir(exist_ok=True)
    home.chmod(0o777)
    (home / "evil.toml").write_bytes(EVIL)
    give_away(home / "evil.toml")
    return home / "evil.toml"


def owned_by_user(path: Path) -> None:
    path.write_bytes(EVIL)
    give_away(path)


def group_writable(path: Path) -> None:
    path.write_bytes(EVIL)
    path.chmod(0o664)


def writable_directory(path: Path) -> None:
    path.write_bytes(EVIL)
    path.parent.chmod(0o777)


def link_to_user_file(path: Path) -> None:
    path.symlink_to(evil(path))


def link_of_the_user(path: Path) -> None:
    """Our own file, but the link decides that it is read."""
    path.with_name("real").write_bytes(EVIL)
    path.symlink_to("real")
    if os.geteuid() == 0:
        give_away(path)
    else:
        path.parent.chmod(0o777)


def hard_link(path: Path) -> None:
    os.link(evil(path), path)
    if os.geteuid() == 0:
        os.chown(path, 0, 0)
    path.chmod(0o644)


def pipe(path: Path) -> None:
    os.mkfifo(path)


def endless_device(path: Path) -> None:
    try:
        os.mknod(path, 0o20644, os.makedev(1, 5))
    except PermissionError:
        path.symlink_to("/dev/zero")


def huge(path: Path) -> None:
    path.touch()
    os.truncate(path, 10 << 30)


def link_circle(path: Path) -> None:
    path.symlink_to("other.toml.link")
    path.with_name("other.toml.link").symlink_to(path.name)


def way_through_tmp(path: Path) -> None:
    tmp = path.parents[1] / "tmp"
    tmp.mkdir()
    (tmp / "etc").mkdir()
    (tmp / "etc" / "p.toml").write_bytes(EVIL)
    tmp.chmod(0o1777)
    path.symlink_to("../tmp/etc/p.toml")


def way_back_through_the_user(path: Path) -> None:
    """It ends at a trusted file; what ``..`` is, the user's directory decides."""
    path.with_name("real").write_bytes(EVIL)
    home = evil(path).parent
    path.symlink_to(f"../{home.name}/../{path.parent.name}/real")


def directory(path: Path) -> None:
    path.mkdir()


ATTACKS: tuple[Callable[[Path], None], ...] = (
    owned_by_user, group_writable, writable_directory, link_to_user_file, link_of_the_user,
    hard_link, pipe, endless_device, huge, link_circle, way_through_tmp,
    way_back_through_the_user, directory,
)  # fmt: skip


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
def test_an_attack_keeps_the_last_good_policy(
    sources: Sources, attack: Callable[[Path], None]
) -> None:
    path = sources.machine.dirs[0] / "60.toml"
    path.write_bytes(GOOD)
    load(sources)
    path.unlink()
    attack(path)
    policy = load(sources)
    assert (policy.state, policy.integer(CAP)) == (PolicyState.STALE, 50)
    assert policy.diagnostics[0].code in {"GP003", "GP020", "GP021"}
    assert len(ATTACKS) == 13


def race(path: Path, trust: Trust, seconds: float) -> tuple[int, int, int]:
    """Reads while somebody swaps file and directory; good, refused and untrusted ones."""
    bad = evil(path)
    good = path.with_name("good")
    stop = threading.Event()

    def swap() -> None:
        link, fresh = path.with_name("link"), path.with_name("fresh")
        while not stop.is_set():
            link.symlink_to(bad)
            link.replace(path)
            os.link(bad, link)
            link.replace(path)
            fresh.write_bytes(GOOD)
            fresh.replace(path)
            path.parent.rename(good.parents[1] / "aside")
            (good.parents[1] / "aside").rename(path.parent)

    path.write_bytes(GOOD)
    thread = threading.Thread(target=swap)
    thread.start()
    read = refused = untrusted = 0
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s:
        try:
            content = safe_read(path, MAX_FILE_BYTES, trust)
        except (PolicyInvalid, FileNotFoundError):
            refused += 1
            continue
        read += content == GOOD
        untrusted += content != GOOD
    stop.set()
    thread.join()
    return read, refused, untrusted


@pytest.mark.parametrize("seconds", [1, pytest.param(5, marks=pytest.mark.long)])
def test_no_race_gets_an_untrusted_byte_through(
    sources: Sources, trust: Trust, seconds: float
) -> None:
    path = sources.machine.dirs[0] / "60.toml"
    read, refused, untrusted = race(path, trust, seconds)
    print(f"{seconds} s: {read} good reads, {refused} refused, {untrusted} untrusted")  # noqa: T201
    assert untrusted == 0
    assert read > 10
    assert refused > 10
