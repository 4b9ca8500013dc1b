"""Windows' calls that hold a process: state changes of ntdll, which undo themselves.

``NtCreateProcessStateChange`` and ``NtChangeProcessState`` are not documented by Microsoft; they
exist from Windows 11 on (build 20190). When the last handle to a state change is closed, as when
its owner dies, the process goes on. Never run on Windows so far.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from gpupanel.model.errors import HoldFailed

_TERMINATE, _SET_INFORMATION, _SUSPEND_RESUME, _QUERY_LIMITED = 0x1, 0x200, 0x800, 0x1000
_SYNCHRONIZE = 0x100000
_STATE_CHANGE_ALL = 0xF0001
"""PROCESS_STATE_ALL_ACCESS."""

_SUSPEND, _RESUME = 0, 1
"""PROCESS_STATE_CHANGE_TYPE."""

GPU_IDLE, GPU_NORMAL = 0, 2
"""D3DKMT_SCHEDULINGPRIORITYCLASS."""

_SNAPSHOT_PROCESSES = 0x2
_INVALID = ctypes.c_void_p(-1).value
_INVALID_PARAMETER = 87
_WAIT_OBJECT_0 = 0
_IS_ENDING = 0xC000010A
"""STATUS_PROCESS_IS_TERMINATING."""


class Process(NamedTuple):
    """One process.

    Attributes:
        started: FILETIME; 0 where Windows does not tell.
    """

    pid: int
    parent: int
    started: int


class Times(NamedTuple):
    """Of a process, that may have ended.

    Attributes:
        started: FILETIME.
        used: Units of 100 ns of processor time.
    """

    started: int
    used: int


class ProcessEntry(ctypes.Structure):
    """PROCESSENTRY32W."""

    _fields_ = (
        ("size", ctypes.c_uint32),
        ("usage", ctypes.c_uint32),
        ("pid", ctypes.c_uint32),
        ("heap", ctypes.c_size_t),
        ("module", ctypes.c_uint32),
        ("threads", ctypes.c_uint32),
        ("parent", ctypes.c_uint32),
        ("priority", ctypes.c_int32),
        ("flags", ctypes.c_uint32),
        ("name", ctypes.c_uint16 * 260),
    )


class ProcessState:
    """The three libraries; each method is one call."""

    def __init__(self, kernel32: Any, ntdll: Any, gdi32: Any) -> None:  # noqa: ANN401 - libraries
        """Take the loaded libraries.

        Raises:
            HoldFailed: This Windows has no state changes.
        """
        self._kernel32, self._ntdll, self._gdi32 = kernel32, ntdll, gdi32
        try:
            _declare(kernel32, _KERNEL32)
            _declare(ntdll, _NTDLL)
            _declare(gdi32, _GDI32)
        except AttributeError:
            raise HoldFailed("this Windows cannot hold a process: it needs Windows 11") from None

    def living(self) -> list[Process]:
        """Everybody, with the start of those that we may ask."""
        snapshot = self._kernel32.CreateToolhelp32Snapshot(_SNAPSHOT_PROCESSES, 0)
        if snapshot in {None, _INVALID}:
            raise HoldFailed("Windows does not list its processes")
        entry = ProcessEntry(size=ctypes.sizeof(ProcessEntry))
        found = []
        more = self._kernel32.Process32FirstW(snapshot, ctypes.byref(entry))
        while more:
            found.append((entry.pid, entry.parent))
            more = self._kernel32.Process32NextW(snapshot, ctypes.byref(entry))
        self.close(snapshot)
        return [Process(pid, parent, self._started(pid)) for pid, parent in found]

    def open(self, pid: int) -> int | None:
        """A handle that may hold and end it; None where there is no such process.

        Raises:
            HoldFailed: We may not.
        """
        rights = _TERMINATE | _SET_INFORMATION | _SUSPEND_RESUME | _QUERY_LIMITED | _SYNCHRONIZE
        handle = self._kernel32.OpenProcess(rights, False, pid)
        if handle:
            return int(handle)
        error = self._kernel32.GetLastError()
        if error == _INVALID_PARAMETER:
            return None
        raise HoldFailed(f"Windows does not let us hold pid {pid} (error {error})")

    def times(self, handle: int) -> Times:
        """Start and use of the process of a handle; zeros where Windows does not tell."""
        values = [ctypes.c_uint64() for _ in range(4)]
        if not self._kernel32.GetProcessTimes(handle, *map(ctypes.byref, values)):
            return Times(0, 0)
        created, _, in_kernel, in_user = (value.value for value in values)
        return Times(created, in_kernel + in_user)

    def has_ended(self, handle: int) -> bool:
        """Whether the process of a handle has ended."""
        return bool(self._kernel32.WaitForSingleObject(handle, 0) == _WAIT_OBJECT_0)

    def state_change(self, handle: int) -> int:
        """A state change of that process; closing it lets the process go.

        Raises:
            HoldFailed: Windows refuses.
        """
        change = ctypes.c_void_p()
        status = self._ntdll.NtCreateProcessStateChange(
            ctypes.byref(change), _STATE_CHANGE_ALL, None, handle, 0
        )
        _check(status)
        return int(change.value or 0)

    def suspend(self, change: int, handle: int) -> None:
        """Hold all its threads, and those that it starts; one that has ended is well.

        Raises:
            HoldFailed: Windows refuses.
        """
        _check(self._ntdll.NtChangeProcessState(change, handle, _SUSPEND, None, 0, 0))

    def resume(self, change: int, handle: int) -> None:
        """Let them run; one that has ended is well.

        Raises:
            HoldFailed: Windows refuses.
        """
        _check(self._ntdll.NtChangeProcessState(change, handle, _RESUME, None, 0, 0))

    def set_gpu_priority(self, handle: int, priority: int) -> bool:
        """Its place in the GPU's queue; whether Windows took it."""
        return bool(self._gdi32.D3DKMTSetProcessSchedulingPriorityClass(handle, priority) == 0)

    def terminate(self, handle: int) -> None:
        """End it."""
        self._kernel32.TerminateProcess(handle, 1)

    def close(self, handle: int) -> None:
        """Of any kind."""
        self._kernel32.CloseHandle(handle)

    def _started(self, pid: int) -> int:
        handle = self._kernel32.OpenProcess(_QUERY_LIMITED, False, pid)
        if not handle:
            return 0
        started = self.times(handle).started
        self.close(handle)
        return started


