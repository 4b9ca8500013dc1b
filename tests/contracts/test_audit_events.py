"""AUDIT_EVENTS: the one table of what is written down."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from gpupanel.cli.audit.cef import KEYS
from gpupanel.cli.audit.ecs import PLACES
from gpupanel.model.audit import AUDIT_EVENT_BY_NAME, AUDIT_EVENTS, AuditFields
from gpupanel.model.chain import CORE_FIELDS

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "resources/help/audit.md").read_text(encoding="utf-8")

EXPECTED_TYPES = {
    "api": "access admin allowed change creation deletion denied end info start user",
    "configuration": "access change creation deletion info",
    "file": "access change creation deletion info",
    "host": "access change end info start",
    "process": "access change end info start",
}
"""Of each category: elastic.co/docs/reference/ecs/ecs-allowed-values-event-category."""


def test_names_and_numbers_are_one_each() -> None:
    assert len(AUDIT_EVENT_BY_NAME) == len(AUDIT_EVENTS)
    assert len({event.number for event in AUDIT_EVENTS}) == len(AUDIT_EVENTS)
    assert all(re.fullmatch(r"[a-z]+\.[a-z_]+", event.name) for event in AUDIT_EVENTS)


def test_categories_and_types_are_the_schemas() -> None:
    for event in AUDIT_EVENTS:
        assert event.type in EXPECTED_TYPES[event.category].split(), event.name


def test_texts_are_sentences() -> None:
    for event in AUDIT_EVENTS:
        assert re.fullmatch(r"[A-Z][^|\n]*\.", event.text), event.name


def test_there_is_no_field_for_a_secret() -> None:
    forbidden = re.compile("command|argument|argv|wallet|pool|host|address|url|password|token|path")
    assert [name for name in AuditFields.__annotations__ if forbidden.search(name)] == []
    assert not set(AuditFields.__annotations__) & set(CORE_FIELDS)


def test_exports_know_fields_that_exist() -> None:
    assert {*PLACES, *KEYS} <= set(AuditFields.__annotations__)


def test_what_the_code_records_exists() -> None:
    """A name of an event is a text: mypy cannot know it."""
    recorded = [
        node.args[0].value
        for path in (ROOT / "gpupanel").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "record"
        and node.args
        and isinstance(node.args[0], ast.Constant)
    ]
    assert [name for name in recorded if name not in AUDIT_EVENT_BY_NAME] == []


def test_the_guide_explains_each_event_and_field() -> None:
    rows = set(re.findall(r"^\| `([a-z0-9_.]+)`", GUIDE, re.MULTILINE))
    assert {event.name for event in AUDIT_EVENTS} - rows == set()
    explained = set(re.findall(r"`([a-z0-9_]+)`", GUIDE))
    assert {*AuditFields.__annotations__, *CORE_FIELDS} - explained == set()
