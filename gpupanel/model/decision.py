"""What policy says about a request, and what was wrong with a policy source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Verb(StrEnum):
    """What a decision does to a request."""

    ALLOW = "allow"
    CLAMP = "clamp"
    DENY = "deny"


@dataclass(frozen=True, slots=True)
class Decision:
    """What policy says about one request.

    Attributes:
        subject: What was asked, for a person: ``mining.ethash on cpu for 30 s``.
        reason: One sentence that names the key, its value and who set it.
        values: What to use instead of what was asked: ``cap_percent``, ``max_seconds``.
    """

    verb: Verb
    subject: str
    reason: str
    values: Mapping[str, int]

    def as_json(self) -> dict[str, Any]:
        """For events and ``--json``."""
        return {
            "verb": self.verb.value,
            "subject": self.subject,
            "reason": self.reason,
            "values": dict(self.values),
        }


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One fault in one policy source.

    Attributes:
        path: The file, or a registry path.
        line: From 1; 0 when the fault is the file as a whole.
        column: From 1, in characters; 0 when the fault is the line or file as a whole.
        severity: ``error`` or ``warning``.
        code: ``GPnnn``, stable.
        text: What is wrong and what to write instead.
    """

    path: str
    line: int
    column: int
    severity: str
    code: str
    text: str

    def __str__(self) -> str:
        """``FILE:LINE:COL: error[GPnnn] message``, the contract of ``policy validate``."""
        return f"{self.path}:{self.line}:{self.column}: {self.severity}[{self.code}] {self.text}"

    def as_json(self) -> dict[str, Any]:
        """For ``policy validate --json``."""
        return {
            "path": self.path,
            "line": self.line,
            "column": self.column,
            "severity": self.severity,
            "code": self.code,
            "text": self.text,
        }