_HANDLE, _WORD, _BOOL = ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int32
_POINTER = ctypes.c_void_p

_Signatures = Mapping[str, tuple[Any, Sequence[Any]]]

_KERNEL32: _Signatures = {
    "CreateToolhelp32Snapshot": (_HANDLE, (_WORD, _WORD)),
    "Process32FirstW": (_BOOL, (_HANDLE, _POINTER)),
    "Process32NextW": (_BOOL, (_HANDLE, _POINTER)),
    "OpenProcess": (_HANDLE, (_WORD, _BOOL, _WORD)),
    "GetLastError": (_WORD, ()),
    "GetProcessTimes": (_BOOL, (_HANDLE, _POINTER, _POINTER, _POINTER, _POINTER)),
    "WaitForSingleObject": (_WORD, (_HANDLE, _WORD)),
    "TerminateProcess": (_BOOL, (_HANDLE, _WORD)),
    "CloseHandle": (_BOOL, (_HANDLE,)),
}
_NTDLL: _Signatures = {
    "NtCreateProcessStateChange": (
        _WORD,
        (_POINTER, _WORD, _POINTER, _HANDLE, ctypes.c_uint64),
    ),
    "NtChangeProcessState": (
        _WORD,
        (_HANDLE, _HANDLE, _WORD, _POINTER, ctypes.c_size_t, ctypes.c_uint64),
    ),
}
_GDI32: _Signatures = {"D3DKMTSetProcessSchedulingPriorityClass": (_WORD, (_HANDLE, _WORD))}


def _declare(library: Any, signatures: _Signatures) -> None:  # noqa: ANN401 - a loaded library
    for name, (result, arguments) in signatures.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, list(arguments)


def _check(status: int) -> None:
    if status not in {0, _IS_ENDING}:
        raise HoldFailed(f"Windows does not change the state of the process ({status:#010x})")
