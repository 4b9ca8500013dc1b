"""SECURITY.md names each threat, and for each the tests that show what stands against it."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TESTS = ROOT / "tests"
COUNT = 33

_ROW = re.compile(r"^(\d+)\. \*\*(.+?)\*\*(.*?)(?=^\d+\. |\Z)", re.MULTILINE | re.DOTALL)
_TEST = re.compile(r"^ +- `([\w/]+\.py)::(test_\w+)`(?: \((\w+)\))?$", re.MULTILINE)
_REASON = re.compile(r"^ +- Not tested: (\S.{20,}\.)$", re.MULTILINE)
_BULLET = re.compile(r"^ +- ", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Row:
    """One threat."""

    number: int
    answer: str
    tests: tuple[tuple[str, str, str], ...]
    reasons: tuple[str, ...]
    bullets: int


def rows() -> list[Row]:
    _, _, table = (ROOT / "SECURITY.md").read_text(encoding="utf-8").partition("## What is tried")
    return [
        Row(
            int(number),
            text.partition("\n")[0] + _BULLET.split(text)[0],
            tuple((one[0], one[1], one[2]) for one in _TEST.findall(text)),
            tuple(_REASON.findall(text)),
            len(_BULLET.findall(text)),
        )
        for number, _, text in _ROW.findall(table)
    ]


ROWS = rows()
each_row = pytest.mark.parametrize("row", ROWS, ids=lambda row: str(row.number))


def test_all_are_there_in_their_order() -> None:
    assert [row.number for row in ROWS] == list(range(1, COUNT + 1))


@each_row
def test_a_row_has_an_answer_and_tests_or_a_reason(row: Row) -> None:
    assert len(row.answer) > 50
    assert row.tests or row.reasons
    # Whatever is written there was understood.
    assert row.bullets == len(row.tests) + len(row.reasons)


@each_row
def test_the_tests_exist_and_run_when_it_says(row: Row) -> None:
    for file, name, lane in row.tests:
        found = functions(TESTS / file)
        assert name in found, f"{file} has no {name}"
        assert found[name] == lane, f"{file}::{name} runs in the lane {found[name] or 'main'!r}"


@cache
def functions(path: Path) -> dict[str, str]:
    """Tests of a file, and the mark that keeps each from the main lane."""
    assert path.name.startswith("test_")
    tree = ast.parse(path.read_text(encoding="utf-8"))
    of_all = [
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "pytestmark"
    ]
    return {
        node.name: _lane([*of_all, *node.decorator_list])
        for node in tree.body
        if isinstance(node, ast.FunctionDef)
    }


def _lane(marks: list[ast.expr]) -> str:
    """A single case of many may be marked: then the others run in the main lane."""
    said = [
        ast.unparse(mark)
        for mark in marks
        if not ast.unparse(mark).startswith("pytest.mark.parametrize")
    ]
    return next(
        (lane for lane in ("long", "perf") for mark in said if f"pytest.mark.{lane}" in mark), ""
    )
