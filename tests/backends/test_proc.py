from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpupanel.backends.linux.proc import Identity, identity, started_unix_s
from tests.backends.fake_proc import FakeProc

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="/proc is Linux's")


def test_it_agrees_with_psutil_about_a_real_process_with_a_difficult_name(tmp_path: Path) -> None:
    program = tmp_path / "a) S 1 (b"
    program.write_bytes(Path("/bin/sleep").read_bytes())
    program.chmod(0o755)
    child = subprocess.Popen([str(program), "60"])
    try:
        found, known = identity(child.pid), psutil.Process(child.pid)
        assert found is not None
        assert (found.name, found.user) == (known.name(), known.username())
        assert found.name == "a) S 1 (b"
        since_boot_s = known.create_time() - psutil.boot_time()
        assert found.started / _ticks_per_s() == pytest.approx(since_boot_s, abs=1.1)
    finally:
        child.kill()
        child.wait()


def test_two_looks_agree_and_another_process_differs() -> None:
    mine, parent = identity(os.getpid()), identity(os.getppid())
    assert mine is not None
    assert mine == identity(os.getpid())
    assert mine != parent


def test_a_process_that_is_gone_has_no_identity() -> None:
    child = subprocess.Popen(["/bin/true"])
    child.wait()
    assert identity(child.pid) is None


@pytest.mark.parametrize(
    ("comm", "called", "name"),
    [
        ("Xorg", "/usr/lib/xorg/Xorg", "Xorg"),
        ("gnome-shell-cal", "/usr/libexec/gnome-shell-calendar-server",
         "gnome-shell-calendar-server"),
        ("exactly-fifteen", "python3", "exactly-fifteen"),
        ("short", "/opt/shorter-than-this", "short"),
        ("", "", ""),
    ],
)  # fmt: skip
def test_a_name_that_the_kernel_cut_is_completed(
    tmp_path: Path, comm: str, called: str, name: str
) -> None:
    proc = FakeProc(tmp_path)
    proc.start(7, comm=comm, called=called)
    found = identity(7, tmp_path)
    assert found is not None
    assert found.name == name


def test_a_user_without_a_name_is_a_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    FakeProc(tmp_path).start(7, started=42)
    stat = Path.stat

    def owned(path: Path) -> os.stat_result:
        return os.stat_result((*stat(path)[:4], 3_999_999, *stat(path)[5:]))

    monkeypatch.setattr(Path, "stat", owned)
    assert identity(7, tmp_path) == Identity(42, "game", "3999999", 3999999)


@given(stat=st.binary(max_size=200), cmdline=st.binary(max_size=80))
def test_any_bytes_give_an_identity_or_none(stat: bytes, cmdline: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        FakeProc(root).start(7)
        (root / "7/stat").write_bytes(stat)
        (root / "7/cmdline").write_bytes(cmdline)
        found = identity(7, root)
        assert found is None or isinstance(found.started, int)


def _ticks_per_s() -> int:
    return int(subprocess.check_output(["getconf", "CLK_TCK"]))


def test_a_start_time_is_told_on_the_wall_clock() -> None:
    mine = identity(os.getpid())
    assert mine is not None
    told_s = started_unix_s(mine.started)
    assert told_s is not None
    assert abs(told_s - psutil.Process().create_time()) <= 2
    assert told_s == started_unix_s(mine.started)
    assert started_unix_s(0) is None
