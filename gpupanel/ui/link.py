"""The window's line to its agent: a child process that reads the GPUs and may crash alone.

Speaks newline-delimited JSON-RPC over the child's stdin and stdout and never waits for it. An
agent that dies, falls silent or breaks the protocol is replaced, after 1 s, 2 s, 4 s ... 30 s;
one that lived for a minute starts the count anew.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Any

from PySide6.QtCore import QElapsedTimer, QObject, QProcess, QTimer, Signal

from gpupanel import children
from gpupanel.ipc import protocol
from gpupanel.model.errors import ProtocolError
from gpupanel.model.gpu import GpuInfo, ProcessSample, Snapshot

HISTORY_S = 120
INTERVAL_S = 1.0
GUARD_INTERVAL_S = 0.2
"""While a load runs, its guard wants to see the card more often than a person does."""

_SILENCE_MS = 15_000
_STABLE_MS = 60_000
_BACKOFF_S = (1, 2, 4, 8, 16, 30)
_CLOSE_MS = 500
_LOG_BYTES = 4096

Answer = Callable[[Mapping[str, Any]], None]
Refuse = Callable[[str], None]
"""Takes the reason, for a person."""


class LinkState(StrEnum):
    """How it stands with the agent."""

    STARTING = "starting"
    RUNNING = "running"
    RESTARTING = "restarting"
    CLOSED = "closed"


class Link(QObject):
    """Starts the agent, subscribes to everything, hands on values.

    Attributes:
        state: Where it stands now.
        reason: Why the agent was lost, for a person; empty while it runs.
        version: What the agent says it is; None until it said hello.

    Signals:
        state_changed(): ``state`` or ``reason`` is new.
        gpus_received(list[GpuInfo], list[dict]): All GPUs and the backends that were tried.
        history_received(list[Snapshot]): Oldest first, once per agent.
        snapshot_received(Snapshot): One tick.
        policy_received(dict): The effective policy as JSON.
        processes_received(list[ProcessSample], list[str]): Once a second while they are wanted;
            and why some cannot be seen.
    """

    state_changed = Signal()
    gpus_received = Signal(object, object)
    history_received = Signal(object)
    snapshot_received = Signal(object)
    policy_received = Signal(object)
    processes_received = Signal(object, object)

    def __init__(self, command: Sequence[str] | None = None, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._command = list(command or children.command("agent"))
        self._process: QProcess | None = None
        self._decoder = protocol.Decoder(protocol.MAX_REPLY_BYTES)
        self._pending: dict[int, tuple[Answer, Refuse | None]] = {}
        self._wants_processes = False
        self._process_subscription: int | None = None
        self._next_id = 1
        self._failures = 0
        self._age = QElapsedTimer()
        self._log = b""
        self._silence = self._timer(_SILENCE_MS, self._fell_silent)
        self._retry = self._timer(0, self.start)
        self.state = LinkState.STARTING
        self.reason = ""
        self.version: str | None = None
        self._interval_s = INTERVAL_S

    @property
    def log(self) -> str:
        """The last words of the agent on stderr, at most 4 KiB."""
        return self._log.decode(errors="replace")

    @property
    def retry_in_ms(self) -> int:
        """How long the next attempt waits."""
        return self._retry.interval()

    def start(self) -> None:
        """Start an agent and ask it for everything; returns at once."""
        process = QProcess(self)
        process.setProgram(self._command[0])
        process.setArguments(self._command[1:])
        process.readyReadStandardOutput.connect(self._read)
        process.readyReadStandardError.connect(self._collect_log)
        process.finished.connect(self._ended)
        process.errorOccurred.connect(self._failed)
        self._process = process
        self._decoder = protocol.Decoder(protocol.MAX_REPLY_BYTES)
        self._pending.clear()
        process.start()
        self._age.start()
        self._silence.start()
        self._request("hello", {"protocol": protocol.PROTOCOL_VERSION}, self._greeted)

    def ask(self, method: str, params: Mapping[str, Any], answer: Answer, refuse: Refuse) -> None:
        """Ask the agent something; exactly one of ``answer`` and ``refuse`` is called, later."""
        if self.state is LinkState.RUNNING and self._process is not None:
            self._request(method, params, answer, refuse)
        else:
            QTimer.singleShot(0, lambda: refuse(self.tr("the agent is not running")))

    def want_processes(self, wanted: bool) -> None:
        """Whether to be told of processes; looking at all of them costs the agent something."""
        if wanted == self._wants_processes:
            return
        self._wants_processes = wanted
        if self.state is LinkState.RUNNING and self._process is not None:
            self._subscribe_to_processes()

    def close(self) -> None:
        """End the agent: ask, wait half a second at most, then kill."""
        self._retry.stop()
        self._silence.stop()
        self.state = LinkState.CLOSED
        process, self._process = self._process, None
        for killed in self.findChildren(QProcess):
            if killed is not process and killed.state() is not QProcess.ProcessState.NotRunning:
                killed.waitForFinished(_CLOSE_MS)
        if process is None:
            return
        self._stop_listening(process)
        process.closeWriteChannel()
        if process.state() is not QProcess.ProcessState.NotRunning and not process.waitForFinished(
            _CLOSE_MS
        ):
            process.kill()
            process.waitForFinished(_CLOSE_MS)

    def _stop_listening(self, process: QProcess) -> None:
        process.readyReadStandardOutput.disconnect(self._read)
        process.readyReadStandardError.disconnect(self._collect_log)
        process.finished.disconnect(self._ended)
        process.errorOccurred.disconnect(self._failed)

    def _timer(self, interval_ms: int, slot: Callable[[], None]) -> QTimer:
        timer = QTimer(self, singleShot=True, interval=interval_ms)
        timer.timeout.connect(slot)
        return timer

    def _request(
        self, method: str, params: Mapping[str, Any], answer: Answer, refuse: Refuse | None = None
    ) -> None:
        """Without ``refuse``, an agent that refuses is broken."""
        assert self._process is not None
        self._pending[self._next_id] = answer, refuse
        self._process.write(protocol.encode(protocol.request(self._next_id, method, params)))
        self._next_id += 1

    def _greeted(self, result: Mapping[str, Any]) -> None:
        if result["protocol"] != protocol.PROTOCOL_VERSION:
            raise ProtocolError(
                f"the agent speaks protocol {result['protocol']}, this window "
                f"{protocol.PROTOCOL_VERSION}: reinstall gpupanel"
            )
        self.version = result["version"]
        self._request("gpus", {}, self._take_gpus)
        self._request("policy", {}, self.policy_received.emit)
        self._request("history", {"seconds": HISTORY_S}, self._take_history)
        for params in (
            {"topic": "snapshots", "interval_s": self._interval_s},
            {"topic": "policy"},
            {"topic": "gpus"},
        ):
            self._request("subscribe", params, lambda _: None)
        if self._wants_processes:
            self._subscribe_to_processes()

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

    def _read(self) -> None:
        process = self._process
        if process is None:
            return
        try:
            for message in self._decoder.feed(bytes(process.readAllStandardOutput().data())):
                self._receive(message)
        except (ProtocolError, KeyError, TypeError, ValueError) as reason:
            self._lose(self.tr("The agent broke the protocol: {0}").format(reason))
        else:
            self._silence.start()

    def _receive(self, message: Mapping[str, Any]) -> None:
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

    def _take_gpus(self, result: Mapping[str, Any]) -> None:
        gpus = [GpuInfo.from_json(document) for document in result["gpus"]]
        self._be_running()
        self.gpus_received.emit(gpus, list(result["backends"]))

    def _take_history(self, result: Mapping[str, Any]) -> None:
        self.history_received.emit([Snapshot.from_json(entry) for entry in result["snapshots"]])

    def _be_running(self) -> None:
        if self.state is not LinkState.RUNNING:
            self._enter(LinkState.RUNNING, "")

    def _collect_log(self) -> None:
        if self._process is not None:
            fresh = bytes(self._process.readAllStandardError().data())
            self._log = (self._log + fresh)[-_LOG_BYTES:]

    def _ended(self, code: int, status: QProcess.ExitStatus) -> None:
        self._collect_log()
        if status is QProcess.ExitStatus.CrashExit:
            self._lose(self.tr("The agent crashed."))
        else:
            self._lose(self.tr("The agent ended with exit code {0}.").format(code))

    def _failed(self, error: QProcess.ProcessError) -> None:
        if error is QProcess.ProcessError.FailedToStart and self._process is not None:
            self._lose(
                self.tr("The agent could not be started: {0}").format(self._process.errorString())
            )

    def _fell_silent(self) -> None:
        self._lose(self.tr("The agent has said nothing for {0} s.").format(_SILENCE_MS // 1000))

    def _lose(self, reason: str) -> None:
        """Drop this agent, say why, and try another one later."""
        process, self._process = self._process, None
        if process is None:
            return
        self._silence.stop()
        self._stop_listening(process)
        self._process_subscription = None
        process.finished.connect(process.deleteLater)
        process.kill()
        if process.state() is QProcess.ProcessState.NotRunning:
            process.deleteLater()
        if self._age.hasExpired(_STABLE_MS):
            self._failures = 0
        delay_s = _BACKOFF_S[min(self._failures, len(_BACKOFF_S) - 1)]
        self._failures += 1
        self._retry.start(round(delay_s * 1000))
        self._enter(LinkState.RESTARTING, reason)
        unanswered, self._pending = self._pending, {}
        for _, refuse in unanswered.values():
            if refuse is not None:
                refuse(reason)

    def _enter(self, state: LinkState, reason: str) -> None:
        self.state, self.reason = state, reason
        self.state_changed.emit()
