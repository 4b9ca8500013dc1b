"""``gpupanelctl audit verify``: whether the chain is whole."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path

from gpupanel.cli.audit import folder
from gpupanel.cli.audit.check import MOST_FINDINGS, Finding, Kind, Outcome, check
from gpupanel.cli.audit.journal import Mirrored, compared, mirrored
from gpupanel.cli.exit_codes import ExitCode


def run(arguments: argparse.Namespace, where: Path) -> int:
    """Tell every place that is wrong."""
    if arguments.user and arguments.against_journal:
        text = "the journal is told of the service's log only: leave out --user"
        print(f"gpupanelctl: {text}", file=sys.stderr)
        return ExitCode.USAGE
    # The journal first: what is written meanwhile would otherwise look cut off.
    known = mirrored(arguments.since) if arguments.against_journal else None
    outcome = check(folder.lines(where))
    files = folder.files(where)
    if known:
        outcome = _with(outcome, compared(outcome, known, files[-1]))
    exposed = [Finding(Kind.INSECURE, path, 0, None, text) for path, text in folder.insecure(where)]
    outcome = _with(outcome, exposed)
    if arguments.json:
        print(json.dumps(_document(outcome, where, len(files), known)))
    else:
        _print(outcome, len(files), known)
    return _exit_code(outcome)


def _with(outcome: Outcome, more: list[Finding]) -> Outcome:
    findings = (*outcome.findings, *more)
    left_off = outcome.left_off + max(len(findings) - MOST_FINDINGS, 0)
    return replace(outcome, findings=findings[:MOST_FINDINGS], left_off=left_off)


def _exit_code(outcome: Outcome) -> ExitCode:
    if any(finding.kind.is_broken for finding in outcome.findings):
        return ExitCode.NOT_WELL
    if any(finding.kind is Kind.INSECURE for finding in outcome.findings):
        return ExitCode.INSECURE
    return ExitCode.OK


def _print(outcome: Outcome, files: int, known: list[Mirrored] | None) -> None:
    for finding in outcome.findings:
        print(finding)
    if outcome.left_off:
        print(f"and {outcome.left_off} more")
    word = {ExitCode.OK: "ok", ExitCode.INSECURE: "whole, but not secure"}
    print(f"{word.get(_exit_code(outcome), 'broken')}: {_summary(outcome, files)}")
    if known:
        newest = max(known, key=lambda one: one.seq)
        print(f"the journal knows {len(known)} of them, up to record {newest.seq} {newest.hash}")


def _summary(outcome: Outcome, files: int) -> str:
    if outcome.first is None or outcome.last is None:
        return "no records"
    first, last = outcome.first, outcome.last
    return (
        f"{outcome.records} records in {files} {'file' if files == 1 else 'files'}, "
        f"{first.seq} of {first.time} to {last.seq} of {last.time}; the newest is {last.hash}"
    )


def _document(
    outcome: Outcome, where: Path, files: int, known: list[Mirrored] | None
) -> dict[str, object]:
    first, last = outcome.first, outcome.last
    newest = max(known, key=lambda one: one.seq) if known else None
    return {
        "ok": _exit_code(outcome) == ExitCode.OK,
        "folder": str(where),
        "files": files,
        "records": outcome.records,
        "first_seq": first.seq if first else None,
        "last_seq": last.seq if last else None,
        "since": first.time if first else None,
        "until": last.time if last else None,
        "hash": last.hash if last else None,
        "journal": {"records": len(known or ()), "newest_seq": newest.seq} if newest else None,
        "findings": [finding.as_json() for finding in outcome.findings],
        "left_off": outcome.left_off,
    }
