"""What the NVIDIA driver noted of each process's use of a GPU: per cent, at times of its own."""

from __future__ import annotations

import ctypes
import struct
import time
from collections.abc import Callable
from typing import NamedTuple

from gpupanel.backends.nvidia.nvml_library import INSUFFICIENT_SIZE, NOT_FOUND, Library, fault_of

_FUNCTION = "nvmlDeviceGetProcessUtilization"
_USE = struct.Struct("=I4xQIIII")  # pid, microseconds, sm, memory controller, encoder, decoder
_FUNCTION_MISSING = 13
_ROOM = 64
_MOST = 4096


class Use(NamedTuple):
    """One entry of nvmlProcessUtilizationSample_t.

    Attributes:
        time_us: Unix time of the end of the driver's sampling period.
        percents: Of that period: SM, memory controller, encoder, decoder; may be nonsense.
    """

    pid: int
    time_us: int
    percents: tuple[int, ...]


AHEAD_US = 10_000_000
"""A note that is dated so far ahead was made before somebody set the clock back."""


class UseNotes:
    """The driver's notes of one GPU; it keeps those of the last seconds."""

    def __init__(
        self, nvml: Library, handle: object, clock_unix_s: Callable[[], float] = time.time
    ) -> None:
        self._handle = handle
        self._clock_unix_s = clock_unix_s
        self._symbol = nvml.symbol(_FUNCTION)

    def since(self, time_us: int, expected: int = 0) -> list[Use]:
        """What was noted after ``time_us``, in the driver's order; empty while nobody works.

        What is dated far ahead is left out: who took it for the newest would take nothing more.

        Args:
            time_us: Unix time.
            expected: How many processes there are, for the first guess of the room they need.

        Raises:
            BackendError: The driver would not say; ``NotSupported`` where it never does.
        """
        if self._symbol is None:
            raise fault_of(_FUNCTION_MISSING, _FUNCTION)
        room = ctypes.c_uint(expected + _ROOM)
        while True:
            memory = ctypes.create_string_buffer(room.value * _USE.size)
            held = room.value
            code = self._symbol(
                self._handle, memory, ctypes.byref(room), ctypes.c_ulonglong(time_us)
            )
            if code != INSUFFICIENT_SIZE or not held < room.value <= _MOST:
                break
        if code == NOT_FOUND:
            return []
        if code:
            raise fault_of(code, _FUNCTION)
        entries = _USE.iter_unpack(memory.raw[: min(held, room.value) * _USE.size])
        latest_us = self._clock_unix_s() * 1e6 + AHEAD_US
        return [
            Use(pid, noted_us, tuple(percents))
            for pid, noted_us, *percents in entries
            if noted_us <= latest_us
        ]
