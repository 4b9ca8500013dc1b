"""What NVML says of its own accord (Xid, ECC, clocks), awaited on a thread. Linux only."""

from __future__ import annotations

import ctypes
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from gpupanel.backends.nvidia.nvml_library import TIMEOUT, Library, fault_of
from gpupanel.model.errors import BackendError, NotSupported
from gpupanel.model.event import EventRecord
from gpupanel.model.gpu import GpuId

_SINGLE_ECC, _DOUBLE_ECC, _XID, _CLOCK = 0x01, 0x02, 0x08, 0x10  # nvmlEventType*
_WANTED = _SINGLE_ECC | _DOUBLE_ECC | _XID | _CLOCK
_WAIT_MS = 500
"""How long after ``stop`` the thread may still hold the driver."""

_XIDS: Mapping[int, str] = {
    13: "a kernel of a program failed",
    31: "a program touched memory that is not its own",
    43: "a program's work was stopped",
    45: "a program's work was cleaned up",
    48: "memory error that could not be repaired",
    61: "the card's microcontroller halted",
    62: "the card's microcontroller halted",
    63: "memory was replaced by spare memory",
    64: "memory could not be replaced by spare memory",
    74: "NVLink error",
    79: "the GPU fell off the bus",
    92: "many memory errors that were repaired",
    94: "memory error, contained in one program",
    95: "memory error, not contained",
    119: "the card's system processor does not answer",
    120: "the card's system processor failed",
}

OnEvent = Callable[[EventRecord], None]


def record_of(kind: int, number: int, gpu_id: GpuId | None, time_unix_s: float) -> EventRecord:
    """An event by its nvmlEventType and data."""
    if kind == _XID:
        meaning = f": {_XIDS[number]}" if number in _XIDS else ""
        return EventRecord(time_unix_s, gpu_id, "xid", f"Xid {number}{meaning}")
    word, text = {
        _SINGLE_ECC: ("ecc", "memory error, repaired"),
        _DOUBLE_ECC: ("ecc", "memory error that could not be repaired"),
        _CLOCK: ("clock", "the clocks changed"),
    }.get(kind, ("other", f"NVML event {kind:#x}, {number}"))
    return EventRecord(time_unix_s, gpu_id, word, text)


class EventWatch:
    """One wait for events of some GPUs, from ``start`` to ``stop`` or to the loss of one.

    It is a user of NVML of its own, so that whoever shuts NVML down meanwhile cannot take the
    driver from under a call that blocks.
    """

    def __init__(
        self,
        bus_ids: Mapping[GpuId, str],
        on_event: OnEvent,
        clock_unix_s: Callable[[], float] = time.time,
    ) -> None:
        """Prepare.

        Args:
            bus_ids: As NVML spells them, of GPUs that are awake.
            on_event: Called on the thread.
            clock_unix_s: Stamps the events.
        """
        self._bus_ids = bus_ids
        self._on_event = on_event
        self._clock_unix_s = clock_unix_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="nvml events", daemon=True)

    def start(self) -> None:
        """Wait from now on."""
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """Whether it still holds the driver."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """Ask it to end; it lets go of the driver within half a second."""
        self._stop.set()

    def join(self) -> None:
        """Wait until it has let go."""
        self._thread.join()

    def _run(self) -> None:
        nvml = Library()
        try:
            nvml.start()
            events = nvml.ask("nvmlEventSetCreate")
        except BackendError:
            nvml.stop()
            return
        try:
            self._wait(nvml, events)
        except BackendError:
            # A GPU went away: whoever reads it says so, and starts another watch when it is back.
            return
        finally:
            with suppress(BackendError):
                nvml.ask("nvmlEventSetFree", events)
            nvml.stop()

    def _wait(self, nvml: Library, events: object) -> None:
        gpus = self._registered(nvml, events)
        wait = nvml.symbol("nvmlEventSetWait_v2") or nvml.symbol("nvmlEventSetWait")
        if not gpus or wait is None:
            return
        import pynvml

        data: Any = pynvml.c_nvmlEventData_t()
        while not self._stop.is_set():
            code = wait(events, ctypes.byref(data), _WAIT_MS)
            if code and code != TIMEOUT:
                raise fault_of(code, "nvmlEventSetWait")
            if not code:
                gpu_id = gpus.get(_address(data.device))
                now_s = self._clock_unix_s()
                self._on_event(record_of(data.eventType, data.eventData, gpu_id, now_s))

    def _registered(self, nvml: Library, events: object) -> dict[int, GpuId]:
        """GPU by handle, of those that tell of anything."""
        gpus = {}
        for gpu_id, bus_id in self._bus_ids.items():
            handle = nvml.ask("nvmlDeviceGetHandleByPciBusId", bus_id)
            try:
                told = nvml.ask("nvmlDeviceGetSupportedEventTypes", handle) & _WANTED
                nvml.ask("nvmlDeviceRegisterEvents", handle, told, events)
            except NotSupported:
                continue
            gpus[_address(handle)] = gpu_id
        return gpus


def _address(handle: object) -> int:
    return ctypes.cast(handle, ctypes.c_void_p).value or 0  # type: ignore[arg-type]
