"""What Windows' graphics kernel tells of an adapter of any vendor: memory, heat, fan.

Each look opens the adapter and closes it again, so that no handle of ours keeps a card awake; only
a card that is awake may be asked. Structures are those of d3dkmthk.h on 64-bit Windows. Never run
on Windows so far.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from typing import Any, NamedTuple

from gpupanel.backends.windows.pdh import Luid
from gpupanel.model.errors import BackendError, GpuLost, NotSupported, PermissionDenied

_SEGMENT_SIZES, _ADAPTER_TYPE, _PERFORMANCE, _PERFORMANCE_CAPS = 3, 15, 62, 63
"""KMTQUERYADAPTERINFOTYPE."""

_HYBRID_DISCRETE = 1 << 4  # D3DKMT_ADAPTERTYPE

_FAULTS: Mapping[int, tuple[type[BackendError], str]] = {
    0xC0000002: (NotSupported, "not reported by this GPU's driver"),
    0xC000000D: (NotSupported, "not reported by this GPU's driver (WDDM 2.4 at least)"),
    0xC0000022: (PermissionDenied, "Windows tells this to an administrator only"),
    0xC00000BB: (NotSupported, "not reported by this GPU's driver"),
    0xC000000E: (GpuLost, "Windows has stopped this GPU"),
    0xC00000A3: (BackendError, "the GPU's driver is not ready; trying again"),
    0xC00002B6: (GpuLost, "the GPU was removed"),
    0xC01E0002: (GpuLost, "Windows has stopped this GPU"),
    0xC01E0003: (GpuLost, "the GPU was reset"),
}
"""NTSTATUS to our errors."""


class OpenFromLuid(ctypes.Structure):
    """D3DKMT_OPENADAPTERFROMLUID."""

    _fields_ = (
        ("luid_low", ctypes.c_uint32),
        ("luid_high", ctypes.c_int32),
        ("adapter", ctypes.c_uint32),
    )


class Query(ctypes.Structure):
    """D3DKMT_QUERYADAPTERINFO."""

    _fields_ = (
        ("adapter", ctypes.c_uint32),
        ("kind", ctypes.c_uint32),
        ("answer", ctypes.c_void_p),
        ("answer_bytes", ctypes.c_uint32),
    )


class Close(ctypes.Structure):
    """D3DKMT_CLOSEADAPTER."""

    _fields_ = (("adapter", ctypes.c_uint32),)


class SegmentSizes(ctypes.Structure):
    """D3DKMT_SEGMENTSIZEINFO, in bytes."""

    _fields_ = (
        ("dedicated_video", ctypes.c_uint64),
        ("dedicated_system", ctypes.c_uint64),
        ("shared_system", ctypes.c_uint64),
    )


class AdapterType(ctypes.Structure):
    """D3DKMT_ADAPTERTYPE: bits."""

    _fields_ = (("bits", ctypes.c_uint32),)


class PerformanceData(ctypes.Structure):
    """D3DKMT_ADAPTER_PERFDATA: Hz, bytes, rpm, tenths of a percent of the board's limit, 0.1 °C."""

    _fields_ = (
        ("physical_index", ctypes.c_uint32),
        ("memory_hz", ctypes.c_uint64),
        ("memory_most_hz", ctypes.c_uint64),
        ("memory_most_overclocked_hz", ctypes.c_uint64),
        ("memory_bytes", ctypes.c_uint64),
        ("pcie_bytes", ctypes.c_uint64),
        ("fan_rpm", ctypes.c_uint32),
        ("power_tenths_percent", ctypes.c_uint32),
        ("temperature_tenths_c", ctypes.c_uint32),
        ("power_state_override", ctypes.c_uint8),
    )


