r"""The service's two pipes on Windows, and whom the system says that connects.

Never run: no Windows was at hand. Written from Microsoft's documentation; what is pure is tested.
Pipes below ``ProtectedPrefix\Administrators`` can be made by administrators alone, so nobody can
answer in the service's place. Who a client is comes from its token while it is impersonated, never
from its pid. ``_winapi`` is what Python's own ``multiprocessing`` reaches pipes by; ctypes does
the rest.
"""

from __future__ import annotations

import ctypes
import sys
from ctypes import wintypes

from gpupanel.ipc.limits import STALL_S
from gpupanel.ipc.transport import READ_BYTES, Endpoint, Peer
from gpupanel.model.errors import EndpointFailed, RequestDenied, ServiceUnreachable

_PREFIX = r"\\.\pipe\ProtectedPrefix\Administrators\gpupanel"
NAMES = {one: f"{_PREFIX}\\{one.value}" for one in (Endpoint.READ_ONLY, Endpoint.CONTROL)}

SYSTEM_SID = "S-1-5-18"
ADMINISTRATORS_SID = "S-1-5-32-544"


def security_descriptor(endpoint: Endpoint, operators_sid: str = "") -> str:
    """Who may open a pipe, in SDDL.

    Nobody over the network; the system and administrators; and whoever is logged on at the
    read-only pipe, or at the control pipe the members of ``operators_sid``. They may read and
    write, and not make another pipe of the name (0x12019b is both without that right).
    """
    access = "D:P(D;;GA;;;NU)(A;;GA;;;SY)(A;;GA;;;BA)"
    if endpoint is Endpoint.READ_ONLY:
        return access + "(A;;0x12019b;;;IU)"
    return access + (f"(A;;0x12019b;;;{operators_sid})" if operators_sid else "")


