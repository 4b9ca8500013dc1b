from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from gpupanel.model.errors import PolicyInvalid
from gpupanel.policy import trusted_file
from gpupanel.policy.faults import Fault
from gpupanel.policy.trusted_file import Trust, plain_read, safe_names, safe_read

pytest.importorskip("pwd", reason="Windows has no owners and modes to walk by")
assert sys.platform != "win32"

NOBODY = 65534


def read(path: Path, trust: Trust) -> bytes:
    return safe_read(path, 1024, trust)


def refused(path: Path, trust: Trust) -> tuple[str, str]:
    with pytest.raises(PolicyInvalid) as refusal:
        read(path, trust)
    [diagnostic] = refusal.value.diagnostics
    assert diagnostic.path == str(path)
    return diagnostic.code, diagnostic.text


def given_away(path: Path, base: Path) -> Trust:
    """The trust that ``path``, the first step of a way, does not deserve.

    As root it really belongs to somebody else; otherwise it is ours while root is trusted.
    """
    if os.geteuid() == 0:
        os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
    return Trust(0, base)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "etc" / "policy.toml"
    path.parent.mkdir()
    path.write_bytes(b"schema = 1")
    return path


def test_a_file_of_the_trusted_owner_is_read(file: Path, trust: Trust) -> None:
    assert read(file, trust) == b"schema = 1"
    assert safe_names(file.parent, trust) == ["policy.toml"]


def test_the_real_root_is_trusted_by_default() -> None:
    system = Path("/etc/os-release")
    assert safe_read(system, 65536, Trust()) == system.read_bytes()
    assert "passwd" in safe_names(Path("/etc"), Trust())


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_file_that_others_can_write_is_refused(file: Path, trust: Trust, mode: int) -> None:
    file.chmod(mode)
    code, text = refused(file, trust)
    assert code == Fault.INSECURE
    assert (
        text == f'"policy.toml" can be written by group or others (mode {mode:04o}): chmod go-w it'
    )


@pytest.mark.parametrize("mode", [0o770, 0o757, 0o1777])
def test_a_directory_that_others_can_write_is_refused(file: Path, trust: Trust, mode: int) -> None:
    file.parent.chmod(mode)
    code, text = refused(file, trust)
    assert code == Fault.INSECURE
    assert '"etc" can be written' in text
    with pytest.raises(PolicyInvalid, match="GP021"):
        safe_names(file.parent, trust)


def test_somebody_else_s_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    path.write_bytes(b"schema = 1")
    code, text = refused(path, given_away(path, tmp_path))
    assert code == Fault.INSECURE
    assert text.startswith('"policy.toml" belongs to uid')


def test_a_file_in_somebody_else_s_directory_is_refused(file: Path, tmp_path: Path) -> None:
    trust = given_away(file.parent, tmp_path)
    code, text = refused(file, trust)
    assert code == Fault.INSECURE
    assert text.startswith('"etc" belongs to uid')
    with pytest.raises(PolicyInvalid, match="GP021"):
        safe_names(file.parent, trust)


