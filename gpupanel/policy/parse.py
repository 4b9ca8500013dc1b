"""From the bytes of a policy file to claims, or to every fault in it with its place."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from typing import Any

from gpupanel.model.decision import Diagnostic
from gpupanel.model.errors import PolicyInvalid
from gpupanel.policy.faults import Fault, error, printable
from gpupanel.policy.keys import POLICY_KEYS
from gpupanel.policy.positions import Place, Positions, scan
from gpupanel.policy.resolve import Claim, Level, Scope, Source
from gpupanel.policy.validate import TABLES, faults_in

MAX_FILE_BYTES = 64 * 1024
"""Largest policy file."""

_PLACE_IN_TEXT = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")


def parse(raw: bytes, path: str, scope: Scope) -> tuple[Claim, ...]:
    """What a policy file claims, in an order in which later claims replace earlier ones.

    Args:
        raw: The file as it is on the disk.
        path: For messages and sources.
        scope: Who speaks; a machine's claims have the level of their table, others Level.USER.

    Raises:
        PolicyInvalid: The file is refused; carries every fault, in the order of the file.
    """
    text = _decode(raw, path)
    positions = scan(text)
    if positions.unsafe:
        raise PolicyInvalid(_unsafe(positions, path))
    document = _load_toml(text, positions, path)
    faults = faults_in(document, positions, path)
    if faults:
        raise PolicyInvalid(faults)
    return tuple(_claims(document, positions, path, scope))


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
) -> list[Claim]:
    claims = []
    for level in TABLES:
        for row in POLICY_KEYS:
            group = document.get(level.value, {}).get(row.group, {})
            if row.field not in group:
                continue
            place = positions.place(positions.values[level.value, row.group, row.field])
            force = level if scope is Scope.MACHINE else Level.USER
            source = Source(path, place.line, place.column)
            value = row.normal(group[row.field])
            claims.append(Claim(row.name, value, force, scope, source))
    return claims
