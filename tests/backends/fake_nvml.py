"""A double of libnvidia-ml, the C library: pynvml's own wrappers run against it.

There is no NVML without an NVIDIA card, so this stands in for it: an object with the library's
symbols, each of which fills the ctypes memory that pynvml hands over, as the C function would.
It checks what the real library checks: handles, structure versions, buffer sizes.
"""

# ruff: noqa: N802 - the functions carry the names of the library

from __future__ import annotations

import ctypes
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pytest

SUCCESS = 0
UNINITIALIZED = 1
INVALID_ARGUMENT = 2
NOT_SUPPORTED = 3
NO_PERMISSION = 4
NOT_FOUND = 6
INSUFFICIENT_SIZE = 7
DRIVER_NOT_LOADED = 9
GPU_IS_LOST = 15
RESET_REQUIRED = 16
LIB_RM_VERSION_MISMATCH = 18
ARGUMENT_VERSION_MISMATCH = 25
UNKNOWN = 999

MEMORY_V2_VERSION = 0x02000028
GIB = 1 << 30


@dataclass
class FakeGpu:
    """One card, in NVML's units.

    Attributes:
        faults: What a function returns instead of success, by symbol.
        gone: What every function and the search for the card return: lost, reset required.
    """

    uuid: str = "GPU-8f1c2a4e-0d5b-4f1e-9d9a-000000000001"
    name: str = "NVIDIA GeForce RTX 4090"
    bus_id: str = "00000000:01:00.0"
    utilization: tuple[int, int] = (97, 61)
    power_mw: int = 312_450
    enforced_limit_mw: int = 400_000
    limit_range_mw: tuple[int, int] = (150_000, 450_000)
    temperature_c: int = 71
    slowdown_c: int = 88
    memory_used: int = 5 * GIB
    memory_total: int = 24 * GIB
    clocks_mhz: dict[int, int] = field(default_factory=lambda: {0: 2520, 2: 10501})
    max_clocks_mhz: dict[int, int] = field(default_factory=lambda: {0: 3105, 2: 10501})
    fan_percent: int = 43
    faults: dict[str, int] = field(default_factory=dict)
    gone: int = SUCCESS