if sys.platform == "win32":
    import _winapi

    _PIPE_ACCESS_DUPLEX = 3
    _FILE_FLAG_OVERLAPPED = 0x40000000
    _FILE_FLAG_FIRST_PIPE_INSTANCE = 0x00080000
    _PIPE_REJECT_REMOTE_CLIENTS = 8
    _SECURITY_IDENTIFICATION = 0x00110000
    """With SECURITY_SQOS_PRESENT: the other end may learn who we are, and not act as us."""
    _TOKEN_QUERY = 8
    _TOKEN_USER = 1
    _SE_KERNEL_OBJECT = 6
    _OWNER_SECURITY_INFORMATION = 1
    _WAIT_TIMEOUT = 0x102

    _advapi = ctypes.WinDLL("advapi32", use_last_error=True)
    _kernel = ctypes.WinDLL("kernel32", use_last_error=True)
    _kernel.CreateEventW.restype = wintypes.HANDLE
    _kernel.SetEvent.argtypes = (wintypes.HANDLE,)
    _THIS_THREAD = wintypes.HANDLE(-2)

    class _SecurityAttributes(ctypes.Structure):
        _fields_ = (
            ("length", wintypes.DWORD),
            ("descriptor", wintypes.LPVOID),
            ("inherit", wintypes.BOOL),
        )

    class PipeStream:
        """One end of a pipe; reads and writes overlap, so that neither holds up the other."""

        def __init__(self, handle: int, stall_s: float = STALL_S) -> None:
            """``stall_s`` is how long the other end may take nothing while something is sent."""
            self._handle = handle
            self._stall_s = stall_s
            self._over = _kernel.CreateEventW(None, True, False, None)

        def receive(self, timeout_s: float | None) -> bytes:
            """As ``Stream``."""
            try:
                overlapped, _ = _winapi.ReadFile(self._handle, READ_BYTES, overlapped=True)
                self._wait(overlapped, timeout_s)
                return bytes(overlapped.getbuffer() or b"")
            except BrokenPipeError:
                return b""

        def send(self, line: bytes) -> None:
            """As ``Stream``."""
            rest = line
            while rest:
                overlapped, _ = _winapi.WriteFile(self._handle, rest[:READ_BYTES], overlapped=True)
                rest = rest[self._wait(overlapped, self._stall_s) :]

        def abort(self) -> None:
            """As ``Stream``."""
            _kernel.SetEvent(self._over)

        def close(self) -> None:
            """Give the handles back, when no thread uses them any more."""
            _winapi.CloseHandle(self._handle)
            _winapi.CloseHandle(self._over)

        def _wait(self, overlapped: _winapi.Overlapped, timeout_s: float | None) -> int:
            """Bytes that went over."""
            milliseconds = _winapi.INFINITE if timeout_s is None else round(timeout_s * 1000)
            events = (overlapped.event, self._over)
            which = _winapi.WaitForMultipleObjects(events, False, milliseconds)
            if which != _winapi.WAIT_OBJECT_0:
                overlapped.cancel()
                overlapped.GetOverlappedResult(True)
                raise TimeoutError if which == _WAIT_TIMEOUT else BrokenPipeError
            count, _ = overlapped.GetOverlappedResult(True)
            return count

    class PipeCaller(PipeStream):
        """A client of the service."""

        def __init__(self, handle: int, endpoint: Endpoint) -> None:
            super().__init__(handle)
            self._endpoint = endpoint

        def peer(self) -> Peer:
            """Who connected.

            Raises:
                RequestDenied: The system does not tell.
            """
            pid = wintypes.ULONG()
            _kernel.GetNamedPipeClientProcessId(wintypes.HANDLE(self._handle), ctypes.byref(pid))
            # On failure we would look at ourselves, and take a stranger for the system.
            if not _advapi.ImpersonateNamedPipeClient(wintypes.HANDLE(self._handle)):
                raise RequestDenied("the system does not tell who connected")
            try:
                sid, is_admin = _token_user(), _is_member(ADMINISTRATORS_SID)
            finally:
                if not _advapi.RevertToSelf():
                    # A thread that is stuck with another's rights must not go on.
                    raise SystemExit("gpupaneld: a client's identity could not be put off")
            return Peer(self._endpoint, None, pid.value, 0, is_admin, sid)

    class PipeDoor:
        """One endpoint; it waits for a client on one instance of the pipe after another."""

        def __init__(self, endpoint: Endpoint, operators_sid: str = "") -> None:
            """Make the first instance.

            Raises:
                EndpointFailed: Another service is there, or we are no administrator.
            """
            self._endpoint = endpoint
            self._sddl = security_descriptor(endpoint, operators_sid)
            self._over = _kernel.CreateEventW(None, True, False, None)
            try:
                self._next = self._instance(_FILE_FLAG_FIRST_PIPE_INSTANCE)
            except OSError as reason:
                text = f"{NAMES[endpoint]} cannot be opened: {reason.strerror or reason}"
                raise EndpointFailed(text) from None

        def accept(self) -> PipeCaller:
            """As ``Door``."""
            try:
                overlapped = _winapi.ConnectNamedPipe(self._next, overlapped=True)
            except OSError:
                # Somebody came and left before we looked: that instance is spent.
                _winapi.CloseHandle(self._next)
                self._next = self._instance(0)
                raise
            events = (overlapped.event, self._over)
            if _winapi.WaitForMultipleObjects(events, False, _winapi.INFINITE):
                overlapped.cancel()
                raise OSError("the door is shut")
            overlapped.GetOverlappedResult(True)
            caller = PipeCaller(self._next, self._endpoint)
            self._next = self._instance(0)
            return caller

        def shut(self) -> None:
            """As ``Door``."""
            _kernel.SetEvent(self._over)

        def close(self) -> None:
            """As ``Door``."""
            _winapi.CloseHandle(self._next)
            _winapi.CloseHandle(self._over)

        def _instance(self, flags: int) -> int:
            descriptor = wintypes.LPVOID()
            made = _advapi.ConvertStringSecurityDescriptorToSecurityDescriptorW(
                self._sddl, 1, ctypes.byref(descriptor), None
            )
            if not made:
                raise ctypes.WinError(ctypes.get_last_error())
            attributes = _SecurityAttributes(ctypes.sizeof(_SecurityAttributes), descriptor, False)
            try:
                return _winapi.CreateNamedPipe(
                    NAMES[self._endpoint],
                    _PIPE_ACCESS_DUPLEX | _FILE_FLAG_OVERLAPPED | flags,
                    _PIPE_REJECT_REMOTE_CLIENTS,
                    _winapi.PIPE_UNLIMITED_INSTANCES,
                    READ_BYTES, READ_BYTES, 0, ctypes.addressof(attributes),
                )  # fmt: skip
            finally:
                _kernel.LocalFree(descriptor)

    def open_doors(operators_sid: str = "") -> list[PipeDoor]:
        """Both endpoints of the service.

        Args:
            operators_sid: Of the local group that may control; empty for administrators alone.

        Raises:
            EndpointFailed: As ``PipeDoor``.
        """
        return [PipeDoor(endpoint, operators_sid) for endpoint in NAMES]

    def connect(endpoint: Endpoint) -> PipeStream | None:
        """A connection to the service; None where that door is not open to us.

        Raises:
            ServiceUnreachable: Something answers there that is not the service.
        """
        access = _winapi.GENERIC_READ | _winapi.GENERIC_WRITE
        flags = _FILE_FLAG_OVERLAPPED | _SECURITY_IDENTIFICATION
        try:
            handle = _winapi.CreateFile(
                NAMES[endpoint], access, 0, _winapi.NULL, _winapi.OPEN_EXISTING, flags, _winapi.NULL
            )
        except OSError:
            return None
        try:
            check_is_service(handle)
        except ServiceUnreachable:
            _winapi.CloseHandle(handle)
            raise
        return PipeStream(handle)

    def check_is_service(handle: int) -> None:
        """Look who made a pipe that we opened.

        Raises:
            ServiceUnreachable: Neither the system nor the administrators.
        """
        owner = wintypes.LPVOID()
        descriptor = wintypes.LPVOID()
        error = _advapi.GetSecurityInfo(
            wintypes.HANDLE(handle), _SE_KERNEL_OBJECT, _OWNER_SECURITY_INFORMATION,
            ctypes.byref(owner), None, None, None, ctypes.byref(descriptor),
        )  # fmt: skip
        if error:
            raise ServiceUnreachable(f"it is not known who answers: {ctypes.WinError(error)}")
        try:
            sid = _sid_text(owner)
        finally:
            _kernel.LocalFree(descriptor)
        if sid not in {SYSTEM_SID, ADMINISTRATORS_SID}:
            raise ServiceUnreachable(
                f"what answers is run by {sid} and is not the service: tell your administrator"
            )

    def _token_user() -> str:
        """Of the thread's token."""
        token = wintypes.HANDLE()
        if not _advapi.OpenThreadToken(_THIS_THREAD, _TOKEN_QUERY, True, ctypes.byref(token)):
            raise RequestDenied("the system does not tell who connected")
        try:
            room = ctypes.create_string_buffer(256)
            used = wintypes.DWORD()
            if not _advapi.GetTokenInformation(
                token, _TOKEN_USER, room, len(room), ctypes.byref(used)
            ):
                raise RequestDenied("the system does not tell who connected")
            # The structure begins with a pointer to the SID, which lies behind it.
            return _sid_text(wintypes.LPVOID.from_buffer(room))
        finally:
            _kernel.CloseHandle(token)

    def _is_member(sid_text: str) -> bool:
        """Whether the thread's token has a group switched on."""
        sid = wintypes.LPVOID()
        if not _advapi.ConvertStringSidToSidW(sid_text, ctypes.byref(sid)):
            return False
        try:
            found = wintypes.BOOL()
            asked = _advapi.CheckTokenMembership(None, sid, ctypes.byref(found))
            return bool(asked and found.value)
        finally:
            _kernel.LocalFree(sid)

    def _sid_text(sid: wintypes.LPVOID) -> str:
        text = wintypes.LPWSTR()
        if not _advapi.ConvertSidToStringSidW(sid, ctypes.byref(text)):
            raise RequestDenied("the system does not tell who connected")
        try:
            return str(text.value)
        finally:
            _kernel.LocalFree(text)
