"""What gpupanelctl's exit status means; stable, used by scripts and fleet tools."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """Printed by ``gpupanelctl --help``."""

    OK = 0
    NOT_WELL = 1
    """Policy errors, run failed, verification failed."""
    USAGE = 2
    WARNINGS = 3
    """Warnings under --strict."""
    INSECURE = 4
    """Insecure ownership or permission of a policy file."""
    SIGNATURE = 5
    """Signature wrong, or an older serial."""
    IO = 6
    UNREACHABLE = 7
    """The service or agent does not answer."""
    DENIED = 8
    """Policy does not allow it."""
    STALE = 10
    """``status --check``: the machine policy is broken, the last good one is in force."""
    CLOSED = 11
    """``status --check``: the closed policy is in force."""
    UNMANAGED = 12
    """``status --check``: there is no machine policy."""
    AUDIT_ONLY = 13
    """``status --check``: the mining cap only reports."""
    SERVICE_DOWN = 14
    """``status --check``: there is policy, and no service that holds everybody to it."""
