"""The three functions of Windows that make a process a service. Never run on Windows so far.

No pywin32: its services need a DLL beside the interpreter and do not start from a virtual
environment, with no word about why.
"""

from __future__ import annotations

import ctypes
import sys
import traceback
from ctypes import wintypes

from gpupanel import paths
from gpupanel.service.overseer.winservice import NAME, Manager, Status

assert sys.platform == "win32"

_OWN_PROCESS = 0x10
_NOT_STARTED_AS_SERVICE = 1063  # ERROR_FAILED_SERVICE_CONTROLLER_CONNECT
_FAILED = 1
_USAGE = 2

_MAIN = ctypes.WINFUNCTYPE(None, wintypes.DWORD, ctypes.POINTER(wintypes.LPWSTR))
_HANDLER = ctypes.WINFUNCTYPE(
    wintypes.DWORD, wintypes.DWORD, wintypes.DWORD, ctypes.c_void_p, ctypes.c_void_p
)


class _Status(ctypes.Structure):
    """SERVICE_STATUS."""

    _fields_ = (
        ("service_type", wintypes.DWORD),
        ("current_state", wintypes.DWORD),
        ("controls_accepted", wintypes.DWORD),
        ("win32_exit_code", wintypes.DWORD),
        ("service_exit_code", wintypes.DWORD),
        ("checkpoint", wintypes.DWORD),
        ("wait_hint_ms", wintypes.DWORD),
    )


class _Entry(ctypes.Structure):
    """SERVICE_TABLE_ENTRYW."""

    _fields_ = (("name", wintypes.LPWSTR), ("main", _MAIN))


def main() -> int:
    """Returns when the service has ended; its status was told to Windows."""
    service = _Service()
    table = (_Entry * 2)(_Entry(NAME, service.main), _Entry())
    if service.library.StartServiceCtrlDispatcherW(table):
        return 0
    error = ctypes.get_last_error()
    reason = (
        "Windows starts it: sc start gpupaneld"
        if error == _NOT_STARTED_AS_SERVICE
        else ctypes.FormatError(error)
    )
    sys.stderr.write(f"gpupaneld: {reason}\n")
    return _USAGE


class _Service:
    """One run; Windows calls ``main`` and the handler on threads of its own."""

    def __init__(self) -> None:
        self.library = _library()
        self.main = _MAIN(self._main)
        self._handler = _HANDLER(self._control)  # kept: Windows holds no reference
        self._manager: Manager | None = None

    def _main(self, count: int, arguments: object) -> None:
        del count, arguments
        handle = self.library.RegisterServiceCtrlHandlerExW(NAME, self._handler, None)
        manager = self._manager = Manager(lambda status: self._report(handle, status))
        try:
            _log_to_file()
            from gpupanel.service.serving import run

            status = run(manager, manager.orders)
        except BaseException:
            # Out of here it would end in Windows, which says nothing; and would not start us anew.
            traceback.print_exc()
            manager.stopped(_FAILED)
            raise
        manager.stopped(status)

    def _control(self, code: int, event: int, detail: object, context: object) -> int:
        del detail, context
        assert self._manager is not None
        return self._manager.control(code, event)

    def _report(self, handle: int, status: Status) -> None:
        told = _Status(
            _OWN_PROCESS, status.state, status.accepted, status.win32_exit_code,
            status.exit_code, status.checkpoint, status.hint_ms,
        )  # fmt: skip
        self.library.SetServiceStatus(handle, ctypes.byref(told))


def _log_to_file() -> None:
    """A service has no stderr; opened anew at each start."""
    directory = paths.machine_log_dir()
    directory.mkdir(parents=True, exist_ok=True)
    log = (directory / "gpupaneld.log").open("w", encoding="utf-8", buffering=1)
    sys.stdout = sys.stderr = log


def _library() -> ctypes.WinDLL:
    load_library_search_system32 = 0x800
    library = ctypes.WinDLL(
        "advapi32.dll", winmode=load_library_search_system32, use_last_error=True
    )
    library.RegisterServiceCtrlHandlerExW.argtypes = (wintypes.LPCWSTR, _HANDLER, ctypes.c_void_p)
    library.RegisterServiceCtrlHandlerExW.restype = wintypes.HANDLE
    library.SetServiceStatus.argtypes = (wintypes.HANDLE, ctypes.POINTER(_Status))
    library.StartServiceCtrlDispatcherW.argtypes = (ctypes.POINTER(_Entry),)
    return library
