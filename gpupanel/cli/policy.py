"""``gpupanelctl policy``: check policy files, and show what is in force and who said so."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from gpupanel.model.decision import Diagnostic
from gpupanel.model.errors import PolicyInvalid
from gpupanel.policy.faults import Fault, printable
from gpupanel.policy.generation import load
from gpupanel.policy.key import Value, value_text
from gpupanel.policy.parse import parse
from gpupanel.policy.resolve import EffectivePolicy, Overridden, Scope, Setting
from gpupanel.policy.sources import ExtraSource, Sources, named_file

EXIT_OK = 0
EXIT_NOT_WELL = 1
EXIT_INSECURE = 4
EXIT_IO = 6

SHOWN_COLUMNS = 96
"""Longest part of a source line that is shown above a caret."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Fill the subparser of the noun ``policy``."""
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    validate = verbs.add_parser("validate", help="check policy files without installing them")
    validate.add_argument("files", nargs="+", type=Path, metavar="FILE")
    show = verbs.add_parser("show", help="what is in force, and who said so")
    show.add_argument(
        "--policy",
        type=Path,
        metavar="FILE",
        help="as it would be with this file, which can only tighten, on top",
    )
    for verb in (validate, show):
        verb.add_argument("--json", action="store_true", help="answer with one JSON document")


def main(args: argparse.Namespace, sources: Sources | None = None) -> int:
    """Carry out one call; the exit codes are those of ``gpupanelctl``.

    Args:
        args: Of a parser that ``add_arguments`` filled.
        sources: Where policy is read from; those of this machine by default.
    """
    if args.verb == "validate":
        return _validate(args.files, as_json=args.json)
    extra = ExtraSource(args.policy) if args.policy else None
    return _show(sources or Sources.installed(), extra, as_json=args.json)


def _validate(files: Sequence[Path], *, as_json: bool) -> int:
    """Every fault of every file, with its line."""
    found: list[Diagnostic] = []
    entries = []
    for path in files:
        raw, diagnostics = _checked(path)
        found += diagnostics
        entries.append(
            {
                "path": str(path),
                "valid": not diagnostics,
                "diagnostics": [one.as_json() for one in diagnostics],
            }
        )
        if not as_json:
            _print_verdict(path, raw, diagnostics)
    if as_json:
        print(json.dumps({"files": entries}, indent=2))
    return _exit_code(found)


def _checked(path: Path) -> tuple[bytes, Sequence[Diagnostic]]:
    """What the file holds, as far as it could be read, and what is wrong with it."""
    raw = b""
    try:
        raw = named_file(path)
        parse(raw, str(path), Scope.MACHINE)
    except PolicyInvalid as refused:
        return raw, refused.diagnostics
    return raw, ()


def _print_verdict(path: Path, raw: bytes, diagnostics: Sequence[Diagnostic]) -> None:
    lines = raw.decode("utf-8-sig", errors="replace").split("\n")
    for diagnostic in diagnostics:
        _print_diagnostic(diagnostic)
        if 0 < diagnostic.line <= len(lines):
            print(_with_caret(lines[diagnostic.line - 1], diagnostic.column), file=sys.stderr)
    if not diagnostics:
        print(printable(f"{path}: valid"))


def _with_caret(line: str, column: int) -> str:
    """The part of a source line around ``column``, and a caret below it."""
    start = max(0, column - SHOWN_COLUMNS // 2)
    part = printable(line[start : start + SHOWN_COLUMNS].replace("\t", " ").rstrip("\r"))
    return f"    {part}\n    {' ' * (column - 1 - start)}^"


def _show(sources: Sources, extra: ExtraSource | None, *, as_json: bool) -> int:
    """The effective policy, with what was wrong when it was read."""
    try:
        policy = load(sources, extra)
    except PolicyInvalid as refused:
        if as_json:
            print(json.dumps({"diagnostics": [one.as_json() for one in refused.diagnostics]}))
        else:
            _print_diagnostics(refused.diagnostics)
        return _exit_code(refused.diagnostics)
    if as_json:
        print(json.dumps(policy.as_json(), indent=2))
    else:
        print(f"State: {policy.state.value.upper()}\n")
        print("\n".join(_table(policy)))
        _print_diagnostics(policy.diagnostics)
    return _exit_code(policy.diagnostics)


def _table(policy: EffectivePolicy) -> list[str]:
    """Aligned columns; below each setting what it overrides."""
    rows = [("KEY", "VALUE", "LEVEL", "SOURCE", "STATUS")]
    for setting in policy.settings.values():
        rows.append(_setting_row(setting))
        rows += [_overridden_row(claim) for claim in setting.overridden]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


_Row = tuple[str, str, str, str, str]


def _setting_row(setting: Setting) -> _Row:
    status = "locked" if setting.is_locked else ""
    source = printable(str(setting.source or "built in"))
    return setting.key, _text(setting.value), setting.level.value, source, status


def _overridden_row(claim: Overridden) -> _Row:
    source = printable(str(claim.source or "built in"))
    return "  overrides", _text(claim.value), claim.level.value, source, printable(claim.why)


def _text(value: Value) -> str:
    return (", ".join(value) or "none") if isinstance(value, tuple) else value_text(value)


def _print_diagnostics(diagnostics: Sequence[Diagnostic]) -> None:
    for diagnostic in diagnostics:
        _print_diagnostic(diagnostic)


def _print_diagnostic(diagnostic: Diagnostic) -> None:
    print(printable(str(diagnostic)), file=sys.stderr)


def _exit_code(diagnostics: Sequence[Diagnostic]) -> int:
    """The gravest of what is wrong; warnings are well."""
    codes = {one.code for one in diagnostics if one.severity == "error"}
    if Fault.INSECURE in codes:
        return EXIT_INSECURE
    if Fault.UNREADABLE in codes:
        return EXIT_IO
    return EXIT_NOT_WELL if codes else EXIT_OK