class FakeNvml:
    """The library as ``ctypes.CDLL`` would give it.

    Attributes:
        init_result: What starting the library returns.
        missing: Symbols that this version of the library does not export.
        calls: How often each symbol was called, over all cards.
    """

    def __init__(self, *gpus: FakeGpu) -> None:
        self.gpus = list(gpus)
        self.driver_version = "575.64.03"
        self.init_result = SUCCESS
        self.missing: set[str] = set()
        self.calls: Counter[str] = Counter()
        self.started = 0
        self._generation = 0
        self._functions: dict[str, Callable[..., int]] = {}

    def __getattr__(self, symbol: str) -> Callable[..., int]:
        body = getattr(type(self), f"_{symbol}", None)
        if symbol in self.missing or body is None:
            raise AttributeError(symbol)
        if symbol not in self._functions:
            self._functions[symbol] = self._exported(symbol, body)
        return self._functions[symbol]

    def _exported(self, symbol: str, body: Callable[..., int]) -> Callable[..., int]:
        def function(*arguments: Any) -> int:
            self.calls[symbol] += 1
            if not self.started and symbol not in ("nvmlInitWithFlags", "nvmlErrorString"):
                return UNINITIALIZED
            if not symbol.startswith("nvmlDeviceGet") or symbol in _WITHOUT_DEVICE:
                return body(self, *arguments)
            gpu = self._gpu_of(arguments[0])
            if gpu is None:
                return INVALID_ARGUMENT
            return gpu.gone or gpu.faults.get(symbol, SUCCESS) or body(self, gpu, *arguments[1:])

        return function

    def _gpu_of(self, handle: Any) -> FakeGpu | None:
        """A handle holds until the library is shut down."""
        value = ctypes.cast(handle, ctypes.c_void_p).value or 0
        generation, number = divmod(value, 0x1000)
        return self.gpus[number - 1] if generation == self._generation and number else None

    def _hand_out(self, index: int, device: Any) -> int:
        if self.gpus[index].gone:
            return self.gpus[index].gone
        pointer = ctypes.c_void_p(self._generation * 0x1000 + index + 1)
        ctypes.memmove(device, ctypes.byref(pointer), ctypes.sizeof(pointer))
        return SUCCESS

    def _nvmlInitWithFlags(self, flags: int) -> int:
        del flags
        if self.init_result == SUCCESS:
            self.started += 1
            self._generation += self.started == 1
        return self.init_result

    def _nvmlShutdown(self) -> int:
        self.started -= 1
        return SUCCESS

    def _nvmlErrorString(self, result: int) -> bytes:
        return f"error {result}".encode()

    def _nvmlSystemGetDriverVersion(self, buffer: Any, length: Any) -> int:
        return _put_text(self.driver_version, buffer, length)

    def _nvmlDeviceGetCount_v2(self, count: Any) -> int:
        return _put(count, len(self.gpus))

    def _nvmlDeviceGetHandleByIndex_v2(self, index: Any, device: Any) -> int:
        return self._hand_out(index.value, device)

    def _nvmlDeviceGetHandleByPciBusId_v2(self, bus_id: Any, device: Any) -> int:
        ids = [gpu.bus_id.encode() for gpu in self.gpus]
        return self._hand_out(ids.index(bus_id.value), device) if bus_id.value in ids else NOT_FOUND

    def _nvmlDeviceGetUUID(self, gpu: FakeGpu, buffer: Any, length: Any) -> int:
        return _put_text(gpu.uuid, buffer, length)

    def _nvmlDeviceGetName(self, gpu: FakeGpu, buffer: Any, length: Any) -> int:
        return _put_text(gpu.name, buffer, length)

    def _nvmlDeviceGetPciInfo_v3(self, gpu: FakeGpu, info: Any) -> int:
        info._obj.busId = gpu.bus_id.encode()
        return SUCCESS

    def _nvmlDeviceGetUtilizationRates(self, gpu: FakeGpu, rates: Any) -> int:
        rates._obj.gpu, rates._obj.memory = gpu.utilization
        return SUCCESS

    def _nvmlDeviceGetPowerUsage(self, gpu: FakeGpu, power: Any) -> int:
        return _put(power, gpu.power_mw)

    def _nvmlDeviceGetEnforcedPowerLimit(self, gpu: FakeGpu, limit: Any) -> int:
        return _put(limit, gpu.enforced_limit_mw)

    def _nvmlDeviceGetPowerManagementLimitConstraints(
        self, gpu: FakeGpu, least: Any, most: Any
    ) -> int:
        _put(least, gpu.limit_range_mw[0])
        return _put(most, gpu.limit_range_mw[1])

    def _nvmlDeviceGetTemperature(self, gpu: FakeGpu, sensor: Any, temperature: Any) -> int:
        return _put(temperature, gpu.temperature_c) if sensor.value == 0 else INVALID_ARGUMENT

    def _nvmlDeviceGetTemperatureV(self, gpu: FakeGpu, temperature: Any) -> int:
        temperature._obj.temperature = gpu.temperature_c
        return SUCCESS

    def _nvmlDeviceGetTemperatureThreshold(
        self, gpu: FakeGpu, threshold: Any, temperature: Any
    ) -> int:
        return _put(temperature, gpu.slowdown_c) if threshold.value == 1 else NOT_SUPPORTED

    def _nvmlDeviceGetMemoryInfo(self, gpu: FakeGpu, memory: Any) -> int:
        # Version 1 counts the reserved memory as used.
        memory._obj.total, memory._obj.used = gpu.memory_total, gpu.memory_used + GIB // 2
        return SUCCESS

    def _nvmlDeviceGetMemoryInfo_v2(self, gpu: FakeGpu, memory: Any) -> int:
        if memory._obj.version != MEMORY_V2_VERSION:
            return ARGUMENT_VERSION_MISMATCH
        memory._obj.total, memory._obj.used = gpu.memory_total, gpu.memory_used
        memory._obj.reserved = GIB // 2
        return SUCCESS

    def _nvmlDeviceGetClockInfo(self, gpu: FakeGpu, clock: Any, mhz: Any) -> int:
        return _put(mhz, gpu.clocks_mhz[clock.value])

    def _nvmlDeviceGetMaxClockInfo(self, gpu: FakeGpu, clock: Any, mhz: Any) -> int:
        return _put(mhz, gpu.max_clocks_mhz[clock.value])

    def _nvmlDeviceGetFanSpeed_v2(self, gpu: FakeGpu, fan: int, percent: Any) -> int:
        return _put(percent, gpu.fan_percent) if fan == 0 else INVALID_ARGUMENT

    def _nvmlDeviceGetFanSpeed(self, gpu: FakeGpu, percent: Any) -> int:
        return _put(percent, gpu.fan_percent)


_WITHOUT_DEVICE = frozenset(
    {
        "nvmlDeviceGetCount_v2",
        "nvmlDeviceGetHandleByIndex_v2",
        "nvmlDeviceGetHandleByPciBusId_v2",
    }
)


def _put(reference: Any, value: int) -> int:
    reference._obj.value = value
    return SUCCESS


def _put_text(text: str, buffer: Any, length: Any) -> int:
    if len(text) >= length.value:
        return INSUFFICIENT_SIZE
    buffer.value = text.encode()
    return SUCCESS


def second_gpu() -> FakeGpu:
    return FakeGpu(
        uuid="GPU-8f1c2a4e-0d5b-4f1e-9d9a-000000000002",
        name="NVIDIA A100-SXM4-80GB",
        bus_id="00000000:C1:00.0",
        utilization=(3, 0),
        power_mw=61_007,
        temperature_c=34,
        faults={
            "nvmlDeviceGetFanSpeed_v2": NOT_SUPPORTED,
            "nvmlDeviceGetFanSpeed": NOT_SUPPORTED,
        },
    )


def install(monkeypatch: pytest.MonkeyPatch, library: FakeNvml) -> FakeNvml:
    """Make pynvml believe that it has loaded ``library``."""
    import pynvml

    monkeypatch.setattr(pynvml, "nvmlLib", library)
    monkeypatch.setattr(pynvml, "_nvmlGetFunctionPointer_cache", {})
    monkeypatch.setattr(pynvml, "_nvmlLib_refcount", 0)
    return library
