"""What NVML states of a GPU that does not change: limits for charts, details for a person."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from gpupanel.backends.nvidia.nvml_library import GONE, Library
from gpupanel.backends.nvidia.nvml_readings import GRAPHICS, MEMORY, SM, VIDEO
from gpupanel.model.errors import BackendError
from gpupanel.model.gpu import GpuInfo, GpuKind

_MEMORY_V2 = 0x02000028
_SHUTDOWN, _SLOWDOWN, _MEMORY_MAX, _GPU_MAX = 0, 1, 2, 3  # nvmlTemperatureThresholds_t
_GIB = 1 << 30

_Ask = Callable[..., Any]
"""The name of a function of pynvml and its arguments after the handle; None for no answer."""


def described(nvml: Library, handle: object, backend: str) -> GpuInfo:
    """The GPU behind ``handle``.

    Raises:
        BackendError: It does not even say its name, or went away meanwhile.
    """

    def ask(function: str, *arguments: object) -> Any:  # noqa: ANN401 - pynvml has no types
        try:
            return nvml.ask(function, handle, *arguments)
        except GONE:
            raise
        except BackendError:
            return None

    memory = ask("nvmlDeviceGetMemoryInfo", _MEMORY_V2) or ask("nvmlDeviceGetMemoryInfo")
    display = ask("nvmlDeviceGetDisplayActive")
    bus_id: str = nvml.ask("nvmlDeviceGetPciInfo", handle).busId
    return GpuInfo(
        id=nvml.ask("nvmlDeviceGetUUID", handle),
        name=nvml.ask("nvmlDeviceGetName", handle),
        vendor="NVIDIA",
        kind=GpuKind.GPU,
        backend=backend,
        driver_version=nvml.ask("nvmlSystemGetDriverVersion"),
        pci_bus_id=bus_id.lower(),
        memory_total_bytes=int(memory.total) if memory and memory.total else None,
        limits=_limits(ask),
        details=_details(ask),
        drives_display=None if display is None else bool(display),
    )


def _limits(ask: _Ask) -> Mapping[str, float]:
    power_mw = ask("nvmlDeviceGetPowerManagementLimitConstraints")
    bar1 = ask("nvmlDeviceGetBAR1MemoryInfo")
    threshold, clock = "nvmlDeviceGetTemperatureThreshold", "nvmlDeviceGetMaxClockInfo"
    stated = {
        "power_limit_w": power_mw and power_mw[1] / 1000,
        "temperature_gpu_c": ask(threshold, _SLOWDOWN),
        "temperature_memory_c": ask(threshold, _MEMORY_MAX),
        "clock_graphics_mhz": ask(clock, GRAPHICS),
        "clock_memory_mhz": ask(clock, MEMORY),
        "clock_sm_mhz": ask(clock, SM),
        "clock_video_mhz": ask(clock, VIDEO),
        "memory_bar1_used_bytes": bar1 and bar1.bar1Total,
        "pcie_link_generation": ask("nvmlDeviceGetMaxPcieLinkGeneration"),
        "pcie_link_width": ask("nvmlDeviceGetMaxPcieLinkWidth"),
    }
    return {key: float(limit) for key, limit in stated.items() if limit}


def _details(ask: _Ask) -> Mapping[str, str]:
    link = ask("nvmlDeviceGetMaxPcieLinkGeneration"), ask("nvmlDeviceGetMaxPcieLinkWidth")
    bar1 = ask("nvmlDeviceGetBAR1MemoryInfo")
    capability = ask("nvmlDeviceGetCudaComputeCapability")
    power_mw = ask("nvmlDeviceGetPowerManagementLimitConstraints")
    threshold = "nvmlDeviceGetTemperatureThreshold"
    stated = {
        "VBIOS": ask("nvmlDeviceGetVbiosVersion"),
        "CUDA compute capability": capability and "{}.{}".format(*capability),
        "ECC": _mode(ask("nvmlDeviceGetEccMode")),
        "MIG": _mode(ask("nvmlDeviceGetMigMode")),
        "Greatest PCIe link": f"{link[0]}.0 × {link[1]}" if all(link) else None,
        "BAR1": bar1 and f"{bar1.bar1Total / _GIB:.6g} GiB",
        "Power limit range": power_mw and f"{power_mw[0] / 1000:g} to {power_mw[1] / 1000:g} W",
        "Target temperature": _celsius(ask(threshold, _GPU_MAX)),
        "Slowdown temperature": _celsius(ask(threshold, _SLOWDOWN)),
        "Shutdown temperature": _celsius(ask(threshold, _SHUTDOWN)),
        "Fans": _fans(ask),
    }
    return {label: text for label, text in stated.items() if text}


def _mode(modes: list[int] | None) -> str | None:
    """Of a mode now and after the next reset."""
    if modes is None:
        return None
    now, then = ("on" if mode else "off" for mode in modes)
    return now if now == then else f"{now}, {then} after the next reset"


def _celsius(threshold: int | None) -> str | None:
    return f"{threshold} °C" if threshold else None


def _fans(ask: _Ask) -> str | None:
    count = ask("nvmlDeviceGetNumFans")
    if not count:
        return None
    policy = {0: ", automatic", 1: ", set by hand"}.get(
        ask("nvmlDeviceGetFanControlPolicy_v2", 0), ""
    )
    return f"{count}{policy}"