def test_somebody_else_s_link_is_refused(file: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.toml"
    link.symlink_to(file)
    code, text = refused(link, given_away(link, tmp_path))
    assert code == Fault.INSECURE
    assert text.startswith('"link.toml" belongs to uid')


def test_a_trusted_link_into_an_unsafe_directory_is_refused(file: Path, trust: Trust) -> None:
    unsafe = trust.base / "tmp"
    unsafe.mkdir()
    unsafe.chmod(0o1777)
    (unsafe / "evil.toml").write_bytes(b"schema = 1")
    for target in ("../tmp/evil.toml", str(unsafe / "evil.toml")):
        link = file.parent / "link.toml"
        link.symlink_to(target)
        assert refused(link, trust)[0] == Fault.INSECURE
        link.unlink()
    assert refused(unsafe / ".." / "etc" / "policy.toml", trust)[0] == Fault.INSECURE


@pytest.mark.parametrize("target", ["policy.toml", "../etc/policy.toml", "{base}/etc/policy.toml"])
def test_trusted_links_are_followed(file: Path, trust: Trust, target: str) -> None:
    link = file.parent / "link.toml"
    link.symlink_to(target.format(base=trust.base))
    assert read(link, trust) == b"schema = 1"


def test_a_linked_directory_is_followed(file: Path, trust: Trust) -> None:
    """As on systems whose /etc is made of links into an image."""
    (trust.base / "current").symlink_to(file.parent)
    assert read(trust.base / "current" / "policy.toml", trust) == b"schema = 1"
    assert safe_names(trust.base / "current", trust) == ["policy.toml"]


def test_a_link_to_dev_null_masks(trust: Trust) -> None:
    link = trust.base / "masked.toml"
    link.symlink_to("/dev/null")
    assert read(link, trust) == b""


@pytest.mark.parametrize("target", ["/dev/zero", "../../../../../../../../dev/zero"])
def test_links_out_of_the_trusted_tree_are_refused(trust: Trust, target: str) -> None:
    link = trust.base / "link.toml"
    link.symlink_to(target)
    assert refused(link, trust)[0] == Fault.INSECURE


def test_links_in_a_circle_are_refused(trust: Trust) -> None:
    (trust.base / "a").symlink_to("b")
    (trust.base / "b").symlink_to("a")
    assert "more than 40 links" in refused(trust.base / "a", trust)[1]


def test_a_second_name_is_refused(file: Path, trust: Trust) -> None:
    os.link(file, file.parent / "other.toml")
    code, text = refused(file, trust)
    assert code == Fault.INSECURE
    assert "2 names (hard links)" in text


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir], ids=["pipe", "directory"])
def test_what_is_no_regular_file_is_refused_at_once(
    trust: Trust, make: Callable[[Path], None]
) -> None:
    path = trust.base / "policy.toml"
    make(path)
    code, text = refused(path, trust)
    assert code == Fault.UNREADABLE
    assert "not a regular file" in text
    with pytest.raises(PolicyInvalid, match="not a regular file"):
        plain_read(path, 1024)


def test_a_huge_file_is_read_up_to_its_limit(file: Path, trust: Trust) -> None:
    os.truncate(file, 10 * 2**30)
    assert len(read(file, trust)) == 1025
    assert len(plain_read(file, 1024)) == 1025


def test_a_file_that_changes_while_it_is_read_is_refused(
    file: Path, trust: Trust, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_up_to = trusted_file._read_up_to

    def read_then_write(fd: int, max_bytes: int) -> bytes:
        content = read_up_to(fd, max_bytes)
        file.write_bytes(b"schema = 1 # and more")
        return content

    monkeypatch.setattr(trusted_file, "_read_up_to", read_then_write)
    code, text = refused(file, trust)
    assert code == Fault.UNREADABLE
    assert "changed while it was read" in text


def test_a_file_replaced_after_the_walk_is_not_what_is_read(
    file: Path, trust: Trust, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The walk keeps hold of what it looked at; another file of the same name is not it."""
    walk = trusted_file._walk

    def walk_then_swap(*args: object) -> int | None:
        fd = walk(*args)  # type: ignore[arg-type]
        evil = file.with_name("evil")
        evil.write_bytes(b"evil")
        evil.replace(file)
        return fd

    monkeypatch.setattr(trusted_file, "_walk", walk_then_swap)
    # The old file has lost its only name, and is refused for that.
    assert "0 names" in refused(file, trust)[1]


def test_what_is_not_there_is_absent_and_not_broken(file: Path, trust: Trust) -> None:
    with pytest.raises(FileNotFoundError):
        read(file.with_name("nothing.toml"), trust)
    with pytest.raises(FileNotFoundError):
        safe_names(trust.base / "nothing" / "policy.d", trust)
    with pytest.raises(FileNotFoundError):
        plain_read(file.with_name("nothing.toml"), 1024)


def test_a_file_on_the_way_to_a_file_is_a_fault(file: Path, trust: Trust) -> None:
    assert refused(file / "policy.toml", trust)[0] == Fault.UNREADABLE
    with pytest.raises(PolicyInvalid, match="GP020"):
        safe_names(file, trust)


def test_no_descriptor_is_left_open(file: Path, trust: Trust) -> None:
    before = os.listdir("/proc/self/fd")
    file.parent.chmod(0o777)
    refused(file, trust)
    file.parent.chmod(0o755)
    read(file, trust)
    safe_names(file.parent, trust)
    assert os.listdir("/proc/self/fd") == before


def test_a_plain_file_can_be_asked_to_be_ours(file: Path) -> None:
    assert plain_read(file, 1024, os.geteuid()) == b"schema = 1"
    with pytest.raises(PolicyInvalid, match="not to you"):
        plain_read(file, 1024, os.geteuid() + 1)
