"""The user's own policy file as a text: what is wrong with it, one key set in it, written back.

It is edited with the user's rights and by nobody else: no message of the protocol writes policy.
Comments and order stay, because a text is changed and not a document.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gpupanel.files import replace_file
from gpupanel.model.decision import Diagnostic
from gpupanel.model.errors import PolicyInvalid
from gpupanel.policy.claims import Claim, Scope
from gpupanel.policy.faults import Fault, error
from gpupanel.policy.key import PolicyKey, Value
from gpupanel.policy.parse import MAX_FILE_BYTES, parse
from gpupanel.policy.positions import Positions, scan
from gpupanel.policy.sources import own_uid
from gpupanel.policy.trusted_file import plain_read
from gpupanel.policy.validate import value_is_valid

SCHEMA = "schema = 1\n"

_TEXT = r"""(?:"(?:[^"\\\n]|\\.)*"|'[^'\n]*')"""
_VALUE = re.compile(rf"""\[(?:{_TEXT}|#[^\n]*|[^\]"'#])*\]|{_TEXT}|[\w+-]+""")
"""A value as our keys have it. What it mistakes is found out by reading the result."""


@dataclass(frozen=True, slots=True)
class WishFile:
    """The file that belongs to the user."""

    path: Path

    def read(self) -> str | None:
        """Its text with line feeds as newlines; None where there is no file.

        Raises:
            PolicyInvalid: It cannot be read, is no text, or belongs to somebody else.
        """
        path = str(self.path)
        try:
            raw = plain_read(self.path, MAX_FILE_BYTES, own_uid())
            text = raw.decode("utf-8-sig")
        except FileNotFoundError:
            return None
        except UnicodeDecodeError:
            said = "the file is not UTF-8: save it as UTF-8 with another editor"
            raise PolicyInvalid([error(Fault.ENCODING, path, said)]) from None
        if len(raw) > MAX_FILE_BYTES:
            said = f"the file is larger than {MAX_FILE_BYTES // 1024} KiB"
            raise PolicyInvalid([error(Fault.TOO_LARGE, path, said)])
        return text.replace("\r\n", "\n")

    def faults(self, text: str) -> tuple[Diagnostic, ...]:
        """Everything that is wrong with ``text``, in its order."""
        try:
            parse(_raw(text), str(self.path), Scope.USER)
        except PolicyInvalid as refused:
            return refused.diagnostics
        return ()

    def save(self, text: str) -> None:
        """Replace the file in one step; where it is a link, what the link leads to.

        Raises:
            PolicyInvalid: ``text`` is no valid policy; nothing is written.
            OSError: It cannot be written; what was there before still is.
        """
        faults = self.faults(text)
        if faults:
            raise PolicyInvalid(faults)
        target = self.path.resolve()
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        replace_file(target, _raw(text))


def toml_value(value: Value) -> str:
    """A value as a policy file writes it: ``true``, ``50``, ``"audit"``, ``["ai", "gaming"]``."""
    if isinstance(value, tuple):
        return f"[{', '.join(toml_value(word) for word in value)}]"
    if isinstance(value, str):
        # TOML takes what JSON escapes, and one character more must not stand bare in it.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return str(value).lower()


def as_document(value: Value) -> object:
    """A value as JSON or TOML gives it: lists for tuples."""
    return list(value) if isinstance(value, tuple) else value


def with_wish(text: str, key: PolicyKey, value: Value) -> str | None:
    """A valid ``text`` in which ``key`` is ``value``, and all else as it was.

    Returns:
        None if ``value`` is not valid, or stands in a form that only its writer can change.
    """
    if not value_is_valid(key.name, as_document(value)):
        return None
    wanted = _claimed(text) | {key.name: key.normal(value)}
    for candidate in _candidates(text, key, toml_value(value)):
        if _claimed(candidate) == wanted:
            return candidate
    return None


def _raw(text: str) -> bytes:
    return text.encode("utf-8", "replace")


def _claimed(text: str) -> dict[str, Value]:
    """What a text says of each key; nothing if it is not valid."""
    try:
        claims: tuple[Claim, ...] = parse(_raw(text), "", Scope.USER)
    except PolicyInvalid:
        return {}
    return {claim.key: claim.value for claim in claims}


def _candidates(text: str, key: PolicyKey, written: str) -> Iterator[str]:
    """Texts with the key set, best first; not each of them is TOML."""
    positions = scan(text)
    for table in ("mandatory", "recommended"):
        at = positions.values.get((table, key.group, key.field))
        if at is not None:
            found = _VALUE.match(text, at)
            if found:
                yield text[:at] + written + text[found.end() :]
            return
    line = f"{key.field} = {written}\n"
    for path, pair in (("mandatory", key.group), line), (("mandatory",), f"{key.group}.{line}"):
        end = _end_of_header(positions, path)
        if end is not None:
            yield f"{text[:end].rstrip()}\n{pair}{text[end:]}"
    head = text if ("schema",) in positions.keys else SCHEMA + text
    yield f"{head.rstrip()}\n\n[mandatory.{key.group}]\n{line}"


def _end_of_header(positions: Positions, path: tuple[str, ...]) -> int | None:
    """Where the line after ``[table]`` begins, if the table has such a line."""
    at = positions.keys.get(path)
    if at is None:
        return None
    text = positions.text
    start, end = text.rfind("\n", 0, at) + 1, text.find("\n", at)
    name = r"\s*\.\s*".join(re.escape(part) for part in path)
    if not re.match(rf"\s*\[\s*{name}\s*\]", text[start:]):
        return None
    return len(text) if end < 0 else end + 1
