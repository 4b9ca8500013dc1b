"""Who uses an NVIDIA GPU, from lists whose layout depends on the driver."""

from __future__ import annotations

import ctypes
import struct
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping

from gpupanel.backends.linux.proc import Identity, identity
from gpupanel.backends.nvidia.nvml_library import INSUFFICIENT_SIZE, Library, fault_of
from gpupanel.backends.nvidia.nvml_use import AHEAD_US, Use, UseNotes
from gpupanel.model.errors import BackendError
from gpupanel.model.gpu import GpuInfo, ProcessKind, ProcessSample, Reading, Unavailable

_LISTS: Mapping[ProcessKind, str] = {
    ProcessKind.COMPUTE: "nvmlDeviceGetComputeRunningProcesses",
    ProcessKind.GRAPHICS: "nvmlDeviceGetGraphicsRunningProcesses",
}
_OLDEST_STRIDE, _STRIDE, _LONGEST_STRIDE = 16, 24, 32
_SENTINEL = 0xAA
_ROOM = 64
_MOST = 4096
_NOT_TOLD = 2**64 - 1

_ENGINES = ("sm", "mem", "enc", "dec")
_WINDOW_US = 1_000_000
"""What the first call looks back."""

Identify = Callable[[int], Identity | None]


def stride_of(memory: bytes, count: int) -> int:
    """Bytes per entry, by how much of ``memory``, all sentinels before, was overwritten.

    The structure grew within the 535 drivers without a new version; no symbol tells which it is.
    """
    written = len(memory.rstrip(bytes([_SENTINEL])))
    return _STRIDE if written <= count * _STRIDE else _LONGEST_STRIDE


def entries_of(memory: bytes, count: int, stride: int) -> list[tuple[int, int]]:
    """Pid and bytes of each whole entry."""
    count = min(count, len(memory) // stride)
    return [struct.unpack_from("=I4xQ", memory, index * stride) for index in range(count)]


def utilization_of(
    uses: Iterable[Use], pids: set[int], since_us: int
) -> dict[int, Mapping[str, float]]:
    """Mean per cent of each engine by pid: of the living, of this window, and no nonsense."""
    kept: dict[int, list[tuple[int, ...]]] = defaultdict(list)
    for use in uses:
        if use.pid in pids and use.time_us > since_us and max(use.percents) <= 100:
            kept[use.pid].append(use.percents)
    return {
        pid: {
            engine: sum(column) / len(column)
            for engine, column in zip(_ENGINES, zip(*found, strict=True), strict=True)
        }
        for pid, found in kept.items()
    }


class ProcessLists:
    """The processes of one GPU. Bind it to a handle first."""

    def __init__(
        self,
        gpu: GpuInfo,
        identify: Identify = identity,
        clock_unix_s: Callable[[], float] = time.time,
    ) -> None:
        self._gpu = gpu
        self._identify = identify
        self._clock_unix_s = clock_unix_s
        self._seen_us = self._window_us()

    def bind(self, nvml: Library, handle: object) -> None:
        """Ask this handle from now on."""
        self._handle = handle
        self._notes = UseNotes(nvml, handle, self._clock_unix_s)
        self._symbols = {kind: _newest(nvml, name) for kind, name in _LISTS.items()}

    def pids(self) -> dict[int, tuple[ProcessKind, int]]:
        """Kind of use and bytes by pid; empty where the driver does not tell.

        Raises:
            BackendError: The driver would not say now.
        """
        found: dict[int, tuple[ProcessKind, int]] = {}
        for kind, (symbol, name, oldest) in self._symbols.items():
            for pid, memory in self._entries(symbol, name, oldest):
                is_both = pid in found and found[pid][0] is not kind
                most = max(memory, found[pid][1]) if pid in found else memory
                found[pid] = (ProcessKind.BOTH if is_both else kind, most)
        return found

    def read(self) -> list[ProcessSample]:
        """Everybody who uses the GPU and still lives.

        Raises:
            BackendError: The driver would not say now.
        """
        found = self.pids()
        utilization = self._utilization(set(found))
        samples = []
        for pid, (kind, memory) in found.items():
            who = self._identify(pid)
            if who is not None:
                engines = (
                    utilization
                    if isinstance(utilization, Unavailable)
                    else utilization.get(pid, {})
                )
                samples.append(self._sample(pid, who, kind, memory, engines))
        return samples

    def _sample(
        self,
        pid: int,
        who: Identity,
        kind: ProcessKind,
        memory: int,
        engines: Mapping[str, float] | Unavailable,
    ) -> ProcessSample:
        busiest: Reading
        if isinstance(engines, Unavailable):
            busiest, engines = engines, {}
        else:
            # Who is not in the driver's list of use did nothing in this window.
            busiest = max((engines.get(name, 0.0) for name in ("sm", "enc", "dec")), default=0.0)
        return ProcessSample(
            self._gpu.id, pid, who.started, who.name, who.user, kind,
            self._memory(memory), busiest, engines, uid=who.uid,
        )  # fmt: skip

    def _memory(self, memory: int) -> Reading:
        if memory == _NOT_TOLD:
            return Unavailable("Windows does not tell it to NVML")
        total = self._gpu.memory_total_bytes
        if total is not None and memory > total:
            return Unavailable(f"implausible: {memory:.6g} B on a GPU of {total:.6g} B")
        return memory

    def _entries(
        self, symbol: Callable[..., int] | None, name: str, oldest: bool
    ) -> list[tuple[int, int]]:
        if symbol is None:
            return []
        room = _ROOM
        while True:
            memory = ctypes.create_string_buffer(
                bytes([_SENTINEL]) * (room * _LONGEST_STRIDE), room * _LONGEST_STRIDE
            )
            count = ctypes.c_uint(room)
            code = symbol(self._handle, ctypes.byref(count), memory)
            if code != INSUFFICIENT_SIZE or room >= _MOST:
                break
            room = min(_MOST, max(2 * room, count.value + _ROOM))
        if code:
            raise fault_of(code, name)
        held = min(count.value, room)
        stride = _OLDEST_STRIDE if oldest else stride_of(memory.raw, held)
        return entries_of(memory.raw, held, stride)

    def _utilization(self, pids: set[int]) -> dict[int, Mapping[str, float]] | Unavailable:
        since_us = self._seen_us
        if since_us > self._window_us() + AHEAD_US:  # somebody has set the clock back
            since_us = self._window_us()
        try:
            uses = self._notes.since(since_us, len(pids))
        except BackendError as fault:
            return Unavailable(str(fault))
        self._seen_us = max([since_us, *(use.time_us for use in uses)])
        return utilization_of(uses, pids, since_us)

    def _window_us(self) -> int:
        return int(self._clock_unix_s() * 1e6) - _WINDOW_US


def _newest(nvml: Library, name: str) -> tuple[Callable[..., int] | None, str, bool]:
    """The newest version of a list, its name, and whether it is the first version."""
    for suffix in ("_v3", "_v2", ""):
        symbol = nvml.symbol(name + suffix)
        if symbol is not None:
            return symbol, name + suffix, not suffix
    return None, name, False