class PerformanceCaps(ctypes.Structure):
    """D3DKMT_ADAPTER_PERFDATACAPS: the greatest of what PerformanceData says."""

    _fields_ = (
        ("physical_index", ctypes.c_uint32),
        ("memory_bytes", ctypes.c_uint64),
        ("pcie_bytes", ctypes.c_uint64),
        ("fan_rpm", ctypes.c_uint32),
        ("temperature_most_tenths_c", ctypes.c_uint32),
        ("temperature_warning_tenths_c", ctypes.c_uint32),
    )


class Adapter(NamedTuple):
    """What does not change while the driver runs.

    Attributes:
        dedicated_bytes: Memory that is the adapter's own.
        is_hybrid_discrete: The card of two that Windows powers down when it is idle.
        fan_most_rpm: None where the driver has no fan to tell of.
        temperature_most_c: None where the driver states none.
    """

    dedicated_bytes: int
    is_hybrid_discrete: bool
    fan_most_rpm: float | None
    temperature_most_c: float | None


class Performance(NamedTuple):
    """What an adapter measures of itself; None where the driver leaves the place empty."""

    temperature_c: float | None
    fan_rpm: float | None


class GraphicsKernel:
    """The D3DKMT calls of gdi32.dll."""

    def __init__(self, gdi32: Any) -> None:  # noqa: ANN401 - a loaded library has no type
        self._gdi32 = gdi32
        for name in ("OpenAdapterFromLuid", "QueryAdapterInfo", "CloseAdapter"):
            function = getattr(gdi32, f"D3DKMT{name}")
            function.argtypes = [ctypes.c_void_p]
            function.restype = ctypes.c_uint32

    def adapter(self, luid: Luid) -> Adapter:
        """What an adapter is; the bounds are None where its driver does not state them.

        Raises:
            BackendError: Windows does not tell.
        """
        sizes, kind, caps = SegmentSizes(), AdapterType(), PerformanceCaps()
        self._ask(luid, {_SEGMENT_SIZES: sizes, _ADAPTER_TYPE: kind})
        try:
            self._ask(luid, {_PERFORMANCE_CAPS: caps})
        except (NotSupported, PermissionDenied):
            caps = PerformanceCaps()
        return Adapter(
            dedicated_bytes=sizes.dedicated_video,
            is_hybrid_discrete=bool(kind.bits & _HYBRID_DISCRETE),
            fan_most_rpm=caps.fan_rpm or None,
            temperature_most_c=caps.temperature_most_tenths_c / 10 or None,
        )

    def performance(self, luid: Luid, *, has_fan: bool) -> Performance:
        """What an adapter measures now; a fan that stands still is 0 where there is a fan.

        Raises:
            BackendError: Windows does not tell.
        """
        data = PerformanceData()
        self._ask(luid, {_PERFORMANCE: data})
        return Performance(
            # No GPU that runs is at 0.0 °C: it is what a driver leaves where it measures nothing.
            temperature_c=data.temperature_tenths_c / 10 or None,
            fan_rpm=float(data.fan_rpm) if data.fan_rpm or has_fan else None,
        )

    def _ask(self, luid: Luid, answers: Mapping[int, ctypes.Structure]) -> None:
        opened = OpenFromLuid(luid & 0xFFFFFFFF, luid >> 32, 0)
        _check(self._gdi32.D3DKMTOpenAdapterFromLuid(ctypes.byref(opened)))
        try:
            for kind, answer in answers.items():
                query = Query(opened.adapter, kind, ctypes.addressof(answer), ctypes.sizeof(answer))
                _check(self._gdi32.D3DKMTQueryAdapterInfo(ctypes.byref(query)))
        finally:
            self._gdi32.D3DKMTCloseAdapter(ctypes.byref(Close(opened.adapter)))


def _check(status: int) -> None:
    code = status & 0xFFFFFFFF
    if code != 0:
        unknown = (BackendError, f"Windows' graphics kernel: NTSTATUS 0x{code:08X}")
        fault, text = _FAULTS.get(code, unknown)
        raise fault(text)
