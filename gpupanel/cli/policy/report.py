"""What is wrong with policy sources, for a terminal, for programs and for reviews of changes."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpupanel import __version__
from gpupanel.cli.exit_codes import ExitCode
from gpupanel.model.decision import Diagnostic
from gpupanel.model.errors import PolicyInvalid
from gpupanel.policy.faults import FAULTS, Fault, printable

SHOWN_COLUMNS = 96
"""Longest part of a source line that is shown above a caret."""

SARIF_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


@dataclass(frozen=True, slots=True)
class Checked:
    """A file, what it holds as far as it could be read, and what is wrong with it."""

    path: Path
    raw: bytes
    diagnostics: Sequence[Diagnostic]

    @property
    def is_valid(self) -> bool:
        """Warnings refuse nothing."""
        return not any(one.severity == "error" for one in self.diagnostics)


def print_text(files: Sequence[Checked]) -> None:
    """Faults on stderr, each with its line and a caret; on stdout what is valid."""
    for file in files:
        lines = file.raw.decode("utf-8-sig", errors="replace").split("\n")
        for diagnostic in file.diagnostics:
            print_diagnostics([diagnostic])
            if 0 < diagnostic.line <= len(lines):
                caret = _with_caret(lines[diagnostic.line - 1], diagnostic.column)
                print(caret, file=sys.stderr)
        if file.is_valid:
            print(printable(f"{file.path}: valid"))


def print_json(files: Sequence[Checked]) -> None:
    """One document with an entry for each file."""
    entries = [
        {
            "path": str(file.path),
            "valid": file.is_valid,
            "diagnostics": [one.as_json() for one in file.diagnostics],
        }
        for file in files
    ]
    print(json.dumps({"files": entries}, indent=2))


def print_sarif(files: Sequence[Checked]) -> None:
    """SARIF 2.1.0: one run, a rule for each code of FAULTS."""
    rules = [
        {"id": fault.value, "name": fault.name, "shortDescription": {"text": meaning}}
        for fault, meaning in FAULTS.items()
    ]
    driver = {"name": "gpupanelctl policy validate", "version": __version__, "rules": rules}
    results = [_sarif_result(one) for file in files for one in file.diagnostics]
    run = {"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results}
    print(json.dumps({"$schema": SARIF_SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2))


def print_github(files: Sequence[Checked]) -> None:
    """Workflow commands, which GitHub shows beside the lines of a change."""
    for file in files:
        for one in file.diagnostics:
            place = f",line={one.line},col={one.column}" if one.line else ""
            where = f"file={_github(one.path, ':,')}{place},title={one.code}"
            print(f"::{one.severity} {where}::{_github(one.text)}")


FORMATS: Mapping[str, Callable[[Sequence[Checked]], None]] = {
    "text": print_text,
    "json": print_json,
    "sarif": print_sarif,
    "github": print_github,
}


def print_diagnostics(diagnostics: Sequence[Diagnostic]) -> None:
    """One line for each, on stderr."""
    for diagnostic in diagnostics:
        print(printable(str(diagnostic)), file=sys.stderr)


def print_refusal(refused: PolicyInvalid, *, as_json: bool) -> int:
    """Why a call cannot be answered; returns its exit code."""
    if as_json:
        print(json.dumps({"diagnostics": [one.as_json() for one in refused.diagnostics]}))
    else:
        print_diagnostics(refused.diagnostics)
    return exit_code(refused.diagnostics)


def exit_code(diagnostics: Sequence[Diagnostic], *, is_strict: bool = False) -> int:
    """The gravest of what is wrong; warnings are well unless they are asked for."""
    codes = {one.code for one in diagnostics if one.severity == "error"}
    if Fault.INSECURE in codes:
        return ExitCode.INSECURE
    if Fault.UNREADABLE in codes:
        return ExitCode.IO
    if codes:
        return ExitCode.NOT_WELL
    return ExitCode.WARNINGS if is_strict and diagnostics else ExitCode.OK


def _with_caret(line: str, column: int) -> str:
    """The part of a source line around ``column``, and a caret below it."""
    start = max(0, column - SHOWN_COLUMNS // 2)
    part = printable(line[start : start + SHOWN_COLUMNS].replace("\t", " ").rstrip("\r"))
    return f"    {part}\n    {' ' * (column - 1 - start)}^"


def _sarif_result(one: Diagnostic) -> dict[str, Any]:
    place: dict[str, Any] = {"artifactLocation": {"uri": Path(one.path).as_posix()}}
    if one.line:
        place["region"] = {"startLine": one.line, "startColumn": max(1, one.column)}
    return {
        "ruleId": one.code,
        "ruleIndex": list(Fault).index(Fault(one.code)),
        "level": one.severity,
        "message": {"text": printable(one.text)},
        "locations": [{"physicalLocation": place}],
    }


def _github(text: str, more: str = "") -> str:
    """``text`` as a property or message of a workflow command may hold it."""
    for letter in "%\r\n" + more:
        text = text.replace(letter, f"%{ord(letter):02X}")
    return text
