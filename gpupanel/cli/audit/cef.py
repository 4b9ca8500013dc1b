"""A record in the Common Event Format: a header with bars, then ``key=value``."""

from __future__ import annotations

from collections.abc import Mapping

from gpupanel import __version__
from gpupanel.model.audit import AUDIT_EVENT_BY_NAME, Severity
from gpupanel.model.chain import Record

KEYS: Mapping[str, str] = {
    "uid": "suid",
    "user": "suser",
    "pid": "spid",
    "name": "sproc",
    "sha256": "fileHash",
    "reason": "reason",
    "count": "cnt",
}
"""Where the format has a key for a field of ours; all others begin with ``gpupanel``."""

SEVERITIES: Mapping[str, int] = {
    Severity.ERROR.word: 8,
    Severity.WARNING.word: 6,
    Severity.NOTICE.word: 4,
    Severity.INFO.word: 2,
}
"""0 to 10, the higher the worse."""


def cef(record: Record, host: str | None) -> str:
    """One line."""
    event = AUDIT_EVENT_BY_NAME.get(record.event)
    severity = SEVERITIES.get(record.severity, 0)
    name = event.text.rstrip(".") if event else record.event
    header = ("gpupanel", "gpupaneld", __version__, record.event, name, str(severity))
    extension = {
        "rt": str(round(record.time_unix_s * 1000)),
        "externalId": str(record.seq),
        "gpupanelHash": record.hash,
        **({"outcome": "failure" if event.is_failure else "success"} if event else {}),
        **({"dvchost": host} if host else {}),
        **{
            key_of(field): _text(value)
            for field, value in record.fields.items()
            if value is not None
        },
    }
    pairs = " ".join(f"{key}={_escaped(value)}" for key, value in extension.items())
    return "CEF:0|" + "|".join(map(_escaped_header, header)) + "|" + pairs


def key_of(field: str) -> str:
    """``cap_percent`` is ``gpupanelCapPercent``."""
    words = "".join(word.capitalize() for word in field.split("_"))
    return KEYS.get(field, f"gpupanel{words}")


def _text(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def _escaped_header(text: str) -> str:
    one_line = text.replace("\r", " ").replace("\n", " ")
    return one_line.replace("\\", "\\\\").replace("|", "\\|")


def _escaped(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("=", "\\=")
    return escaped.replace("\r", "\\r").replace("\n", "\\n")
