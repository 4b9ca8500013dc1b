"""Windows' service control manager as the overseer: states out, controls in. Never run on Windows.

Pure; ``win32_service`` carries it. Windows has no watchdog for services and nothing that runs after
one: a service that dies is started again by the failure actions below, and what it held lets go by
itself (see ``gpupanel.enforcement.windows``).
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum, IntFlag
from queue import SimpleQueue
from typing import NamedTuple

from gpupanel.service.overseer.orders import Order

NAME = "gpupaneld"

NO_ERROR, CALL_NOT_IMPLEMENTED = 0, 120
_SERVICE_SPECIFIC_ERROR = 1066
_RESUMED = 0x12  # PBT_APMRESUMEAUTOMATIC, of WM_POWERBROADCAST

START_HINT_MS = 30_000
STOP_HINT_MS = 10_000
"""As TimeoutStartSec and TimeoutStopSec of the systemd unit."""


class State(IntEnum):
    """SERVICE_STATUS.dwCurrentState, of winsvc.h."""

    STOPPED = 1
    START_PENDING = 2
    STOP_PENDING = 3
    RUNNING = 4


class Control(IntEnum):
    """What a handler may be called with, of winsvc.h."""

    STOP = 0x1
    INTERROGATE = 0x4
    PARAMCHANGE = 0x6
    POWEREVENT = 0xD
    PRESHUTDOWN = 0xF


class Accepted(IntFlag):
    """SERVICE_STATUS.dwControlsAccepted; a handler is called with no others."""

    NONE = 0
    STOP = 0x1
    PARAMCHANGE = 0x8
    POWEREVENT = 0x40
    PRESHUTDOWN = 0x100


class Status(NamedTuple):
    """What Windows is told.

    Attributes:
        checkpoint: Grows while a state is pending; 0 else.
        hint_ms: How long the pending state may take at most.
        exit_code: Of ours, where it failed.
    """

    state: State
    accepted: Accepted = Accepted.NONE
    checkpoint: int = 0
    hint_ms: int = 0
    exit_code: int = 0

    @property
    def win32_exit_code(self) -> int:
        """What makes Windows take the failure actions."""
        return _SERVICE_SPECIFIC_ERROR if self.exit_code else NO_ERROR


class FailureAction(NamedTuple):
    """What Windows does when the service ended and nobody had stopped it."""

    restart_after_ms: int


FAILURE_ACTIONS = (FailureAction(1_000), FailureAction(1_000), FailureAction(5_000))
"""The last one again and again. With SERVICE_CONFIG_FAILURE_ACTIONS_FLAG set, an exit code that is
not 0 counts as a failure too, and not a crash alone."""

FAILURE_RESET_S = 86_400

PRIVILEGES = (
    "SeDebugPrivilege",  # to look into, hold and let go processes of others
    "SeImpersonatePrivilege",  # to see who is at the other end of a pipe
    "SeIncreaseBasePriorityPrivilege",
    "SeChangeNotifyPrivilege",
)
"""All that LocalSystem keeps in this service (SERVICE_CONFIG_REQUIRED_PRIVILEGES_INFO)."""

_RUNNING = Status(
    State.RUNNING,
    Accepted.STOP | Accepted.PARAMCHANGE | Accepted.POWEREVENT | Accepted.PRESHUTDOWN,
)
_STOPPING = Status(State.STOP_PENDING, checkpoint=1, hint_ms=STOP_HINT_MS)


class Manager:
    """See ``Overseer``. Windows may call ``control`` from a thread of its own.

    Attributes:
        watchdog_s: Always None: Windows wants no sign of life.
        orders: What Windows wanted.
    """

    watchdog_s = None

    def __init__(self, report: Callable[[Status], None]) -> None:
        """Tell Windows that we start.

        Args:
            report: SetServiceStatus.
        """
        self.orders: SimpleQueue[Order] = SimpleQueue()
        self._report = report
        self._told = Status(State.START_PENDING, checkpoint=1, hint_ms=START_HINT_MS)
        self._report(self._told)

    def ready(self, text: str) -> None:
        """See ``Overseer``."""
        del text
        self._tell(_RUNNING)

    def reloading(self) -> None:
        """Windows has no word for it."""

    def stopping(self) -> None:
        """See ``Overseer``."""
        self._tell(_STOPPING)

    def status(self, text: str) -> None:
        """Windows has no place for it."""

    def alive(self) -> None:
        """Windows does not ask."""

    def stopped(self, exit_code: int) -> None:
        """The last that is told."""
        self._tell(Status(State.STOPPED, exit_code=exit_code))

    def control(self, code: int, event: int) -> int:
        """What the handler returns to Windows.

        Args:
            code: A ``Control``, or one that is not for us.
            event: Of POWEREVENT, which one.
        """
        match code:
            case Control.STOP | Control.PRESHUTDOWN:
                self._tell(_STOPPING)
                self.orders.put(Order.STOP)
            case Control.PARAMCHANGE:
                self.orders.put(Order.READ_POLICY)
            case Control.POWEREVENT:
                # Asleep for days, the machine may have missed a new Group Policy.
                if event == _RESUMED:
                    self.orders.put(Order.READ_POLICY)
            case Control.INTERROGATE:
                self._report(self._told)
            case _:
                return CALL_NOT_IMPLEMENTED
        return NO_ERROR

    def _tell(self, status: Status) -> None:
        """Once; a stop that was asked for is not taken back by a policy that was read meanwhile."""
        ends = (State.STOP_PENDING, State.STOPPED)
        if self._told.state in ends and status.state not in ends:
            return
        if status != self._told:
            self._told = status
            self._report(status)
