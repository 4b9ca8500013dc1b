"""The five calls of pdh.dll, and nothing that thinks.

Names go as UTF-16 bytes, so that the same code can be driven on Linux by a double of the library.
Never run on Windows so far.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from typing import Any

from gpupanel.backends.windows.pdh import ITEM_BYTES, Counter, Item, items_of, reason
from gpupanel.model.errors import BackendError, NotSupported, PermissionDenied
from gpupanel.model.gpu import Unavailable

_FORMAT = 0x0400 | 0x1000
"""PDH_FMT_LARGE | PDH_FMT_NOSCALE: the count itself."""

_MORE_DATA = 0x800007D2
_NO_DATA = 0x800007D5
_NOT_THERE = (0xC0000BB8, 0xC0000BB9)
_DENIED = (0x5, 0xC0000BDB)

_ATTEMPTS = 4
"""Processes start between asking for the size and asking for the values."""

_ROOM_TO_SPARE = 1.25

_Array = tuple[Item, ...] | Unavailable


class PdhQuery:
    """One query with all counters, kept open: opening it is what costs."""

    def __init__(self, pdh: Any) -> None:  # noqa: ANN401 - a loaded library has no type
        """Open the query.

        Args:
            pdh: The loaded library.

        Raises:
            BackendError: PDH does not work here, or has none of the counters.
        """
        self._pdh = pdh
        _declare(pdh)
        self._query = ctypes.c_void_p()
        _check(pdh.PdhOpenQueryW(None, 0, ctypes.byref(self._query)))
        self._handles: dict[Counter, ctypes.c_void_p] = {}
        self._missing: dict[Counter, Unavailable] = {}
        self._room_bytes = 0
        for counter in Counter:
            self._add(counter)
        if not self._handles:
            self.close()
            raise NotSupported(self._missing[Counter.ENGINE_TIME].reason)

    def collect(self) -> Mapping[Counter, _Array]:
        """Read every counter now.

        Raises:
            BackendError: None could be read.
        """
        status = self._pdh.PdhCollectQueryData(self._query)
        # No instance of anything is an answer too; each counter says so below.
        if status != _NO_DATA:
            _check(status)
        arrays: dict[Counter, _Array] = dict(self._missing)
        arrays.update({counter: self._array(handle) for counter, handle in self._handles.items()})
        return arrays

    def close(self) -> None:
        """Let go of the query; once."""
        self._pdh.PdhCloseQuery(self._query)

    def _add(self, counter: Counter) -> None:
        handle = ctypes.c_void_p()
        # The English call: Windows translates the names of counters, and this one undoes it.
        status = self._pdh.PdhAddEnglishCounterW(
            self._query, wide(counter.value), 0, ctypes.byref(handle)
        )
        if status == 0:
            self._handles[counter] = handle
        else:
            self._missing[counter] = Unavailable(reason(status))

    def _array(self, handle: ctypes.c_void_p) -> _Array:
        count = ctypes.c_uint32()
        status = _MORE_DATA
        for _ in range(_ATTEMPTS):
            # The buffer begins on a multiple of 8, as the items want it.
            buffer = (ctypes.c_uint64 * -(-self._room_bytes // 8))()
            size = ctypes.c_uint32(ctypes.sizeof(buffer))
            status = self._pdh.PdhGetFormattedCounterArrayW(
                handle, _FORMAT, ctypes.byref(size), ctypes.byref(count), buffer
            ) & 0xFFFFFFFF  # fmt: skip
            if status == 0:
                return tuple(items_of(bytes(buffer), ctypes.addressof(buffer), count.value))
            if status != _MORE_DATA:
                break
            self._room_bytes = max(int(size.value * _ROOM_TO_SPARE), ITEM_BYTES)
        return Unavailable(reason(status))


def wide(text: str) -> bytes:
    """``text`` as a NUL-terminated LPCWSTR."""
    return text.encode("utf-16-le") + b"\0\0"


def _check(status: int) -> None:
    code = status & 0xFFFFFFFF
    if code in _NOT_THERE:
        raise NotSupported(reason(code))
    if code in _DENIED:
        raise PermissionDenied(reason(code))
    if code != 0:
        raise BackendError(reason(code))


def _declare(pdh: Any) -> None:  # noqa: ANN401 - a loaded library has no type
    """State the types of pdh.h; unsigned long is 32 bits wide on Windows."""
    handle, dword, pointer = ctypes.c_void_p, ctypes.c_uint32, ctypes.c_void_p
    size = ctypes.c_size_t  # DWORD_PTR
    for name, arguments in {
        "PdhOpenQueryW": (ctypes.c_char_p, size, pointer),
        "PdhAddEnglishCounterW": (handle, ctypes.c_char_p, size, pointer),
        "PdhCollectQueryData": (handle,),
        "PdhGetFormattedCounterArrayW": (handle, dword, pointer, pointer, pointer),
        "PdhCloseQuery": (handle,),
    }.items():
        function = getattr(pdh, name)
        function.argtypes = list(arguments)
        function.restype = dword
