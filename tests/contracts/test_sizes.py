"""Functions fit in a glance and files in a sitting."""

from __future__ import annotations

import ast
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "gpupanel"
MAX_FUNCTION_LINES = 60
MAX_FILE_LINES = 450


def test_no_function_outgrows_the_house() -> None:
    too_long = [
        f"{path.name}:{node.lineno} {node.name}"
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or node.lineno) - node.lineno >= MAX_FUNCTION_LINES
    ]
    assert too_long == []


def test_no_file_outgrows_the_house() -> None:
    lines = {
        path.name: len(path.read_text(encoding="utf-8").splitlines())
        for path in PACKAGE.rglob("*.py")
    }
    assert len(lines) > 20
    assert {name: count for name, count in lines.items() if count > MAX_FILE_LINES} == {}
