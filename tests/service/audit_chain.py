"""Chains for tests: made by ``seal`` alone, without threads, and laid down as files."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from gpupanel.cli.audit import folder
from gpupanel.cli.audit.check import Outcome, check
from gpupanel.model.chain import Head, Moment, Record, file_name, seal
from gpupanel.service.audit.mirror import Told

START_UNIX_S = 1_800_000_000.0


def chain(count: int, after: Head | None = None) -> list[Record]:
    """``count`` records, one a second."""
    records: list[Record] = []
    head = after or Head()
    for _ in range(count):
        fields = {"name": f"program {head.seq}", "cap_percent": 50, "gpus": ["GPU-1"]}
        moment = Moment(START_UNIX_S + head.seq, 100.0 + head.seq)
        records.append(seal(head, moment, "hold.applied", "notice", fields))
        head = records[-1].head
    return records


def rotated(after: Head, oldest_seq: int) -> Record:
    """The record that a new file begins with."""
    fields = {"previous_file": file_name(1), "oldest_seq": oldest_seq}
    moment = Moment(after.time_unix_s, 100.0 + after.seq)
    return seal(after, moment, "audit.rotated", "info", fields)


def three_files(each: int) -> list[list[Record]]:
    """Three full files, with nothing removed yet."""
    files = [chain(each)]
    for _ in range(2):
        first = rotated(files[-1][-1].head, 1)
        files.append([first, *chain(each - 1, first.head)])
    return files


def content(records: Sequence[Record]) -> bytes:
    """Of the file that holds them."""
    return "".join(f"{record.line}\n" for record in records).encode()


def lay_down(path: Path, contents: Sequence[bytes]) -> Path:
    """As the files of a chain in a folder that is there and may hold another."""
    for old in path.glob("audit-*"):
        old.unlink()
    for number, file_content in enumerate(contents, start=1):
        (path / file_name(number)).write_bytes(file_content)
        (path / file_name(number)).chmod(0o640)
    path.chmod(0o750)
    return path


def checked(path: Path) -> Outcome:
    """What ``audit verify`` finds in a folder."""
    return check(folder.lines(path))


def broken(outcome: Outcome) -> list[str]:
    """The kinds of what was changed."""
    return [finding.kind.value for finding in outcome.findings if finding.kind.is_broken]


class Mirror:
    """A mirror that remembers, and lets a test wait for what it is told."""

    def __init__(self) -> None:
        self.problem = ""
        self.told: list[Told] = []
        self.is_closed = False
        self._turn = threading.Condition()

    def tell(self, told: Told) -> None:
        with self._turn:
            self.told.append(told)
            self._turn.notify_all()

    def close(self) -> None:
        self.is_closed = True

    def wait_for(self, is_there: Callable[[list[Told]], bool]) -> None:
        with self._turn:
            assert self._turn.wait_for(lambda: is_there(self.told), timeout=60)


class Clock:
    """Both clocks, set by the test."""

    def __init__(self) -> None:
        self.unix_s = START_UNIX_S
        self.boot_s = 100.0

    def __call__(self) -> Moment:
        return Moment(self.unix_s, self.boot_s)

    def go_on(self, seconds: float) -> None:
        self.unix_s += seconds
        self.boot_s += seconds
