"""The form of a policy file as JSON Schema 2020-12, for editors and reviewers of changes."""

from __future__ import annotations

from typing import Any

from gpupanel.policy.export.admx import policy_name
from gpupanel.policy.key import Kind, PolicyKey
from gpupanel.policy.keys import POLICY_KEYS
from gpupanel.policy.validate import MAX_NAME_CHARACTERS, final_patterns, model_schema

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def json_schema() -> dict[str, Any]:
    """The schema of pydantic's, with what its models cannot tell.

    Each key has ``x-tighten`` (which of two values is the tighter), ``x-since`` (version),
    ``x-admx`` (name of the group policy), ``x-default`` and ``x-closed``.
    """
    schema = model_schema()
    _strip(schema)
    definitions = schema["$defs"]
    for row in POLICY_KEYS:
        definitions[row.group]["properties"][row.field] |= _about(row)
        if row.kind is Kind.TEXTS:
            items = definitions[row.group]["properties"][row.field]["items"]
            items["pattern"] = f"^(?:{row.pattern})$"
    for name in ("users", "groups"):
        names = definitions["scope"]["properties"][name]
        names["uniqueItems"] = True
        names["items"] |= {"minLength": 1, "maxLength": MAX_NAME_CHARACTERS}
    definitions["scope"]["anyOf"] = [
        {"required": [name], "properties": {name: {"minItems": 1}}} for name in ("users", "groups")
    ]
    schema["properties"]["final"] |= {
        "uniqueItems": True, "items": {"enum": list(final_patterns())}
    }  # fmt: skip
    return {"$schema": DIALECT, "title": "gpupanel machine policy"} | schema


def _about(row: PolicyKey) -> dict[str, Any]:
    about: dict[str, Any] = {
        "title": row.label,
        "description": row.help,
        "x-tighten": row.tighten.value,
        "x-since": row.since,
        "x-admx": policy_name(row),
        "x-default": row.default,
        "x-closed": row.closed,
    }
    is_list = row.kind in {Kind.CHOICES, Kind.TEXTS}
    return about | ({"uniqueItems": True} if is_list else {})


def _strip(node: object) -> None:
    """Remove titles that only repeat a name, and null as the default of what may be absent."""
    if isinstance(node, dict):
        if isinstance(node.get("title"), str):
            del node["title"]
        if "default" in node and not node["default"]:
            del node["default"]
        for value in node.values():
            _strip(value)
    elif isinstance(node, list):
        for value in node:
            _strip(value)
