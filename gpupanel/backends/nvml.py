"""NVIDIA GPUs through NVML, on Linux and Windows; the one place that converts NVML's units.

No call of the tick blocks: nvmlDeviceGetPcieThroughput, which sleeps 20 ms, is never used. What
a GPU does not support is asked once. A lost GPU is reported as lost and looked for again.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gpupanel.backends.base import ProbeResult, ProbeState, checked, unavailable_sample
from gpupanel.model.errors import (
    BackendError,
    DriverMismatch,
    DriverMissing,
    GpuLost,
    NotSupported,
    PermissionDenied,
)
from gpupanel.model.gpu import GpuId, GpuInfo, GpuKind, Reading, Sample, Unavailable

_LIBRARY = "nvml.dll" if sys.platform == "win32" else "libnvidia-ml.so.1"

_DRIVER_FILES = ("/proc/driver/nvidia/version", "/dev/dxg")
"""One of them exists while a Linux kernel has the driver; the second is WSL's."""

_REINIT_INTERVAL_S = 10.0
"""Between two attempts to start NVML over; the other GPUs of the machine feel each."""

_FAULTS: Mapping[int, tuple[type[BackendError], str]] = {
    1: (GpuLost, "the NVIDIA driver let go of us; trying again"),
    3: (NotSupported, "not reported by this GPU"),
    4: (PermissionDenied, "the NVIDIA driver tells this to an administrator only"),
    6: (BackendError, "the NVIDIA driver does not find it now"),
    9: (DriverMissing, "the NVIDIA driver is not loaded"),
    12: (DriverMissing, f"no NVIDIA driver on this machine ({_LIBRARY} not found)"),
    13: (NotSupported, "not reported by this version of the NVIDIA driver"),
    15: (GpuLost, "the GPU fell off the bus; if it stays away, power the machine off and on"),
    16: (GpuLost, "the GPU needs a reset (nvidia-smi --gpu-reset, or reboot)"),
    17: (PermissionDenied, "the operating system keeps this process from the GPU (cgroup)"),
    18: (DriverMismatch, "the NVIDIA driver was updated; reboot to use it again"),
    21: (BackendError, "the NVIDIA driver has no value yet"),
    25: (NotSupported, "not reported by this version of the NVIDIA driver"),
    27: (BackendError, "the NVIDIA driver has no value yet"),
}
"""nvmlReturn_t to our errors; the numbers are NVML's ABI."""  # fmt: skip

_NOT_REPORTED = Unavailable(_FAULTS[3][1])

_GRAPHICS, _MEMORY = 0, 2  # nvmlClockType_t
_CHIP = 0  # nvmlTemperatureSensors_t
_SLOWDOWN = 1  # nvmlTemperatureThresholds_t
_MEMORY_V2 = 0x02000028  # sizeof(nvmlMemory_v2_t) | 2 << 24


@dataclass(frozen=True, slots=True)
class _Form:
    """One way to ask the driver.

    Attributes:
        function: Of pynvml; its first argument is the handle.
        arguments: The others.
        values: Its answer to one number per key, in the units of METRICS.
    """

    function: str
    arguments: tuple[int, ...] = ()
    values: Callable[[Any], tuple[float, ...]] = lambda number: (number,)


_Forms = Mapping[tuple[str, ...], tuple[_Form, ...]]


def _watts(milliwatts: int) -> tuple[float, ...]:
    return (milliwatts / 1000,)


def _used_and_total(memory: Any) -> tuple[float, ...]:  # noqa: ANN401 - pynvml has no types
    return memory.used, memory.total


_FORMS: _Forms = {
    ("utilization_gpu_percent", "utilization_memory_percent"): (
        _Form("nvmlDeviceGetUtilizationRates", values=lambda rates: (rates.gpu, rates.memory)),
    ),
    ("power_draw_w",): (_Form("nvmlDeviceGetPowerUsage", values=_watts),),
    ("power_limit_w",): (_Form("nvmlDeviceGetEnforcedPowerLimit", values=_watts),),
    ("temperature_gpu_c",): (
        _Form("nvmlDeviceGetTemperature", (_CHIP,)),
        # What the header announces to remain of it.
        _Form("nvmlDeviceGetTemperatureV", (_CHIP,)),
    ),
    ("memory_used_bytes", "memory_total_bytes"): (
        _Form("nvmlDeviceGetMemoryInfo", (_MEMORY_V2,), _used_and_total),
        _Form("nvmlDeviceGetMemoryInfo", values=_used_and_total),
    ),
    ("clock_graphics_mhz",): (_Form("nvmlDeviceGetClockInfo", (_GRAPHICS,)),),
    ("clock_memory_mhz",): (_Form("nvmlDeviceGetClockInfo", (_MEMORY,)),),
    ("fan_speed_percent",): (
        _Form("nvmlDeviceGetFanSpeed_v2", (0,)),
        _Form("nvmlDeviceGetFanSpeed"),
    ),
}
"""How each group of metrics is asked: the newest way first, then those of older drivers."""

