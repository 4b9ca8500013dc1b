"""A record in the Elastic Common Schema (https://www.elastic.co/docs/reference/ecs)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gpupanel.model.audit import AUDIT_EVENT_BY_NAME, Severity
from gpupanel.model.chain import Record

VERSION = "8.11.0"

PLACES: Mapping[str, str] = {
    "uid": "user.id",
    "user": "user.name",
    "pid": "process.pid",
    "name": "process.name",
    "sha256": "process.hash.sha256",
    "reason": "event.reason",
    "generation": "rule.version",
    "version": "service.version",
    "boot_id": "host.boot.id",
}
"""Where the schema has a place for a field of ours; all others are ``labels``."""

_AS_TEXT = {"uid", "generation"}
"""Keywords in the schema, numbers with us."""


def ecs(record: Record, host: str | None) -> dict[str, Any]:
    """One document; events of a newer version than ours have no category."""
    event = AUDIT_EVENT_BY_NAME.get(record.event)
    document: dict[str, Any] = {
        "@timestamp": record.time,
        "ecs": {"version": VERSION},
        "message": event.text if event else record.event,
        "log": {"level": record.severity},
        "event": {
            "kind": _kind(record),
            "action": record.event,
            "sequence": record.seq,
            "hash": record.hash,
            "dataset": "gpupanel.audit",
            "module": "gpupanel",
            "provider": "gpupaneld",
        },
        "service": {"name": "gpupaneld", "type": "gpupanel"},
    }
    if event:
        document["event"] |= {
            "category": [event.category],
            "type": [event.type],
            "outcome": "failure" if event.is_failure else "success",
        }
    if host:
        _put(document, "host.name", host)
    for name, value in record.fields.items():
        _put_field(document, name, value)
    return document


def _kind(record: Record) -> str:
    alarming = {severity.word for severity in Severity if severity <= Severity.WARNING}
    return "alert" if record.severity in alarming else "event"


def _put_field(document: dict[str, Any], name: str, value: object) -> None:
    if value is None:
        return
    if name in PLACES:
        _put(document, PLACES[name], str(value) if name in _AS_TEXT else value)
    else:
        document.setdefault("labels", {})[name] = _label(value)


def _put(document: dict[str, Any], path: str, value: object) -> None:
    *above, name = path.split(".")
    for step in above:
        document = document.setdefault(step, {})
    document[name] = value


def _label(value: object) -> object:
    """Labels are keywords: texts, or lists of them."""
    if isinstance(value, bool):
        return str(value).lower()
    return [str(one) for one in value] if isinstance(value, list) else str(value)
