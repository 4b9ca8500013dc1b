"""FAULTS, the one table of what can be wrong with a policy source, and how a fault is written.

The codes are a contract: documentation, scripts and tickets refer to them. A code is never
given a second meaning and never reused.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from gpupanel.model.decision import Diagnostic

SHOWN_CHARACTERS = 40
"""Longest quotation from a file inside a message."""


class Fault(StrEnum):
    """Stable code of one kind of fault."""

    SYNTAX = "GP001"
    ENCODING = "GP002"
    TOO_LARGE = "GP003"
    TOO_DEEP = "GP004"
    TOO_MANY_KEYS = "GP005"
    TOO_LONG = "GP006"
    DUPLICATE = "GP007"
    SCHEMA = "GP010"
    UNKNOWN_KEY = "GP011"
    OUT_OF_RANGE = "GP012"
    WRONG_TYPE = "GP013"
    UNKNOWN_CHOICE = "GP014"
    REPEATED = "GP015"
    MISPLACED = "GP016"
    NOBODY = "GP017"
    UNREADABLE = "GP020"
    INSECURE = "GP021"
    TOO_MANY_FILES = "GP022"
    KEPT_LAST_GOOD = "GP030"
    NONE_LAST_GOOD = "GP031"
    NOT_REMEMBERED = "GP032"
    CONFLICT = "GP033"
    UNNAMED = "GP034"
    LOOSENED = "GP035"
    REMOVED = "GP036"
    REQUIRED = "GP037"
    NO_EFFECT = "GP040"
    SAYS_NOTHING = "GP041"


FAULTS: Mapping[Fault, str] = {
    Fault.SYNTAX: "The file is not TOML.",
    Fault.ENCODING: "The file is not UTF-8 text.",
    Fault.TOO_LARGE: "The file is larger than 64 KiB.",
    Fault.TOO_DEEP: "A key has more than 8 dotted parts, or values nest deeper than 8.",
    Fault.TOO_MANY_KEYS: "The file has more than 1000 keys and list entries.",
    Fault.TOO_LONG: "A number has more than 64 characters, or a text is too long.",
    Fault.DUPLICATE: "A key or table stands twice in one file.",
    Fault.SCHEMA: "schema = 1 is missing, or is another number.",
    Fault.UNKNOWN_KEY: "The key or table does not exist.",
    Fault.OUT_OF_RANGE: "The number is below the least or above the greatest allowed.",
    Fault.WRONG_TYPE: "The value is of the wrong type; there are no floats, true is no number.",
    Fault.UNKNOWN_CHOICE: "The word is not one of those that the key knows.",
    Fault.REPEATED: "A word stands twice in one list.",
    Fault.MISPLACED: "The table or key may only stand in a machine policy.",
    Fault.NOBODY: "A scope names no users and no groups.",
    Fault.UNREADABLE: "The file or directory cannot be read.",
    Fault.INSECURE: "Somebody other than the administrator can change the file or its way.",
    Fault.TOO_MANY_FILES: "There are more than 96 policy files.",
    Fault.KEPT_LAST_GOOD: "A source is broken: what it last said when it was good stays in force.",
    Fault.NONE_LAST_GOOD: "A source is broken, and what it last said when it was good is unknown.",
    Fault.NOT_REMEMBERED: "The last good policy cannot be written down or is damaged.",
    Fault.CONFLICT: "Registry and files mandate different values; the tighter one holds.",
    Fault.UNNAMED: "The user's name is not known; scopes that name users or groups hold for him.",
    Fault.LOOSENED: "The machine policy bounds something less than the one before did.",
    Fault.REMOVED: "The machine policy was removed.",
    Fault.REQUIRED: "The machine policy was removed, and it said that there must be one.",
    Fault.NO_EFFECT: "What is said has no effect beside something else that is said.",
    Fault.SAYS_NOTHING: "The file says nothing about any key.",
}


def error(fault: Fault, path: str, text: str, line: int = 0, column: int = 0) -> Diagnostic:
    """A fault that refuses its source; positions as in ``Diagnostic``."""
    return Diagnostic(path, line, column, "error", fault.value, text)


def warning(fault: Fault, path: str, text: str, line: int = 0, column: int = 0) -> Diagnostic:
    """Something that a person should know and that refuses nothing."""
    return Diagnostic(path, line, column, "warning", fault.value, text)


def quoted(text: str) -> str:
    """Text from a file as it may stand in a message: short, on one line, without control codes."""
    shown = text if len(text) <= SHOWN_CHARACTERS else text[:SHOWN_CHARACTERS] + "…"
    return f'"{printable(shown)}"'


def printable(text: str) -> str:
    """``text`` without control codes, of the same length: a terminal obeys them."""
    return "".join(char if char.isprintable() else "?" for char in text)
