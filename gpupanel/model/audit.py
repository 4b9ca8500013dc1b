"""What is written down for an administrator: AUDIT_EVENTS, the one table, and their fields.

A record says that something was decided or done, to whom and why. It never holds a command line,
a wallet or the address of a pool: there is no field for one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, TypedDict

from gpupanel.model.gpu import Reading


class Severity(IntEnum):
    """As in syslog: the lower, the worse."""

    ERROR = 3
    WARNING = 4
    NOTICE = 5
    INFO = 6

    @property
    def word(self) -> str:
        """As in records."""
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """One kind of record.

    Attributes:
        number: Stays the same for good: the event id of the Windows Event Log.
        name: Stays the same for good, for programs.
        category: ``event.category`` of the Elastic Common Schema.
        type: ``event.type`` of that schema; one that it expects of the category.
        text: One sentence for a person.
        is_failure: Something that should have been done was not.
        is_coalesced: May come in floods: of one user it is written once, then counted.
    """

    number: int
    name: str
    severity: Severity
    category: str
    type: str
    text: str
    is_failure: bool = False
    is_coalesced: bool = False


_ERROR, _WARNING = Severity.ERROR, Severity.WARNING
_NOTICE, _INFO = Severity.NOTICE, Severity.INFO

AUDIT_EVENTS: tuple[AuditEvent, ...] = (
    AuditEvent(
        1, "service.started", _NOTICE, "process", "start",
        "The service has started.",
    ),
    AuditEvent(
        2, "service.stopped", _NOTICE, "process", "end",
        "The service has stopped.",
    ),
    AuditEvent(
        3, "service.crash_restored", _WARNING, "process", "change",
        "The service took up again what a crash had interrupted.",
    ),
    AuditEvent(
        10, "policy.loaded", _NOTICE, "configuration", "change",
        "A policy came into force.",
    ),
    AuditEvent(
        11, "policy.rejected", _WARNING, "configuration", "change",
        "A policy source is broken and was refused.", is_failure=True,
    ),
    AuditEvent(
        12, "policy.stale", _WARNING, "configuration", "info",
        "The last good policy stays in force, because a source is broken.",
    ),
    AuditEvent(
        13, "policy.closed", _ERROR, "configuration", "info",
        "The closed policy is in force, because no good one is known.",
    ),
    AuditEvent(
        14, "policy.removed", _WARNING, "configuration", "deletion",
        "The machine policy was removed.",
    ),
    AuditEvent(
        15, "policy.loosened", _WARNING, "configuration", "change",
        "The policy bounds something less than the one before did.",
    ),
    AuditEvent(
        16, "policy.insecure_file", _WARNING, "configuration", "info",
        "Somebody other than the administrator could have changed a policy file.", is_failure=True,
    ),
    AuditEvent(
        20, "hold.applied", _NOTICE, "process", "change",
        "Processes that mine are capped.",
    ),
    AuditEvent(
        21, "hold.changed", _INFO, "process", "change",
        "The cap on processes that mine has changed.",
    ),
    AuditEvent(
        22, "hold.released", _NOTICE, "process", "change",
        "Processes that were capped are free.",
    ),
    AuditEvent(
        23, "hold.failed", _ERROR, "process", "change",
        "Processes could not be capped.", is_failure=True,
    ),
    AuditEvent(
        24, "hold.would", _NOTICE, "process", "info",
        "Processes that mine would be capped, if the policy did not only audit.",
    ),
    AuditEvent(
        30, "verdict.changed", _INFO, "process", "info",
        "What is thought of a process has changed.",
    ),
    AuditEvent(
        31, "objection.added", _NOTICE, "configuration", "change",
        "A user said that a program does not mine.",
    ),
    AuditEvent(
        40, "auth.denied", _WARNING, "api", "denied",
        "A request was refused: its user may not ask for it.", is_failure=True, is_coalesced=True,
    ),
    AuditEvent(
        41, "ipc.limit_hit", _WARNING, "api", "denied",
        "A client asked for more than its share and was refused.", is_failure=True,
        is_coalesced=True,
    ),
    AuditEvent(
        50, "audit.rotated", _INFO, "file", "creation",
        "The audit log goes on in a new file.",
    ),
    AuditEvent(
        51, "audit.gap", _ERROR, "file", "info",
        "Something is missing from the audit log before this record.", is_failure=True,
    ),
    AuditEvent(
        60, "clock.rollback", _WARNING, "host", "change",
        "The clock of the machine was set back.",
    ),
    AuditEvent(
        70, "restore.applied", _WARNING, "process", "change",
        "Processes that a crash had left frozen were let go.",
    ),
)  # fmt: skip
"""In the order of the guide; ``resources/help/audit.md`` explains each."""

AUDIT_EVENT_BY_NAME: Mapping[str, AuditEvent] = {event.name: event for event in AUDIT_EVENTS}


class AuditFields(TypedDict, total=False):
    """The fields that a record may have, beside those that every record has.

    None and Unavailable are written as null: not known.
    """

    uid: int | None
    """Whose processes, or who asked."""
    user: str | None
    pid: int
    started: int
    """With ``pid``: which process, as a pid is used again."""
    name: str
    """Of the program; its user chose it."""
    sha256: str | None
    """Of the program's content."""
    hold: str
    """``Hold.id``."""
    processes: int
    """How many."""
    gpus: tuple[str, ...]
    action: str
    would: str
    """What would be done if the policy did not only audit."""
    cap_percent: int
    window_s: float
    efficiency_percent: Reading
    means: str
    """How processes are held."""
    is_best_effort: bool
    reason: str
    """One sentence; names policy keys and values."""
    verdict: str
    before: str
    """What it was before: a verdict, or the state of the policy."""
    process_class: str
    posterior: float
    families: tuple[str, ...]
    """Which families of evidence spoke; never what they said."""
    state: str
    """Of the policy."""
    generation: int
    """Of the machine policy."""
    sources: tuple[str, ...]
    """Policy files, as ``file:line`` where a place is meant."""
    faults: tuple[str, ...]
    """Codes of what was wrong with them: ``GP012``."""
    keys: tuple[str, ...]
    """Policy keys."""
    endpoint: str
    method: str
    limit: str
    count: int
    """How often, where a record stands for several."""
    scope: str
    version: str
    boot_id: str
    previous_file: str
    oldest_seq: int
    """The first record that is still kept."""
    lost: int
    """Records that were never written."""
    torn_bytes: int
    """Of a record that a crash cut off and that was removed."""
    damaged_file: str
    """Ends with something that is no record; it was left as it is."""
    back_s: float
    """How far."""


def described(fields: Mapping[str, Any]) -> str:
    """``name=xmrig, pid=4242``: the fields of a record in one line, for a person."""
    return ", ".join(f"{name}={_shown(value)}" for name, value in fields.items())


def _shown(value: object) -> str:
    if value is None:
        return "unknown"
    if isinstance(value, list | tuple):
        return " ".join(str(one) for one in value)
    return str(value)
