r"""The chain of the audit log: each record holds the hash of the one before and its own.

One record is one line of JSON in ASCII, without blanks; its members are ``seq``, ``time``,
``boot_s``, ``event``, ``severity``, the fields of the event in alphabetical order, ``prev`` and
``hash``. The hash is SHA-256 over the line without its last member, and so over ``prev`` too:

    sed -E 's/,"hash":"[0-9a-f]{64}"}$/}/' | tr -d '\n' | sha256sum
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

GENESIS = "0" * 64
"""What stands in the place of the hash before the first record."""

CORE_FIELDS = ("seq", "time", "boot_s", "event", "severity", "prev", "hash")
"""Every record has them."""

_FILE = re.compile(r"audit-(\d{6,})\.jsonl")
_HASH = re.compile(rb',"hash":"([0-9a-f]{64})"}')
_HASH_BYTES = len(',"hash":"') + 64 + len('"}')


class Head(NamedTuple):
    """The newest record of a chain.

    Attributes:
        seq: From 1; 0 before the first record.
        time_unix_s: When it was recorded; 0 before the first record.
    """

    seq: int = 0
    hash: str = GENESIS
    time_unix_s: float = 0.0


class Moment(NamedTuple):
    """One instant on two clocks.

    Attributes:
        boot_s: Since the machine started, sleep included; nobody can set it.
    """

    unix_s: float
    boot_s: float


@dataclass(frozen=True, slots=True)
class Record:
    """One record that agrees with its own hash.

    Attributes:
        fields: All members but those of CORE_FIELDS.
        line: As in the file, without its end.
        time_unix_s: ``time``.
    """

    seq: int
    time: str
    boot_s: float
    event: str
    severity: str
    fields: Mapping[str, Any]
    prev: str
    hash: str
    line: str
    time_unix_s: float

    @property
    def head(self) -> Head:
        """What the next record follows."""
        return Head(self.seq, self.hash, self.time_unix_s)


def seal(
    after: Head, moment: Moment, event: str, severity: str, fields: Mapping[str, Any]
) -> Record:
    """The record that follows ``after``; ``fields`` hold nothing but what JSON has."""
    time = datetime.fromtimestamp(moment.unix_s, UTC).isoformat(timespec="microseconds")
    time, boot_s = time.replace("+00:00", "Z"), round(moment.boot_s, 6)
    seq, ordered = after.seq + 1, {name: fields[name] for name in sorted(fields)}
    members = {
        "seq": seq, "time": time, "boot_s": boot_s, "event": event, "severity": severity,
        **ordered, "prev": after.hash,
    }  # fmt: skip
    body = json.dumps(members, separators=(",", ":"), allow_nan=False)
    own = hashlib.sha256(body.encode("ascii")).hexdigest()
    line = f'{body[:-1]},"hash":"{own}"}}'
    return Record(
        seq, time, boot_s, event, severity, ordered, after.hash, own, line, moment.unix_s
    )  # fmt: skip


def unseal(line: bytes) -> Record:
    """Read one line, without its end.

    Raises:
        ValueError: It is no record, or does not agree with its own hash.
    """
    sealed = _HASH.fullmatch(line, max(len(line) - _HASH_BYTES, 0))
    if sealed is None:
        raise ValueError("is not a record")
    body, own = line[:-_HASH_BYTES] + b"}", sealed[1].decode()
    if hashlib.sha256(body).hexdigest() != own:
        raise ValueError("was changed after it was written")
    try:
        return _record(json.loads(body), own, line.decode("ascii"))
    except (ValueError, TypeError, KeyError, OverflowError, OSError, RecursionError):
        raise ValueError("is not a record") from None


def _record(members: dict[str, Any], own: str, line: str) -> Record:
    seq, prev = members.pop("seq"), members.pop("prev")
    time, boot_s = members.pop("time"), members.pop("boot_s")
    event, severity = members.pop("event"), members.pop("severity")
    if type(seq) is not int or seq < 1 or not isinstance(boot_s, int | float):
        raise ValueError("numbers")
    if not (isinstance(prev, str) and isinstance(event, str) and isinstance(severity, str)):
        raise ValueError("texts")
    unix_s = datetime.fromisoformat(time).timestamp()
    return Record(seq, time, boot_s, event, severity, members, prev, own, line, unix_s)


def file_name(number: int) -> str:
    """Of the nth file of a chain, from 1; the numbers of files go on for good."""
    return f"audit-{number:06}.jsonl"


def file_number(name: str) -> int | None:
    """Inverse of ``file_name``; None for any other name."""
    known = _FILE.fullmatch(name)
    return int(known[1]) if known and file_name(int(known[1])) == name else None
