"""From the bytes of a policy file to claims, or to every fault in it with its place."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from typing import Any

from gpupanel.model.decision import Diagnostic
from gpupanel.model.errors import PolicyInvalid
from gpupanel.policy.claims import Claim, Final, Level, MemberClaim, Scope, Source, Statement
from gpupanel.policy.faults import Fault, error, printable
from gpupanel.policy.key import PolicyKey, Value
from gpupanel.policy.keys import POLICY_KEYS
from gpupanel.policy.positions import KeyPath, Place, Positions, scan
from gpupanel.policy.validate import MACHINE_TABLES, TABLES, faults_in

MAX_FILE_BYTES = 64 * 1024
"""Largest policy file."""

_PLACE_IN_TEXT = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")


def parse_machine(raw: bytes, path: str) -> tuple[Statement, ...]:
    """What a file of the administrator says, in the order in which it applies.

    Raises:
        PolicyInvalid: The file is refused; carries every fault, in the order of the file.
    """
    document, positions = _checked(raw, path)
    return (
        *_claims(document, positions, path, Scope.MACHINE),
        *_member_claims(document, positions, path),
        *_finals(document, positions, path),
    )


def parse(raw: bytes, path: str, scope: Scope) -> tuple[Claim, ...]:
    """What a file claims for everybody; later claims replace earlier ones.

    Args:
        raw: The file as it is on the disk.
        path: For messages and sources.
        scope: Who speaks; a machine's claims have the level of their table, others Level.USER.

    Raises:
        PolicyInvalid: The file is refused; carries every fault, in the order of the file.
    """
    document, positions = _checked(raw, path)
    misplaced = [_misplaced(name, positions, path) for name in MACHINE_TABLES if name in document]
    if misplaced:
        raise PolicyInvalid(misplaced)
    return tuple(_claims(document, positions, path, scope))


def _checked(raw: bytes, path: str) -> tuple[dict[str, Any], Positions]:
    """A document that the models accept, and where everything stands in it."""
    text = _decode(raw, path)
    positions = scan(text)
    if positions.unsafe:
        raise PolicyInvalid(_unsafe(positions, path))
    document = _load_toml(text, positions, path)
    faults = faults_in(document, positions, path)
    if faults:
        raise PolicyInvalid(faults)
    return document, positions


def _misplaced(name: str, positions: Positions, path: str) -> Diagnostic:
    place = positions.place(positions.keys[name,])
    text = f'"{name}" belongs in the machine policy: remove it here'
    return error(Fault.MISPLACED, path, text, place.line, place.column)


def _decode(raw: bytes, path: str) -> str:
    """UTF-8 with or without a byte order mark; line feeds as newlines."""
    if len(raw) > MAX_FILE_BYTES:
        text = f"the file is larger than {MAX_FILE_BYTES // 1024} KiB"
        raise PolicyInvalid([error(Fault.TOO_LARGE, path, text)])
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in raw:
        text = "the file looks like UTF-16: save it as UTF-8 (PowerShell: Out-File -Encoding utf8)"
        raise PolicyInvalid([error(Fault.ENCODING, path, text, 1, 1)])
    try:
        return raw.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as reason:
        before = raw[: reason.start].decode("utf-8-sig", errors="replace")
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        text = f"byte 0x{raw[reason.start]:02x} is not UTF-8: save the file as UTF-8"
        raise PolicyInvalid([error(Fault.ENCODING, path, text, line, column)]) from None


def _unsafe(positions: Positions, path: str) -> list[Diagnostic]:
    places = [(positions.place(one.offset), one) for one in positions.unsafe]
    return [error(one.fault, path, one.text, at.line, at.column) for at, one in places]


def _load_toml(text: str, positions: Positions, path: str) -> dict[str, Any]:
    """What tomllib says of a text that was found safe.

    Only what the scanner has understood is handed on, and the line on which it gave up: tomllib
    then gives up there too and tells why, and never sees a text that was not checked.
    """
    line_end = text.find("\n", positions.end)
    is_understood = positions.end == len(text)
    known = text if is_understood or line_end < 0 else text[:line_end]
    try:
        document = tomllib.loads(known)
    except (ValueError, RecursionError) as reason:
        raise PolicyInvalid([_syntax_error(str(reason), positions, path)]) from None
    if not is_understood:
        raise PolicyInvalid([_syntax_error("Invalid statement", positions, path)])
    return document


def _syntax_error(reason: str, positions: Positions, path: str) -> Diagnostic:
    found = _PLACE_IN_TEXT.search(reason)
    place = positions.place(positions.end)
    if found and found[1]:
        place = Place(int(found[1]), int(found[2]))
    text = _PLACE_IN_TEXT.sub("", reason)
    return error(Fault.SYNTAX, path, f"not TOML: {printable(text)}", place.line, place.column)


def _claims(
    document: Mapping[str, Any], positions: Positions, path: str, scope: Scope
) -> Iterator[Claim]:
    for level in TABLES:
        force = level if scope is Scope.MACHINE else Level.USER
        for row, at in _written(document, (level.value,)):
            yield Claim(
                row.name, _value(document, row, at), force, scope, _source(at, positions, path)
            )


def _member_claims(
    document: Mapping[str, Any], positions: Positions, path: str
) -> Iterator[MemberClaim]:
    for index, table in enumerate(document.get("scope", ())):
        users, groups = tuple(table.get("users", ())), tuple(table.get("groups", ()))
        for row, at in _written(document, ("scope", index, Level.MANDATORY.value)):
            source = _source(at, positions, path)
            value = _value(document, row, at)
            yield MemberClaim(row.name, value, Level.MANDATORY, Scope.MEMBER, source, users, groups)


def _finals(document: Mapping[str, Any], positions: Positions, path: str) -> Iterator[Final]:
    """Each key that a pattern names, and its switch, without which the key says nothing."""
    for index, pattern in enumerate(document.get("final", ())):
        source = _source(("final", index), positions, path)
        for row in POLICY_KEYS:
            if pattern in {row.name, f"{row.group}.*"}:
                for name in filter(None, (row.name, row.switch)):
                    yield Final(name, source)


def _written(document: Mapping[str, Any], table: KeyPath) -> Iterator[tuple[PolicyKey, KeyPath]]:
    """The keys that stand below a table, and their paths, in the order of POLICY_KEYS."""
    groups: Any = document
    for part in table:
        groups = groups.get(part, {}) if isinstance(part, str) else groups[part]
    for row in POLICY_KEYS:
        if row.field in groups.get(row.group, {}):
            yield row, (*table, row.group, row.field)


def _value(document: Mapping[str, Any], row: PolicyKey, at: KeyPath) -> Value:
    found: Any = document
    for part in at:
        found = found[part]
    return row.normal(found)


def _source(at: KeyPath, positions: Positions, path: str) -> Source:
    place = positions.place(positions.values[at])
    return Source(path, place.line, place.column)
