"""Whether a chain is whole: line after line, in one pass.

What the files alone can show: a record that was edited, deleted, inserted or moved, and files
that are missing at the front or in the middle. What they cannot: that records were cut off at the
end, or that all of it was written anew; only a mirror that the same hand could not change can.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple

from gpupanel.cli.audit.folder import Line
from gpupanel.model.audit import described
from gpupanel.model.chain import Head, Record, unseal

MOST_FINDINGS = 100
"""So many are told one by one; a chain that is broken everywhere needs no more."""


class Kind(StrEnum):
    """What is wrong at one place."""

    EDITED = "edited"
    DELETED = "deleted"
    REORDERED = "reordered"
    INSERTED = "inserted"
    TRUNCATED = "truncated"
    """The mirror knows more than the files hold."""
    INSECURE = "insecure"
    TORN = "torn"
    """The last line has no end: it is being written, or a crash cut it off."""
    GAP = "gap"
    """The daemon itself says that something is missing."""

    @property
    def is_broken(self) -> bool:
        """Whether somebody or something changed what had been written."""
        return self not in {Kind.INSECURE, Kind.TORN, Kind.GAP}


@dataclass(frozen=True, slots=True)
class Finding:
    """One of them.

    Attributes:
        line: From 1; 0 for a file as a whole.
        seq: Of the record that stands there; None where there is none.
    """

    kind: Kind
    file: Path
    line: int
    seq: int | None
    text: str

    def as_json(self) -> dict[str, Any]:
        """One entry of ``findings``."""
        return {**asdict(self), "file": str(self.file), "is_broken": self.kind.is_broken}

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else f"{self.file}"
        record = "" if self.seq is None else f" record {self.seq}:"
        return f"{place}:{record} {self.kind.value}: {self.text}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one pass found.

    Attributes:
        findings: In the order of the files, at most MOST_FINDINGS.
        left_off: How many more there are.
        by_seq: The hash of each record.
    """

    records: int
    first: Record | None
    last: Record | None
    findings: tuple[Finding, ...]
    left_off: int
    by_seq: dict[int, str]


class _Place(NamedTuple):
    """A line, and the how manieth of all it is."""

    at: int
    line: Line


class _Missing(NamedTuple):
    """Records that should stand before a line, and did not until then."""

    first_seq: int
    last_seq: int
    before: _Place


def check(lines: Iterable[Line]) -> Outcome:
    """Go through all lines of a chain."""
    checker = _Checker()
    for at, line in enumerate(lines):
        checker.read(_Place(at, line))
    return checker.outcome()


class _Checker:
    """Where one pass stands."""

    def __init__(self) -> None:
        self._first: Record | None = None
        self._last: Record | None = None
        self._unread = 0
        self._oldest_kept = 1
        self._missing: list[_Missing] = []
        self._missing_front: _Missing | None = None
        self._astray: list[int] = []
        self._by_seq: dict[int, str] = {}
        self._findings: list[tuple[int, Finding]] = []

    def read(self, place: _Place) -> None:
        """The next line."""
        if place.line.is_torn:
            text = "the line has no end: it is being written, or a crash cut it off"
            self._tell(Kind.TORN, place, None, text)
            return
        try:
            record = unseal(place.line.content)
        except ValueError as reason:
            self._tell(Kind.EDITED, place, None, f"the line {reason}")
            self._unread += 1
            return
        if self._last is not None and record.seq <= self._last.seq:
            self._tell_astray(record, place)
            return
        self._follow(record, place)
        if record.event == "audit.gap":
            self._tell(Kind.GAP, place, record.seq, described(record.fields))
        elif record.event == "audit.rotated":
            oldest = record.fields.get("oldest_seq")
            self._oldest_kept = oldest if isinstance(oldest, int) else 1

    def outcome(self) -> Outcome:
        """After the last line."""
        if self._missing_front and self._missing_front.last_seq >= self._oldest_kept:
            # Rotation removes old files, and the newest one says up to where.
            self._missing.append(self._missing_front._replace(first_seq=self._oldest_kept))
        self._tell_missing()
        findings = [finding for _, finding in sorted(self._findings, key=lambda one: one[0])]
        return Outcome(
            len(self._by_seq), self._first, self._last, tuple(findings[:MOST_FINDINGS]),
            max(len(findings) - MOST_FINDINGS, 0), self._by_seq,
        )  # fmt: skip

    def _follow(self, record: Record, place: _Place) -> None:
        """Compare with the record before; an unreadable line may have been one between."""
        before = self._last.head if self._last else Head()
        first_missing = before.seq + 1 + self._unread
        if record.seq == before.seq + 1:
            if record.prev != before.hash:
                self._tell_mismatch(record, place)
        elif record.seq > first_missing:
            missing = _Missing(first_missing, record.seq - 1, place)
            if self._last is None:
                self._missing_front = missing
            else:
                self._missing.append(missing)
        self._first = self._first or record
        self._last = record
        self._by_seq[record.seq] = record.hash
        self._unread = 0

    def _tell_mismatch(self, record: Record, place: _Place) -> None:
        if self._last is None:
            text = f"it follows {record.prev[:12]}, and nothing can be before the first record"
        else:
            text = f"it or record {self._last.seq} was rewritten: it does not follow that one"
        self._tell(Kind.EDITED, place, record.seq, text)

    def _tell_astray(self, record: Record, place: _Place) -> None:
        if record.seq in self._by_seq:
            self._tell(Kind.INSERTED, place, record.seq, "stands in the chain a second time")
            return
        self._by_seq[record.seq] = record.hash
        self._astray.append(record.seq)
        self._tell(Kind.REORDERED, place, record.seq, "stands behind records that follow it")

    def _tell_missing(self) -> None:
        astray = sorted(self._astray)
        for first_seq, last_seq, before in self._missing:
            found = bisect_right(astray, last_seq) - bisect_left(astray, first_seq)
            count = last_seq - first_seq + 1 - found
            if count:
                one, many = f"record {first_seq}", f"{count} of records {first_seq} to {last_seq}"
                span = one if first_seq == last_seq else many
                self._tell(Kind.DELETED, before, last_seq + 1, f"{span} should stand before it")

    def _tell(self, kind: Kind, place: _Place, seq: int | None, text: str) -> None:
        line = place.line
        self._findings.append((place.at, Finding(kind, line.file, line.number, seq, text)))
