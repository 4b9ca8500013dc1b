"""Every error that crosses a border between rooms.

GpupanelError
├── BackendError               a GPU could not be reached or read
│   ├── DriverMissing          no driver or vendor library on this machine
│   ├── DriverMismatch         driver and library differ; a reboot is due
│   ├── PermissionDenied       the reading or control needs rights that we do not have
│   ├── GpuLost                the GPU fell off the bus or needs a reset
│   └── NotSupported           this GPU or driver does not report the value
├── PolicyInvalid              a policy source was refused; carries every diagnostic
├── WorkloadError              a load could not run
│   ├── DeviceNotFound         no OpenCL device answers to this GPU id
│   ├── BuildFailed            the kernel did not compile; carries the log
│   └── VerificationFailed     the device computed a wrong result
├── RecordError                a file is no record of a run
├── HistoryRefused             remembered readings could not be opened, read or written
├── RunDenied                  policy does not allow this run; carries the Decision
├── HoldFailed                 a process could not be held, counted or let go
├── ObjectionRefused           a user may not say of this process that it does not mine
├── EndpointFailed             the service could not open its sockets
└── ProtocolError              the other end spoke out of turn or not at all
    ├── RequestDenied          the caller may not ask for this, or asks too much
    └── ServiceUnreachable     nobody answers at the other end
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gpupanel.model.decision import Decision, Diagnostic


class GpupanelError(Exception):
    """Base of all expected errors; its text is meant for a person."""


class BackendError(GpupanelError):
    """A GPU could not be reached or read."""


class DriverMissing(BackendError):
    """No driver or vendor library on this machine."""


class DriverMismatch(BackendError):
    """Driver and library versions differ; a reboot is due."""


class PermissionDenied(BackendError):
    """The reading or control needs rights that this process does not have."""


class GpuLost(BackendError):
    """The GPU fell off the bus or needs a reset."""


class NotSupported(BackendError):
    """This GPU or driver does not report the value."""


class PolicyInvalid(GpupanelError):
    """A policy source was refused.

    Attributes:
        diagnostics: Every fault found, in file order; at least one.
    """

    def __init__(self, diagnostics: Sequence[Diagnostic]) -> None:
        super().__init__("\n".join(str(diagnostic) for diagnostic in diagnostics))
        self.diagnostics = tuple(diagnostics)


class WorkloadError(GpupanelError):
    """A load could not run."""


class DeviceNotFound(WorkloadError):
    """No OpenCL device answers to this GPU id."""


class BuildFailed(WorkloadError):
    """The kernel did not compile; the text ends with the compiler's log."""


class VerificationFailed(WorkloadError):
    """The device computed a wrong result."""


class RecordError(GpupanelError):
    """A file is no record of a run, or a damaged one."""


class HistoryRefused(GpupanelError):
    """Remembered readings could not be opened, read or written; what is there stays there."""


class RunDenied(GpupanelError):
    """Policy does not allow this run.

    Attributes:
        decision: Why, and which policy says so.
    """

    def __init__(self, decision: Decision) -> None:
        super().__init__(decision.reason)
        self.decision = decision


class HoldFailed(GpupanelError):
    """A process could not be held, counted or let go; the text says what is missing."""


class ObjectionRefused(GpupanelError):
    """A user may not say of this process that it does not mine, or it cannot be remembered."""


class EndpointFailed(GpupanelError):
    """The service could not open its sockets; the text says what stands in the way."""


class ProtocolError(GpupanelError):
    """The other end spoke out of turn, or a message broke a limit."""


class RequestDenied(ProtocolError):
    """The caller may not ask for this, or asks for more than one user may have."""


class ServiceUnreachable(ProtocolError):
    """Nobody answers at the other end."""
