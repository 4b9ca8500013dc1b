"""What NVML reports of one GPU every second, in the units of METRICS, for a few microseconds.

The functions are bound once, with their arguments, to one buffer that is unpacked in one go; the
field values are one call. What a GPU or a driver does not support is asked once.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from gpupanel.backends.base import checked
from gpupanel.backends.nvidia.nvml_fields import FieldBatch
from gpupanel.backends.nvidia.nvml_library import GONE, NOT_REPORTED, Library, fault_of
from gpupanel.model.errors import BackendError, NotSupported
from gpupanel.model.gpu import GpuId, Reading, Sample, Unavailable
from gpupanel.model.metrics import COUNTER_PACE_S, METRIC_BY_KEY

GRAPHICS, SM, MEMORY, VIDEO = 0, 1, 2, 3  # nvmlClockType_t
_CHIP = 0  # nvmlTemperatureSensors_t
_MEMORY_V2 = (0x02000028, 0, 0, 0, 0)  # sizeof(nvmlMemory_v2_t) | 2 << 24
_V1_OF_12_BYTES = 0x0100000C  # nvmlTemperature_v1, nvmlFanSpeedInfo_v1


class Form(NamedTuple):
    """One way to ask the driver; its first argument is the handle.

    Attributes:
        arguments: Between the handle and the answers.
        layout: Of the answers in memory, for struct.
        outs: Where in it the pointers point that the function is given.
        picks: Which number of it each key of the row is.
        start: What the memory holds before, such as the version of a structure.
    """

    symbol: str
    arguments: tuple[int, ...] = ()
    layout: str = "I"
    outs: tuple[int, ...] = (0,)
    picks: tuple[int, ...] = (0,)
    start: tuple[int, ...] = ()


class Row(NamedTuple):
    """Metrics that one call answers.

    Attributes:
        forms: The newest first, then those of older drivers.
        divisor: From the driver's unit to that of METRICS.
    """

    keys: tuple[str, ...]
    forms: tuple[Form, ...]
    divisor: int = 1


def _clock(kind: int) -> tuple[Form, ...]:
    return (Form("nvmlDeviceGetClockInfo", (kind,)),)


def _engine(symbol: str) -> tuple[Form, ...]:
    """Per cent, and the microseconds over which they were counted."""
    return (Form(symbol, layout="II", outs=(0, 4)),)


_REASONS = "reasons"
"""The row that is no metric: why the clocks are not higher."""

ROWS: tuple[Row, ...] = (
    Row(
        ("utilization_gpu_percent", "utilization_memory_percent"),
        (Form("nvmlDeviceGetUtilizationRates", layout="II", picks=(0, 1)),),
    ),
    Row(("power_draw_w",), (Form("nvmlDeviceGetPowerUsage"),), 1000),
    Row(
        ("temperature_gpu_c",),
        (
            Form("nvmlDeviceGetTemperature", (_CHIP,), "i"),
            # What the header announces to remain of it.
            Form("nvmlDeviceGetTemperatureV", (), "IIi", (0,), (2,), (_V1_OF_12_BYTES, _CHIP, 0)),
        ),
    ),
    Row(
        ("memory_used_bytes", "memory_total_bytes"),
        (
            Form("nvmlDeviceGetMemoryInfo_v2", (), "I4xQQQQ", (0,), (4, 1), _MEMORY_V2),
            Form("nvmlDeviceGetMemoryInfo", (), "QQQ", (0,), (2, 0)),
        ),
    ),
    Row(("clock_graphics_mhz",), _clock(GRAPHICS)),
    Row(("clock_memory_mhz",), _clock(MEMORY)),
    Row(
        (_REASONS,),
        (
            Form("nvmlDeviceGetCurrentClocksEventReasons", layout="Q"),
            Form("nvmlDeviceGetCurrentClocksThrottleReasons", layout="Q"),
        ),
    ),
    Row(("performance_state",), (Form("nvmlDeviceGetPerformanceState"),)),
    Row(("power_limit_w",), (Form("nvmlDeviceGetEnforcedPowerLimit"),), 1000),
    Row(("power_limit_requested_w",), (Form("nvmlDeviceGetPowerManagementLimit"),), 1000),
    Row(("power_limit_default_w",), (Form("nvmlDeviceGetPowerManagementDefaultLimit"),), 1000),
    Row(("energy_j",), (Form("nvmlDeviceGetTotalEnergyConsumption", layout="Q"),), 1000),
    Row(
        ("memory_bar1_used_bytes",),
        (Form("nvmlDeviceGetBAR1MemoryInfo", (), "QQQ", (0,), (2,)),),
    ),
    Row(("clock_sm_mhz",), _clock(SM)),
    Row(("clock_video_mhz",), _clock(VIDEO)),
    Row(
        ("fan_speed_percent",),
        (Form("nvmlDeviceGetFanSpeed_v2", (0,)), Form("nvmlDeviceGetFanSpeed")),
    ),
    Row(
        ("fan_speed_rpm",),
        (Form("nvmlDeviceGetFanSpeedRPM", (), "III", (0,), (2,), (_V1_OF_12_BYTES, 0, 0)),),
    ),
    Row(("utilization_encoder_percent",), _engine("nvmlDeviceGetEncoderUtilization")),
    Row(("utilization_decoder_percent",), _engine("nvmlDeviceGetDecoderUtilization")),
    Row(("utilization_jpeg_percent",), _engine("nvmlDeviceGetJpgUtilization")),
    Row(("utilization_optical_flow_percent",), _engine("nvmlDeviceGetOfaUtilization")),
    Row(("pcie_link_generation",), (Form("nvmlDeviceGetCurrPcieLinkGeneration"),)),
    Row(("pcie_link_width",), (Form("nvmlDeviceGetCurrPcieLinkWidth"),)),
)  # fmt: skip

_LIMIT_OF_BIT: Mapping[int, str] = {
    0x01: "idle",
    0x02: "clock_setting",
    0x04: "power_cap",
    0x08: "hardware_slowdown",
    0x10: "sync_boost",
    0x20: "thermal",
    0x40: "hardware_slowdown",
    0x80: "power_brake",
    0x100: "display",
}


@lru_cache(maxsize=64)
def limits_of(reasons: int) -> tuple[str, ...]:
    """The names of LIMITS in an nvmlClocksEventReasons mask, each once."""
    bits = (1 << place for place in range(reasons.bit_length()) if reasons >> place & 1)
    return tuple(dict.fromkeys(_LIMIT_OF_BIT.get(bit, "other") for bit in bits))


_Handle = object
_COUNTERS: Mapping[str, Callable[[Library, _Handle], int]] = {
    "pcie_replay_count": lambda nvml, gpu: nvml.ask("nvmlDeviceGetPcieReplayCounter", gpu),
    # The second number is the kind of error, the third says since the driver was loaded.
    "ecc_corrected_count": lambda nvml, gpu: nvml.ask("nvmlDeviceGetTotalEccErrors", gpu, 0, 0),
    "ecc_uncorrected_count": lambda nvml, gpu: nvml.ask("nvmlDeviceGetTotalEccErrors", gpu, 1, 0),
    "remapped_rows_count": lambda nvml, gpu: sum(nvml.ask("nvmlDeviceGetRemappedRows", gpu)[:2]),
    # For single-bit errors, and for one double-bit error.
    "retired_pages_count": lambda nvml, gpu: sum(
        len(nvml.ask("nvmlDeviceGetRetiredPages_v2", gpu, cause)) for cause in (0, 1)
    ),
}
"""What is asked every COUNTER_PACE_S only."""


class _Plan:
    """Rows of one GPU, bound: what to call and what each number in the buffer means."""

    def __init__(self, nvml: Library, handle: _Handle, forms: Mapping[Row, Sequence[Form]]) -> None:
        self.rows = [row for row in forms if forms[row]]
        self.missing: list[Row] = []
        self.calls: list[tuple[Callable[..., int], tuple[object, ...], Row]] = []
        # Key, its place among the numbers, bounds; those that need no division are most.
        self._cells: list[tuple[str, int, float, float]] = []
        self._divided: list[tuple[str, int, int, float, float]] = []
        layouts = [_padded(forms[row][0].layout) for row in self.rows]
        self._struct = struct.Struct("=" + "".join(layouts))
        self._buffer = ctypes.create_string_buffer(self._struct.size)
        offset = place = 0
        for row, layout in zip(self.rows, layouts, strict=True):
            form = forms[row][0]
            function = nvml.symbol(form.symbol)
            if function is None:
                self.missing.append(row)
                continue
            struct.pack_into("=" + form.layout, self._buffer, offset, *_begin(form))
            outs = [ctypes.byref(self._buffer, offset + out) for out in form.outs]
            self.calls.append((function, (handle, *form.arguments, *outs), row))
            for key, pick in zip(row.keys, form.picks, strict=True):
                if row.divisor == 1:
                    self._cells.append((key, place + pick, *_bounds(key)))
                else:
                    self._divided.append((key, place + pick, row.divisor, *_bounds(key)))
            offset += struct.calcsize("=" + layout)
            place += len(_begin(form))

    def read(self, into: dict[str, Reading]) -> list[tuple[Row, int]]:
        """Ask everything; returns what failed, with the code. Their readings mean nothing."""
        failed = [
            (row, code) for function, arguments, row in self.calls if (code := function(*arguments))
        ]
        numbers = self._struct.unpack_from(self._buffer)
        for key, place, low, high in self._cells:
            value = numbers[place]
            into[key] = value if low <= value <= high else checked(key, value)
        for key, place, divisor, low, high in self._divided:
            value = numbers[place] / divisor
            into[key] = value if low <= value <= high else checked(key, value)
        return failed


def _padded(layout: str) -> str:
    return f"{layout}{-struct.calcsize('=' + layout) % 8}x"


def _begin(form: Form) -> tuple[int, ...]:
    return form.start or (0,) * sum(letter.isupper() or letter == "i" for letter in form.layout)


def _bounds(key: str) -> tuple[float, float]:
    metric = METRIC_BY_KEY.get(key)
    return (metric.low, metric.high) if metric else (0, 2**64)


class Reader:
    """One GPU's readings; ``bind`` it to a handle first.

    It remembers over a new handle what the GPU does not support.
    """

    def __init__(self, gpu_id: GpuId, power_max_w: float | None) -> None:
        self._gpu_id = gpu_id
        self._power_max_w = power_max_w
        self._forms = {row: row.forms for row in ROWS}
        self._counters = dict(_COUNTERS)
        self._fields = FieldBatch()
        self._unasked: dict[str, Reading] = dict.fromkeys(METRIC_BY_KEY, NOT_REPORTED)

    def bind(self, nvml: Library, handle: _Handle) -> None:
        """Ask this handle from now on; nothing is differenced with what another one said."""
        self._nvml = nvml
        self._handle = handle
        self._counters_at_s = float("-inf")
        self._fields.bind(nvml, handle)
        self._plan_anew()

    def sample(self, now_s: float) -> Sample:
        """Read everything that is due.

        Args:
            now_s: On a clock that does not jump, for rates and paces.

        Raises:
            BackendError: The GPU or its driver went away.
        """
        if now_s >= self._counters_at_s:
            self._counters_at_s = now_s + COUNTER_PACE_S
            self._count()
        readings = self._unasked.copy()
        while failed := self._plan.read(readings):
            if not self._forsake(failed, readings):
                break
            readings = self._unasked.copy()
        limited_s = self._fields.read(now_s, readings)
        self._doubt_power(readings)
        reasons = readings.pop(_REASONS, NOT_REPORTED)
        limited_by = reasons if isinstance(reasons, Unavailable) else limits_of(int(reasons))
        return Sample(self._gpu_id, readings, limited_by=limited_by, limited_s=limited_s)

    def _plan_anew(self) -> None:
        while True:
            self._plan = _Plan(self._nvml, self._handle, self._forms)
            if not self._plan.missing:
                return
            for row in self._plan.missing:
                self._forms[row] = self._forms[row][1:]

    def _forsake(self, failed: Sequence[tuple[Row, int]], readings: dict[str, Reading]) -> bool:
        """Drop forms that are not supported; whether there were any, so that it is read again.

        Raises:
            BackendError: The GPU or its driver went away.
        """
        is_changed = False
        for row, code in failed:
            fault = fault_of(code, self._forms[row][0].symbol)
            if isinstance(fault, GONE):
                raise fault
            if isinstance(fault, NotSupported):
                self._forms[row] = self._forms[row][1:]
                is_changed = True
            else:
                readings.update(dict.fromkeys(row.keys, Unavailable(str(fault))))
        if is_changed:
            self._plan_anew()
        return is_changed

    def _count(self) -> None:
        """Renew the counters.

        Raises:
            BackendError: The GPU or its driver went away.
        """
        for key, count in tuple(self._counters.items()):
            try:
                self._unasked[key] = checked(key, count(self._nvml, self._handle))
            except NotSupported:
                del self._counters[key]
                self._unasked[key] = NOT_REPORTED
            except GONE:
                raise
            except BackendError as fault:
                self._unasked[key] = Unavailable(str(fault))

    def _doubt_power(self, readings: dict[str, Reading]) -> None:
        """Some mobile boards report hundreds of watts too many: within METRICS, not in reason."""
        most_w = self._power_max_w
        if most_w is None:
            return
        for key in ("power_draw_w", "power_draw_average_w", "power_draw_instant_w"):
            draw_w = readings[key]
            if not isinstance(draw_w, Unavailable) and draw_w > 2 * most_w:
                reason = f"implausible: {draw_w:.6g} W on a board of at most {most_w:.6g} W"
                readings[key] = Unavailable(reason)
