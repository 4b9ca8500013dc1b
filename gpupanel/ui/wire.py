"""One connection of the window: to an agent that it starts, or to the service of the machine.

Both greet and cut messages in the same way, and neither waits. What is at the other end is certain
when ``on_greeted`` is called; until then another connection can go on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QObject, QProcess

from gpupanel.ipc import protocol
from gpupanel.ipc.transport import Endpoint, Service
from gpupanel.model.errors import ProtocolError, ServiceUnreachable

if TYPE_CHECKING:
    from PySide6.QtNetwork import QLocalSocket

CLOSE_MS = 500
_LOG_BYTES = 4096
_HELLO_ID = 0

Message = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Listener:
    """Who is told what comes; nothing after ``on_lost``, which comes once and takes the reason.

    Attributes:
        on_message: May raise ProtocolError, KeyError, TypeError or ValueError: then the other end
            broke the protocol, and is lost.
    """

    on_greeted: Callable[[Wire], None]
    on_message: Callable[[Message], None]
    on_lost: Callable[[Wire, str], None]


class Wire(QObject):
    """What is common to both.

    Attributes:
        endpoint: By which door it goes.
        hello: What the other end says it is; empty until it was greeted.
        log: Its last words on stderr, at most 4 KiB.
    """

    endpoint: Endpoint
    name = ""

    def __init__(self, listener: Listener, parent: QObject) -> None:
        super().__init__(parent)
        self._listener: Listener | None = listener
        self._decoder = protocol.Decoder(protocol.MAX_REPLY_BYTES)
        self.hello: Message = {}
        self.log = b""

    def open(self) -> None:
        """Connect and greet; returns at once."""
        raise NotImplementedError

    def send(self, line: bytes) -> None:
        """Send a whole line; returns at once."""
        raise NotImplementedError

    def drop(self) -> None:
        """End it now, and wait for nothing; deletes itself."""
        raise NotImplementedError

    def close(self) -> None:
        """End it in good order: returns when the other end has, or half a second later."""
        raise NotImplementedError

    def _say_hello(self) -> None:
        params = {"protocol": protocol.PROTOCOL_VERSION}
        self.send(protocol.encode(protocol.request(_HELLO_ID, "hello", params)))

    def _take(self, chunk: bytes) -> None:
        try:
            for message in self._decoder.feed(chunk):
                if not self.hello:
                    self._greeted(message)
                elif self._listener is not None:
                    self._listener.on_message(message)
        except (ProtocolError, KeyError, TypeError, ValueError) as reason:
            self._lose(self.tr("The {0} broke the protocol: {1}").format(self.name, reason))

    def _greeted(self, message: Message) -> None:
        if "error" in message:
            why = message["error"]["message"]
            self._lose(self.tr("The {0} refuses: {1}").format(self.name, why))
        elif self._listener is not None:
            spoken = message["result"]["protocol"]
            if spoken != protocol.PROTOCOL_VERSION:
                raise ProtocolError(
                    f"it speaks protocol {spoken}, this window {protocol.PROTOCOL_VERSION}: "
                    "reinstall gpupanel"
                )
            self.hello = message["result"]
            self._listener.on_greeted(self)

    def _lose(self, reason: str) -> None:
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.on_lost(self, reason)


class AgentWire(Wire):
    """A child process that reads the GPUs and may crash alone."""

    endpoint = Endpoint.PARENT
    name = "agent"

    def __init__(self, command: Sequence[str], listener: Listener, parent: QObject) -> None:
        super().__init__(listener, parent)
        self._process = QProcess(self)
        self._process.setProgram(command[0])
        self._process.setArguments(list(command[1:]))
        self._process.readyReadStandardOutput.connect(self._read)
        self._process.readyReadStandardError.connect(self._collect_log)
        self._process.finished.connect(self._ended)
        self._process.errorOccurred.connect(self._failed)

    def open(self) -> None:
        """As ``Wire``."""
        self._process.start()
        self._say_hello()

    def send(self, line: bytes) -> None:
        """As ``Wire``."""
        self._process.write(line)

    def drop(self) -> None:
        """As ``Wire``; gone when the process is."""
        self._stop_listening()
        self._process.finished.connect(self.deleteLater)
        self._process.kill()
        if not self._is_running():
            self.deleteLater()

    def close(self) -> None:
        """As ``Wire``."""
        if self._listener is None:  # it was dropped, and has been killed
            self._process.waitForFinished(CLOSE_MS)
            return
        self._stop_listening()
        self._process.closeWriteChannel()
        if self._is_running() and not self._process.waitForFinished(CLOSE_MS):
            self._process.kill()
            self._process.waitForFinished(CLOSE_MS)

    def _is_running(self) -> bool:
        return self._process.state() is not QProcess.ProcessState.NotRunning

    def _stop_listening(self) -> None:
        self._listener = None
        self._process.readyReadStandardOutput.disconnect(self._read)
        self._process.readyReadStandardError.disconnect(self._collect_log)
        self._process.finished.disconnect(self._ended)
        self._process.errorOccurred.disconnect(self._failed)

    def _read(self) -> None:
        self._take(bytes(self._process.readAllStandardOutput().data()))

    def _collect_log(self) -> None:
        fresh = bytes(self._process.readAllStandardError().data())
        self.log = (self.log + fresh)[-_LOG_BYTES:]

    def _ended(self, code: int, status: QProcess.ExitStatus) -> None:
        self._collect_log()
        if status is QProcess.ExitStatus.CrashExit:
            self._lose(self.tr("The agent crashed."))
        else:
            self._lose(self.tr("The agent ended with exit code {0}.").format(code))

    def _failed(self, error: QProcess.ProcessError) -> None:
        if error is QProcess.ProcessError.FailedToStart:
            why = self._process.errorString()
            self._lose(self.tr("The agent could not be started: {0}").format(why))


class ServiceWire(Wire):
    """The machine's service, which answers at a socket or pipe of root's or the system's."""

    name = "service"

    def __init__(
        self,
        service: Service,
        address: tuple[Endpoint, str],
        listener: Listener,
        parent: QObject,
    ) -> None:
        """``address`` is one of ``reach.addresses(service)``."""
        super().__init__(listener, parent)
        self._service = service
        self.endpoint, self._path = address
        self._is_connected = False
        self._socket = self._made_socket()

    def open(self) -> None:
        """As ``Wire``."""
        self._socket.connectToServer(self._path)

    def send(self, line: bytes) -> None:
        """As ``Wire``."""
        self._socket.write(line)

    def drop(self) -> None:
        """As ``Wire``."""
        self._listener = None
        self._socket.abort()
        self.deleteLater()

    def close(self) -> None:
        """As ``Wire``; nobody else waits for the end of a socket."""
        self.drop()

    def _made_socket(self) -> QLocalSocket:
        # Not above: the first frame does without it.
        from PySide6.QtNetwork import QLocalSocket

        made = QLocalSocket(self)
        made.connected.connect(self._connected)
        made.readyRead.connect(self._read)
        made.errorOccurred.connect(self._failed)
        return made

    def _connected(self) -> None:
        from gpupanel.ipc import reach  # after the first frame

        self._is_connected = True
        try:
            reach.check(int(self._socket.socketDescriptor()), self._service)
        except ServiceUnreachable as reason:
            self._lose(f"{reason}.")
            return
        self._say_hello()

    def _read(self) -> None:
        self._take(bytes(self._socket.readAll().data()))

    def _failed(self) -> None:
        if self._is_connected:
            self._read()  # it may have said why
            self._lose(self.tr("The service ended the connection."))
        else:
            why = self._socket.errorString()
            self._lose(self.tr("The service cannot be reached: {0}").format(why))
