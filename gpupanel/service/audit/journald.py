"""The mirror on Linux: the journal, in its native protocol.

One datagram is one entry, one line a field (https://systemd.io/JOURNAL_NATIVE_PROTOCOL/). What
begins with an underscore the journal itself adds: ``_UID`` and ``_SYSTEMD_UNIT`` cannot be forged,
and only entries that carry ours count when a log is verified.
"""

from __future__ import annotations

import socket
import struct
import sys
from collections.abc import Mapping
from pathlib import Path
from uuid import UUID, uuid5

from gpupanel.model.audit import AuditEvent
from gpupanel.service.audit.mirror import Told

SOCKET = Path("/run/systemd/journal/socket")
IDENTIFIER = "gpupaneld"

WAIT_S = 2.0
"""For a journal that does not keep up; then it is not waited for until it answers again."""

_NAMESPACE = UUID("6f1d0f6e-5c0e-4a53-9f4e-0d9b3b1f6a37")


def message_id(event: AuditEvent) -> str:
    """``MESSAGE_ID`` of one kind of record; the same for good."""
    return uuid5(_NAMESPACE, event.name).hex


def fields(told: Told) -> dict[str, str]:
    """An entry of the journal."""
    entry = {
        "MESSAGE": told.message,
        "PRIORITY": str(told.event.severity.value),
        "SYSLOG_IDENTIFIER": IDENTIFIER,
        "MESSAGE_ID": message_id(told.event),
        "GPUPANEL_EVENT": told.event.name,
    }
    if told.record:
        entry |= {
            "GPUPANEL_SEQ": str(told.record.seq),
            "GPUPANEL_HASH": told.record.hash,
            "GPUPANEL_RECORD": told.record.line,
        }
    return entry


def datagram(entry: Mapping[str, str]) -> bytes:
    """An entry in the native protocol; a value of several lines in its binary form."""
    return b"".join(_field(name.encode("ascii"), value.encode()) for name, value in entry.items())


def _field(name: bytes, value: bytes) -> bytes:
    if b"\n" in value:
        return name + b"\n" + struct.pack("<Q", len(value)) + value + b"\n"
    return name + b"=" + value + b"\n"


if sys.platform != "win32":

    class Journald:
        """Tells the journal; one that is away or does not keep up is told in ``problem``."""

        def __init__(self, path: Path = SOCKET) -> None:
            self._path = path
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            self.problem = "" if path.exists() else _absent(path)

        def tell(self, told: Told) -> None:
            """Addressed anew each time: the journal may have been restarted."""
            # Its queue holds ten: a burst has to wait, but not for a journal that hangs.
            self._socket.settimeout(0 if self.problem else WAIT_S)
            try:
                self._socket.sendto(datagram(fields(told)), str(self._path))
            except FileNotFoundError:
                self.problem = _absent(self._path)
            except OSError as reason:
                text = reason.strerror or reason
                self.problem = f"the journal was not told of an audit record: {text}"
            else:
                self.problem = ""

        def close(self) -> None:
            """Nothing more will come."""
            self._socket.close()


def _absent(path: Path) -> str:
    return f"there is no journal at {path}: audit records have no mirror"
