"""The window's line to who reads the GPUs: the machine's service, or an agent of its own.

Where a service answers it is used. Else the window starts an agent, a child process that may
crash alone, and looks for a service every few seconds. Newline-delimited JSON-RPC either way,
and nothing is waited for. An agent that dies, falls silent or breaks the protocol is replaced,
after 1 s, 2 s, 4 s ... 30 s; one that lived for a minute starts the count anew.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Any

from PySide6.QtCore import QElapsedTimer, QObject, QTimer, Signal

from gpupanel import children
from gpupanel.ipc import protocol
from gpupanel.ipc.transport import Endpoint, Service
from gpupanel.model.errors import ProtocolError
from gpupanel.model.gpu import GpuInfo, ProcessSample, Snapshot
from gpupanel.ui.wire import AgentWire, Listener, ServiceWire, Wire

HISTORY_S = 120
INTERVAL_S = 1.0
GUARD_INTERVAL_S = 0.2
"""While a load runs, its guard wants to see the card more often than a person does."""

_SILENCE_MS = 15_000
_STABLE_MS = 60_000
_BACKOFF_S = (1, 2, 4, 8, 16, 30)
_LOOK_MS = 5_000
"""Between two looks for a service while there is none."""

Answer = Callable[[Mapping[str, Any]], None]
Refuse = Callable[[str], None]
"""Takes the reason, for a person."""


class LinkState(StrEnum):
    """How it stands with the agent or the service."""

    STARTING = "starting"
    RUNNING = "running"
    RESTARTING = "restarting"
    CLOSED = "closed"


class Link(QObject):
    """Finds the service or starts an agent, subscribes to everything, hands on values.

    Attributes:
        state: Where it stands now.
        reason: Why the agent or the service was lost, for a person; empty while it runs.
        service_problem: What the service does not do for us, and why; else empty.
        version: What the other end says it is; None until it said hello.

    Signals:
        state_changed(): ``state`` or ``reason`` is new.
        gpus_received(list[GpuInfo], list[dict]): All GPUs and the backends that were tried.
        history_received(list[Snapshot]): Oldest first, once per connection.
        snapshot_received(Snapshot): One tick.
        policy_received(dict): The effective policy as JSON.
        processes_received(list[ProcessSample], list[str]): Once a second while they are wanted;
            and why some cannot be seen.
        holds_received(list[Hold]): What is done to programs that mine.
    """

    state_changed = Signal()
    gpus_received = Signal(object, object)
    history_received = Signal(object)
    snapshot_received = Signal(object)
    policy_received = Signal(object)
    processes_received = Signal(object, object)
    holds_received = Signal(object)

    def __init__(
        self,
        command: Sequence[str] | None = None,
        service: Service | None = None,
        parent: QObject | None = None,
    ) -> None:
        """Connect to nothing yet.

        Args:
            command: Starts an agent.
            service: Where to look for the service; None to do without.
            parent: As in Qt.
        """
        super().__init__(parent)
        self._command = list(command or children.command("agent"))
        self._service = service
        self._listener = Listener(self._greeted, self._receive, self._lost)
        self._wire: Wire | None = None
        self._candidate: ServiceWire | None = None
        self._pending: dict[int, tuple[Answer, Refuse | None]] = {}
        self._wants_processes = False
        self._process_subscription: int | None = None
        self._next_id = 1
        self._failures = 0
        self._age = QElapsedTimer()
        self._last_log = b""
        self._silence = self._timer(_SILENCE_MS, self._fell_silent)
        self._retry = self._timer(0, self.start)
        self._look = self._timer(_LOOK_MS, self._look_for_service)
        self.state = LinkState.STARTING
        self.reason = ""
        self.service_problem = ""
        self.version: str | None = None
        self._interval_s = INTERVAL_S

    @property
    def log(self) -> str:
        """The last words of the agent on stderr, at most 4 KiB."""
        log = self._wire.log if self._wire is not None and self._wire.log else self._last_log
        return log.decode(errors="replace")

    @property
    def retry_in_ms(self) -> int:
        """How long the next attempt waits."""
        return self._retry.interval()

    @property
    def is_service(self) -> bool:
        """Whether the service answers, and no agent of our own."""
        return self._wire is not None and self._wire.endpoint is not Endpoint.PARENT

    def start(self) -> None:
        """Ask the service for everything, or an agent where there is none; returns at once."""
        if self._candidate is None:
            self._try_service()
        if self._candidate is None and self._wire is None:
            self._start_agent()

    def _start_agent(self) -> None:
        self._wire = AgentWire(self._command, self._listener, self)
        self._age.start()
        self._silence.start()
        self._look.start()
        self._wire.open()

    def _try_service(self) -> None:
        """Greet a service, if there seems to be one; an agent goes on until it answers."""
        addresses = _addresses(self._service) if self._service is not None else []
        if addresses and self._service is not None:
            self._candidate = ServiceWire(self._service, addresses[0], self._listener, self)
            self._look.start()
            self._candidate.open()

    def _look_for_service(self) -> None:
        """Once in a while; who has not answered since the last look is not worth waiting for."""
        if self._candidate is not None:
            self._lost(self._candidate, self.tr("The service does not answer."))
        else:
            self._try_service()
        if not self.is_service:
            self._look.start()

    def ask(self, method: str, params: Mapping[str, Any], answer: Answer, refuse: Refuse) -> None:
        """Ask something; exactly one of ``answer`` and ``refuse`` is called, later."""
        if self.state is LinkState.RUNNING and self._wire is not None:
            self._request(method, params, answer, refuse)
        else:
            QTimer.singleShot(0, lambda: refuse(self.tr("the agent is not running")))

    def complain(self, problem: str) -> None:
        """Show why the service does not do something for us; empty when it does."""
        if problem != self.service_problem:
            self.service_problem = problem
            self.state_changed.emit()

    def want_processes(self, wanted: bool) -> None:
        """Whether to be told of processes; looking at all of them costs the agent something."""
        if wanted == self._wants_processes:
            return
        self._wants_processes = wanted
        if self.state is LinkState.RUNNING and self._wire is not None:
            self._subscribe_to_processes()

    def close(self) -> None:
        """End the agent: ask, wait half a second at most, then kill. A service stays."""
        for timer in (self._retry, self._silence, self._look):
            timer.stop()
        self.state = LinkState.CLOSED
        self._wire = self._candidate = None
        for wire in self.findChildren(Wire):
            wire.close()

    def _timer(self, interval_ms: int, slot: Callable[[], None]) -> QTimer:
        timer = QTimer(self, singleShot=True, interval=interval_ms)
        timer.timeout.connect(slot)
        return timer

    def _request(
        self, method: str, params: Mapping[str, Any], answer: Answer, refuse: Refuse | None = None
    ) -> None:
        """Without ``refuse``, an agent that refuses is broken."""
        assert self._wire is not None
        self._pending[self._next_id] = answer, refuse
        self._wire.send(protocol.encode(protocol.request(self._next_id, method, params)))
        self._next_id += 1

    def _greeted(self, wire: Wire) -> None:
        """Somebody answers. If it is the service, an agent that ran is not needed any more."""
        if wire is self._candidate:
            self._adopt(wire)
        self._silence.start()
        self.version = wire.hello["version"]
        self._request("gpus", {}, self._take_gpus)
        self._request("policy", {}, self.policy_received.emit)
        self._request("history", {"seconds": HISTORY_S}, self._take_history)
        for params in (
            {"topic": "snapshots", "interval_s": self._interval_s},
            {"topic": "policy"},
            {"topic": "gpus"},
            {"topic": "holds"},
        ):
            self._request("subscribe", params, lambda _: None)
        self._request("holds", {}, self._take_holds)  # told from now on, and as it is now
        if self._wants_processes:
            self._subscribe_to_processes()

    def _adopt(self, service: Wire) -> None:
        self._candidate, before, self._wire = None, self._wire, service
        self._retry.stop()
        self._look.stop()
        self._age.start()
        self.service_problem = ""
        self._process_subscription = None
        if before is not None:
            self._last_log = before.log
            before.drop()
            self._enter(LinkState.STARTING, "")
            self._refuse_pending(self.tr("the service has taken over"))

    def _subscribe_to_processes(self) -> None:
        if self._wants_processes:
            params = {"topic": "processes", "interval_s": INTERVAL_S}
            self._request("subscribe", params, self._take_process_subscription)
        elif self._process_subscription is not None:
            params = {"subscription": self._process_subscription}
            self._process_subscription = None
            self._request("unsubscribe", params, lambda _: None)

    def _take_process_subscription(self, result: Mapping[str, Any]) -> None:
        self._process_subscription = result["subscription"]
        if not self._wants_processes:  # it was unwanted again before the answer came
            self._subscribe_to_processes()

    def guard(self, active: bool) -> None:
        """Ask for samples as often as the guard of a run wants them, or as a person does."""
        interval_s = GUARD_INTERVAL_S if active else INTERVAL_S
        if interval_s == self._interval_s:
            return
        self._interval_s = interval_s
        if self.state is LinkState.RUNNING:
            params = {"topic": "snapshots", "interval_s": interval_s}
            self._request("subscribe", params, lambda _: None)

    def _receive(self, message: Mapping[str, Any]) -> None:
        self._silence.start()
        if "method" in message:
            self._notified(message["method"], message["params"])
            return
        answer, refuse = self._pending.pop(message["id"], (None, None))
        if "error" in message:
            reason = message["error"]["message"]
            if refuse is None:
                raise ProtocolError(reason)
            refuse(reason)
        elif answer is None:
            raise ProtocolError(f"answer to {message['id']}, which was not asked")
        else:
            answer(message["result"])

    def _notified(self, method: str, params: Mapping[str, Any]) -> None:
        if method == "snapshot":
            self._be_running()
            self.snapshot_received.emit(Snapshot.from_json(params["snapshot"]))
        elif method == "gpus":
            self._take_gpus(params)
        elif method == "policy":
            self.policy_received.emit(params["policy"])
        elif method == "processes":
            processes = [ProcessSample.from_json(entry) for entry in params["processes"]]
            self.processes_received.emit(processes, list(params["hidden"]))
        elif method == "holds":
            self._take_holds(params)

    def _take_gpus(self, result: Mapping[str, Any]) -> None:
        gpus = [GpuInfo.from_json(document) for document in result["gpus"]]
        self._be_running()
        self.gpus_received.emit(gpus, list(result["backends"]))

    def _take_history(self, result: Mapping[str, Any]) -> None:
        self.history_received.emit([Snapshot.from_json(entry) for entry in result["snapshots"]])

    def _take_holds(self, result: Mapping[str, Any]) -> None:
        from gpupanel.model.hold import Hold  # after the first frame

        self.holds_received.emit([Hold.from_json(entry) for entry in result["holds"]])

    def _be_running(self) -> None:
        if self.state is not LinkState.RUNNING:
            self._enter(LinkState.RUNNING, "")

    def _fell_silent(self) -> None:
        if self._wire is not None:
            text = self.tr("The {0} has said nothing for {1} s.")
            self._lose(text.format(self._wire.name, _SILENCE_MS // 1000))

    def _lost(self, wire: Wire, reason: str) -> None:
        if wire is self._wire:
            self._lose(reason)
        elif wire is self._candidate:
            self._candidate = None
            wire.drop()
            self.service_problem = reason
            self.state_changed.emit()
            if self._wire is None and not self._retry.isActive():
                self._start_agent()

    def _lose(self, reason: str) -> None:
        """Drop this connection, say why, and try another one later."""
        wire, self._wire = self._wire, None
        if wire is None:
            return
        self._silence.stop()
        self._process_subscription = None
        self._last_log = wire.log
        wire.drop()
        if self._age.hasExpired(_STABLE_MS):
            self._failures = 0
        delay_s = _BACKOFF_S[min(self._failures, len(_BACKOFF_S) - 1)]
        self._failures += 1
        self._retry.start(round(delay_s * 1000))
        self._enter(LinkState.RESTARTING, reason)
        self._refuse_pending(reason)

    def _refuse_pending(self, reason: str) -> None:
        unanswered, self._pending = self._pending, {}
        for _, refuse in unanswered.values():
            if refuse is not None:
                refuse(reason)

    def _enter(self, state: LinkState, reason: str) -> None:
        self.state, self.reason = state, reason
        self.state_changed.emit()


def _addresses(service: Service) -> list[tuple[Endpoint, str]]:
    from gpupanel.ipc import reach  # after the first frame

    return reach.addresses(service)
