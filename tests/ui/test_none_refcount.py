from __future__ import annotations

import sys
import tomllib
from pathlib import Path

import PySide6
from PySide6.QtCore import QObject

from packaging.requirements import Requirement

CALLS = 1000
PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"


def test_void_calls_keep_the_references_to_none() -> None:
    """PySide6 6.12.0 drops one per void call: below Python 3.12 a window dies within seconds."""
    thing = QObject()
    before = sys.getrefcount(None)
    for _ in range(CALLS):
        thing.setObjectName("x")
    lost = before - sys.getrefcount(None)
    assert lost < CALLS / 10


def test_the_release_that_does_not_is_excluded() -> None:
    project = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]
    rules = [Requirement(line) for line in project["dependencies"]]
    old = [
        rule
        for rule in rules
        if rule.name == "PySide6-Essentials"
        and rule.marker is not None
        and rule.marker.evaluate({"python_version": "3.11"})
    ]
    assert len(old) == 1
    assert not old[0].specifier.contains("6.12.0")
    assert old[0].specifier.contains("6.11.3")
    assert PySide6.__version__ != "6.12.0" or sys.version_info >= (3, 12)
