"""``gpupanelctl policy validate``: every fault of every file, with its place."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gpupanel.cli.policy.report import FORMATS, Checked, exit_code
from gpupanel.model.errors import PolicyInvalid
from gpupanel.policy.lint import warnings_about
from gpupanel.policy.parse import parse_machine
from gpupanel.policy.sources import named_file


def run(files: Sequence[Path], form: str, *, is_strict: bool) -> int:
    """Check each file by itself."""
    checked = [_checked(path) for path in files]
    FORMATS[form](checked)
    found = [one for file in checked for one in file.diagnostics]
    return exit_code(found, is_strict=is_strict)


def _checked(path: Path) -> Checked:
    raw = b""
    try:
        raw = named_file(path)
        statements = parse_machine(raw, str(path))
    except PolicyInvalid as refused:
        return Checked(path, raw, refused.diagnostics)
    return Checked(path, raw, warnings_about(statements, str(path)))
