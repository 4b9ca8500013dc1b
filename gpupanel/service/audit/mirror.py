"""Where else a record goes at once, so that cutting off the end of the file leaves a trace."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from gpupanel.model.audit import AUDIT_EVENT_BY_NAME, AuditEvent, described
from gpupanel.model.chain import Record
from gpupanel.service.audit.entry import Entry


@dataclass(frozen=True, slots=True)
class Told:
    """What the system's own log is told.

    Attributes:
        message: For a person, in one line.
        record: None while it cannot be written to the file; it is told again when it can.
    """

    event: AuditEvent
    message: str
    record: Record | None


class Mirror(Protocol):
    """The system's own log. Belongs to one thread; waits for seconds at the most."""

    @property
    def problem(self) -> str:
        """Why something was not told; empty while all is well."""

    def tell(self, told: Told) -> None:
        """Pass it on, or say in ``problem`` why not."""

    def close(self) -> None:
        """Nothing more will come."""


def told_record(record: Record) -> Told:
    """A record that is on the disk."""
    event = AUDIT_EVENT_BY_NAME[record.event]
    return Told(event, _message(event, described(record.fields)), record)


def told_entry(entry: Entry) -> Told:
    """An entry that waits for the disk."""
    return Told(entry.event, _message(entry.event, described(entry.fields)), None)


def _message(event: AuditEvent, fields: str) -> str:
    return f"{event.text} {fields}" if fields else event.text