_LIMITS: Mapping[str, _Form] = {
    "temperature_gpu_c": _Form("nvmlDeviceGetTemperatureThreshold", (_SLOWDOWN,)),
    "clock_graphics_mhz": _Form("nvmlDeviceGetMaxClockInfo", (_GRAPHICS,)),
    "clock_memory_mhz": _Form("nvmlDeviceGetMaxClockInfo", (_MEMORY,)),
    "power_limit_w": _Form(
        "nvmlDeviceGetPowerManagementLimitConstraints", values=lambda ends: _watts(ends[1])
    ),
}
"""Where a GPU states the bound of a metric."""


@dataclass(slots=True)
class _Device:
    """One GPU that was there at the probe.

    Attributes:
        handle: NVML's; None while the GPU is lost, or after NVML was started over.
        bus_id: As NVML spells it, to find the GPU again.
        forms: What is left of _FORMS for this GPU: what it did not support is gone.
    """

    info: GpuInfo
    handle: object | None
    bus_id: str
    forms: dict[tuple[str, ...], tuple[_Form, ...]] = field(default_factory=lambda: dict(_FORMS))


class NvmlBackend:
    """The NVIDIA GPUs that NVML lists.

    Attributes:
        name: As in the ``sources`` of METRICS.
    """

    name = "nvml"

    def __init__(self, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._clock_s = clock_s
        self._nvml: Any = None
        self._devices: dict[GpuId, _Device] = {}
        self._not_loaded = False
        self._reinit_at_s = float("-inf")
        self._outage = ""

    def probe(self) -> ProbeResult:
        """See ``Backend.probe``.

        Raises:
            BackendError: The driver is there and does not work, or nvidia-ml-py is missing.
        """
        # nvmlInit makes the kernel load the driver: tried once, then only when it is loaded.
        if self._not_loaded and not _driver_is_loaded():
            return ProbeResult(self.name, ProbeState.ABSENT, _FAULTS[9][1])
        try:
            self._init()
        except DriverMissing as missing:
            self._not_loaded = str(missing) == _FAULTS[9][1]
            return ProbeResult(self.name, ProbeState.ABSENT, str(missing))
        try:
            return self._enumerate()
        except BackendError:
            self.close()
            raise

    def gpus(self) -> tuple[GpuInfo, ...]:
        """See ``Backend.gpus``."""
        return tuple(device.info for device in self._devices.values())

    def sample(self, gpu_id: GpuId) -> Sample:
        """See ``Backend.sample``; a lost GPU is a sample of reasons and looked for next time.

        Raises:
            KeyError: ``gpu_id`` is none of ``gpus()``.
        """
        device = self._devices[gpu_id]
        try:
            if device.handle is None:
                self._recover(device)
            return Sample(gpu_id, self._readings(device))
        except BackendError as fault:
            device.handle = None
            return unavailable_sample(gpu_id, str(fault))

    def close(self) -> None:
        """See ``Backend.close``."""
        self._devices = {}
        self._shutdown()

    def _init(self) -> None:
        """Load and start NVML.

        Raises:
            BackendError: As ``_FAULTS`` says.
        """
        try:
            import pynvml
        except ImportError as error:
            raise BackendError(f"{error}: install nvidia-ml-py") from error
        self._nvml = pynvml
        self._ask("nvmlInit")

    def _ask(self, function: str, *arguments: object) -> Any:  # noqa: ANN401 - pynvml has no types
        """Call NVML.

        Raises:
            BackendError: As ``_FAULTS`` says.
        """
        try:
            return getattr(self._nvml, function)(*arguments)
        except self._nvml.NVMLError as error:
            unknown = (BackendError, f"{function}: NVML error {error.value} ({error})")
            fault, text = _FAULTS.get(error.value, unknown)
            raise fault(text) from error

    def _enumerate(self) -> ProbeResult:
        """Fill ``_devices``; a GPU that does not answer is missing there and named."""
        silent = []
        for index in range(self._ask("nvmlDeviceGetCount")):
            try:
                device = self._described(self._ask("nvmlDeviceGetHandleByIndex", index))
            except BackendError as fault:
                silent.append(f"GPU {index}: {fault}")
            else:
                self._devices[device.info.id] = device
        if self._devices:
            return ProbeResult(self.name, ProbeState.OK, "; ".join(silent))
        self.close()
        if silent:
            return ProbeResult(self.name, ProbeState.FAILED, "; ".join(silent))
        return ProbeResult(self.name, ProbeState.ABSENT, "the NVIDIA driver sees no GPU")

    def _described(self, handle: object) -> _Device:
        bus_id: str = self._ask("nvmlDeviceGetPciInfo", handle).busId
        limits = {key: self._stated(handle, form) for key, form in _LIMITS.items()}
        memory = self._stated(handle, *_FORMS["memory_used_bytes", "memory_total_bytes"])
        info = GpuInfo(
            id=self._ask("nvmlDeviceGetUUID", handle),
            name=self._ask("nvmlDeviceGetName", handle),
            vendor="NVIDIA",
            kind=GpuKind.GPU,
            backend=self.name,
            driver_version=self._ask("nvmlSystemGetDriverVersion"),
            pci_bus_id=bus_id.lower(),
            memory_total_bytes=int(memory) if memory else None,
            limits={key: float(limit) for key, limit in limits.items() if limit},
        )
        return _Device(info, handle, bus_id)

    def _stated(self, handle: object, *forms: _Form) -> float | None:
        """The last number that the first working form answers; None where none works.

        Raises:
            GpuLost: The GPU went away meanwhile.
        """
        for form in forms:
            try:
                return form.values(self._ask(form.function, handle, *form.arguments))[-1]
            except (NotSupported, PermissionDenied):
                continue
        return None

    def _readings(self, device: _Device) -> dict[str, Reading]:
        readings: dict[str, Reading] = {}
        for keys in _FORMS:
            readings.update(self._read(device, keys))
        # Some mobile boards report hundreds of watts too many: within METRICS, not within reason.
        draw_w, most_w = readings["power_draw_w"], device.info.limits.get("power_limit_w")
        if most_w and not isinstance(draw_w, Unavailable) and draw_w > 2 * most_w:
            reason = f"implausible: {draw_w:.6g} W on a board of at most {most_w:.6g} W"
            readings["power_draw_w"] = Unavailable(reason)
        return readings

    def _read(self, device: _Device, keys: tuple[str, ...]) -> Mapping[str, Reading]:
        """The readings of ``keys``, in the newest form that this GPU and driver know.

        Raises:
            GpuLost: The GPU went away.
        """
        while forms := device.forms[keys]:
            form = forms[0]
            try:
                answer = self._ask(form.function, device.handle, *form.arguments)
            except NotSupported:
                device.forms[keys] = forms[1:]
            except GpuLost:
                raise
            except BackendError as fault:
                return dict.fromkeys(keys, Unavailable(str(fault)))
            else:
                values = zip(keys, form.values(answer), strict=True)
                return {key: checked(key, value) for key, value in values}
        return dict.fromkeys(keys, _NOT_REPORTED)

    def _recover(self, device: _Device) -> None:
        """Get a handle again, at times by starting NVML over.

        Raises:
            BackendError: Not this time.
        """
        now_s = self._clock_s()
        if now_s >= self._reinit_at_s:
            self._reinit_at_s = now_s + _REINIT_INTERVAL_S
            self._start_over()
        if self._outage:
            raise BackendError(self._outage)
        device.handle = self._ask("nvmlDeviceGetHandleByPciBusId", device.bus_id)

    def _start_over(self) -> None:
        """Shut NVML down and start it; every handle is void then."""
        for device in self._devices.values():
            device.handle = None
        self._shutdown()
        try:
            self._init()
        except BackendError as fault:
            self._outage = str(fault)
        else:
            self._outage = ""

    def _shutdown(self) -> None:
        # The driver may have gone before us; there is nothing left to let go of then.
        if self._nvml is not None:
            with suppress(BackendError):
                self._ask("nvmlShutdown")


def _driver_is_loaded() -> bool:
    """Whether asking NVML can do no more than answer; touches no device."""
    return sys.platform == "win32" or any(Path(file).exists() for file in _DRIVER_FILES)
