"""Whatever happens to the writer or to the file: a hold that was noted is found again."""

from __future__ import annotations

import json
import os
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpupanel.enforcement.journal import Journal
from gpupanel.model.errors import HoldFailed

BOOT = "b0"
NAMES = st.sampled_from(["a", "b", "c"])
OPERATIONS = st.lists(st.tuples(st.sampled_from(["write", "remove"]), NAMES), max_size=8)
TRACE = {"kind": "signals", "processes": [[1, 2]]}


class Crash(BaseException):
    """The power went, or SIGKILL came."""


class Kernel:
    """Dies before the n-th call that changes the disk, and leaves what was written so far."""

    def __init__(self, calls: int, cut: int) -> None:
        self._left = calls
        self._cut = cut
        self.has_crashed = False
        self.parts: list[tuple[Path, bytes]] = []

    def step(self) -> None:
        if self._left == 0:
            self.has_crashed = True
            raise Crash
        self._left -= 1

    def replace(self, source: str, target: Path) -> None:
        content = Path(source).read_bytes()
        try:
            self.step()
        except Crash:
            self.parts.append((Path(source), content[: self._cut % (len(content) + 1)]))
            raise
        os.rename(source, target)
        self.step()

    def fsync(self, descriptor: int) -> None:
        del descriptor
        self.step()


@given(OPERATIONS, st.integers(0, 30), st.integers(0, 4096))
def test_a_crash_at_any_step_loses_no_hold(
    operations: list[tuple[str, str]], calls: int, cut: int
) -> None:
    """Held: noted, and not yet forgotten, as whoever freezes knows it."""
    kernel = Kernel(calls, cut)
    held: set[str] = set()
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patched:
        patched.setattr("gpupanel.files.os.replace", kernel.replace)
        patched.setattr("gpupanel.files.os.fsync", kernel.fsync)
        path = Path(folder, "holds.json")
        try:
            journal = Journal(path, BOOT)
            for verb, name in operations:
                if verb == "write":
                    journal.write(name, TRACE, {"uid": 7})
                    held.add(name)
                else:
                    held.discard(name)
                    journal.remove(name)
        except (Crash, HoldFailed):  # that which nobody is left to hear
            assert kernel.has_crashed
        for part, content in kernel.parts:
            part.write_bytes(content)
        again = Journal(path, BOOT)
        assert held <= {entry.name for entry in again.entries()}
        assert again.problem == ""
        patched.undo()
        again.write("z", TRACE, {})
        assert [one.name for one in Path(folder).iterdir()] == [path.name]


@cache
def _eight_holds() -> tuple[tuple[str, ...], bytes]:
    names = tuple(f"hold-{number}" for number in range(8))
    with TemporaryDirectory() as folder:
        journal = Journal(Path(folder, "holds.json"), BOOT)
        for name in names:
            journal.write(name, TRACE, {"text": "ö\n"})
        return names, Path(folder, "holds.json").read_bytes()


@given(st.integers(0, 5000), st.binary(min_size=1, max_size=40), st.booleans())
def test_damage_costs_no_more_than_the_lines_that_it_hits(
    at: int, junk: bytes, is_cut: bool
) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder, "holds.json")
        names, whole = _eight_holds()
        at %= len(whole)
        end = len(whole) if is_cut else at + len(junk)
        path.write_bytes(whole[:at] + (b"" if is_cut else junk) + whole[end:])
        found = {entry.name for entry in Journal(path, BOOT).entries()}
    first = whole[:at].count(b"\n")
    last = whole[:end].count(b"\n")
    hit = set(names[max(0, first - 1) : last])
    # Junk may make the head name another boot only by being JSON of that very form.
    assert set(names) - hit <= found


def test_holds_are_told_in_their_order_and_as_they_were(journal_path: Path) -> None:
    journal = Journal(journal_path, BOOT)
    assert journal.entries() == ()
    journal.write("one", TRACE, {"cap": 50})
    journal.write("two", {"kind": "handles"}, {})
    journal.write("one", {"kind": "handles"}, {"cap": 40})
    for again in (journal, Journal(journal_path, BOOT)):
        assert [one.name for one in again.entries()] == ["one", "two"]
        assert again.entries()[0].resume == {"cap": 40}
        assert again.entries()[0].trace == {"kind": "handles"}
    journal.remove("one")
    journal.remove("one")
    assert [one.name for one in Journal(journal_path, BOOT).entries()] == ["two"]


def test_another_boot_has_let_go(journal_path: Path) -> None:
    Journal(journal_path, "before").write("one", TRACE, {})
    journal = Journal(journal_path, BOOT)
    assert journal.entries() == ()
    assert journal.problem == ""


def test_it_is_on_the_disk_when_write_returns(
    journal_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    fsync = os.fsync

    def record(descriptor: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        fsync(descriptor)

    monkeypatch.setattr("gpupanel.files.os.fsync", record)
    Journal(journal_path, BOOT).write("one", TRACE, {})
    assert len(synced) == 2
    assert synced[1] == str(journal_path.parent)


def test_what_cannot_be_written_must_not_be_held(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "missing" / "holds.json", BOOT)
    with pytest.raises(HoldFailed, match="cannot be written"):
        journal.write("one", TRACE, {})
    assert journal.entries() == ()


def test_it_does_not_grow_without_end(journal_path: Path) -> None:
    journal = Journal(journal_path, BOOT)
    with pytest.raises(HoldFailed, match="longer than"):
        journal.write("one", {"kind": "x" * 70_000}, {})
    line = {"name": "n", "trace": TRACE, "resume": {}}
    lines = [{"version": 1, "boot": BOOT}, *({**line, "name": str(n)} for n in range(256))]
    journal_path.write_text("".join(json.dumps(one) + "\n" for one in lines), "ascii")
    full = Journal(journal_path, BOOT)
    with pytest.raises(HoldFailed, match="256 holds"):
        full.write("one more", TRACE, {})
    full.write("0", TRACE, {"again": True})


@pytest.mark.parametrize(
    "line",
    [
        b'{"name": 1, "trace": {}, "resume": {}}',
        b'{"name": "x", "trace": [], "resume": {}}',
        b"[" * 5000,
        b"\xff\xfe",
        b"null",
    ],
)
def test_a_line_that_is_no_hold_is_told(journal_path: Path, line: bytes) -> None:
    Journal(journal_path, BOOT).write("good", TRACE, {})
    with open(journal_path, "ab") as file:
        file.write(line + b"\n")
    journal = Journal(journal_path, BOOT)
    assert [one.name for one in journal.entries()] == ["good"]
    assert journal.problem.startswith(f"{journal_path}:3: ")


def test_a_folder_in_its_place_is_told(tmp_path: Path) -> None:
    journal = Journal(tmp_path, BOOT)
    assert journal.entries() == ()
    assert "cannot be read" in journal.problem
