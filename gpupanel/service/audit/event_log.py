r"""The mirror on Windows: the Application log of the Event Log. It never ran on Windows yet.

The installer registers the source ``gpupanel`` below
``HKLM\SYSTEM\CurrentControlSet\Services\EventLog\Application`` with
``%SystemRoot%\System32\EventCreate.exe`` as its message file, which shows the first text of any
event with a number of 1 to 1000.
"""

from __future__ import annotations

import sys

from gpupanel.model.audit import Severity
from gpupanel.service.audit.mirror import Told

SOURCE = "gpupanel"

EVENT_TYPES = {
    Severity.ERROR: 0x0001,
    Severity.WARNING: 0x0002,
    Severity.NOTICE: 0x0004,
    Severity.INFO: 0x0004,
}
"""``EVENTLOG_ERROR_TYPE``, ``_WARNING_TYPE`` and ``_INFORMATION_TYPE`` of winnt.h."""


def texts(told: Told) -> list[str]:
    """The insertion strings: what is shown; then the sequence, the hash and the record."""
    record = told.record
    return [told.message, *((str(record.seq), record.hash, record.line) if record else ())]


if sys.platform == "win32":
    import ctypes
    from ctypes import wintypes

    def _advapi32() -> ctypes.WinDLL:
        library = ctypes.WinDLL("advapi32", use_last_error=True)
        library.RegisterEventSourceW.argtypes = (wintypes.LPCWSTR, wintypes.LPCWSTR)
        library.RegisterEventSourceW.restype = wintypes.HANDLE
        library.ReportEventW.argtypes = (
            wintypes.HANDLE, wintypes.WORD, wintypes.WORD, wintypes.DWORD, wintypes.LPVOID,
            wintypes.WORD, wintypes.DWORD, ctypes.POINTER(wintypes.LPCWSTR), wintypes.LPVOID,
        )  # fmt: skip
        library.ReportEventW.restype = wintypes.BOOL
        library.DeregisterEventSource.argtypes = (wintypes.HANDLE,)
        library.DeregisterEventSource.restype = wintypes.BOOL
        return library

    class WindowsEventLog:
        """Tells the Event Log; a refusal is told in ``problem``."""

        def __init__(self) -> None:
            self._library = _advapi32()
            self._source = self._library.RegisterEventSourceW(None, SOURCE)
            self.problem = "" if self._source else _refused()

        def tell(self, told: Told) -> None:
            """One event."""
            if not self._source:
                return
            strings = texts(told)
            array = (wintypes.LPCWSTR * len(strings))(*strings)
            kind, number = EVENT_TYPES[told.event.severity], told.event.number
            is_told = self._library.ReportEventW(
                self._source, kind, 0, number, None, len(strings), 0, array, None
            )
            self.problem = "" if is_told else _refused()

        def close(self) -> None:
            """Nothing more will come."""
            if self._source:
                self._library.DeregisterEventSource(self._source)

    def _refused() -> str:
        code = ctypes.get_last_error()
        return f"the Event Log was not told of an audit record: {ctypes.FormatError(code)}"
