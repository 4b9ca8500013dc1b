"""amdgpu's ``gpu_metrics``: one binary table of the GPU's firmware, in a dozen versions.

Source of the offsets and units: ``kgd_pp_interface.h`` of the kernel, whose structures are laid
out as C does. Versions behind those listed (accelerators of data centers) are told, not guessed.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field

from gpupanel.model.gpu import NOT_TOLD, Unavailable

_HEADER = struct.Struct("<HBB")  # size, format, content

_INTEGERS = {code: struct.Struct("<" + code) for code in "HIQ"}
_INVALID = {code: 2 ** (8 * integer.size) - 1 for code, integer in _INTEGERS.items()}
"""All ones: the firmware of this GPU has no such value."""

_Field = tuple[int, str, float]
"""Offset in the table, struct code, and what the number is divided by to have our unit."""

_CELSIUS, _CENTI, _WATT, _MILLI, _PLAIN = 1, 100, 1, 1000, 1


def _discrete(first: int) -> dict[str, _Field]:
    """What v1.0 to v1.3 share, with their first temperature at ``first``."""
    return {
        "temperature_gpu_c": (first, "H", _CELSIUS),
        "temperature_hotspot_c": (first + 2, "H", _CELSIUS),
        "temperature_memory_c": (first + 4, "H", _CELSIUS),
        "utilization_gpu_percent": (first + 12, "H", _PLAIN),
        "utilization_memory_percent": (first + 14, "H", _PLAIN),
        "utilization_decoder_percent": (first + 16, "H", _PLAIN),
        "power_draw_w": (first + 18, "H", _WATT),
        # energy_accumulator is left out: its unit differs from chip to chip below v1.4.
        "clock_graphics_mhz": (54, "H", _PLAIN),
        "clock_memory_mhz": (58, "H", _PLAIN),
        "fan_speed_rpm": (72, "H", _PLAIN),
    }


def _integrated(first: int, activity: int, power: int, clock: int) -> dict[str, _Field]:
    """What v2.0 to v2.4 share; their blocks moved once."""
    return {
        "temperature_gpu_c": (first, "H", _CENTI),
        "temperature_soc_c": (first + 2, "H", _CENTI),
        "utilization_gpu_percent": (activity, "H", _PLAIN),
        "utilization_decoder_percent": (activity + 2, "H", _PLAIN),
        "power_draw_w": (power, "H", _MILLI),
        "power_processor_w": (power + 2, "H", _MILLI),
        "power_graphics_w": (power + 6, "H", _MILLI),
        "clock_graphics_mhz": (clock, "H", _PLAIN),
        "clock_memory_mhz": (clock + 4, "H", _PLAIN),
    }


_ACCELERATOR: dict[str, _Field] = {
    "temperature_hotspot_c": (4, "H", _CELSIUS),
    "temperature_memory_c": (6, "H", _CELSIUS),
    "power_draw_w": (10, "H", _WATT),
    "utilization_gpu_percent": (12, "H", _PLAIN),
    "utilization_memory_percent": (14, "H", _PLAIN),
    "utilization_decoder_percent": (16, "H", _PLAIN),
    "energy_j": (24, "Q", 2**16),
    "clock_graphics_mhz": (240, "H", _PLAIN),
    "clock_memory_mhz": (280, "H", _PLAIN),
}

_STRIX: dict[str, _Field] = {
    "temperature_gpu_c": (4, "H", _CENTI),
    "temperature_soc_c": (6, "H", _CENTI),
    "utilization_gpu_percent": (42, "H", _PLAIN),
    "utilization_decoder_percent": (44, "H", _PLAIN),
    "power_draw_w": (112, "I", _MILLI),
    "power_graphics_w": (124, "I", _MILLI),
    "power_processor_w": (132, "I", _MILLI),
    "clock_graphics_mhz": (174, "H", _PLAIN),
    "clock_memory_mhz": (186, "H", _PLAIN),
}

_STRIX_RESIDENCIES: Mapping[str, tuple[int, ...]] = {
    "thermal": (228, 244, 248, 252),  # prochot, core, graphics, soc
    "power_cap": (232, 236, 240),  # sustained, fast, slow package limit
}


@dataclass(frozen=True, slots=True)
class _Layout:
    """One version of the table.

    Attributes:
        size: In bytes; a table may be longer.
        own_bits: Offset of the throttle bits whose meaning differs from chip to chip, or 0.
        bits: Offset of those that mean the same on every chip, or 0.
        residencies: Name of LIMITS to the offsets of counters that grow while it holds.
    """

    size: int
    fields: Mapping[str, _Field]
    own_bits: int = 0
    bits: int = 0
    residencies: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


_LAYOUTS: Mapping[tuple[int, int], _Layout] = {
    (1, 0): _Layout(80, _discrete(16), own_bits=68),
    (1, 1): _Layout(96, _discrete(4), own_bits=68),
    (1, 2): _Layout(104, _discrete(4), own_bits=68),
    (1, 3): _Layout(120, _discrete(4) | {"voltage_mv": (106, "H", _PLAIN)}, 68, bits=112),
    (1, 4): _Layout(288, _ACCELERATOR, own_bits=40),
    (2, 0): _Layout(120, _integrated(16, 40, 44, 80), own_bits=112),
    (2, 1): _Layout(120, _integrated(4, 28, 40, 76), own_bits=108),
    (2, 2): _Layout(128, _integrated(4, 28, 40, 76), 108, bits=120),
    (2, 3): _Layout(152, _integrated(4, 28, 40, 76), 108, bits=120),
    (2, 4): _Layout(
        168, _integrated(4, 28, 40, 76) | {"voltage_mv": (156, "H", _PLAIN)}, 108, bits=120
    ),
    (3, 0): _Layout(264, _STRIX, residencies=_STRIX_RESIDENCIES),
}
"""By format and content revision."""

_LIMIT_BITS: tuple[tuple[str, int], ...] = (
    ("power_cap", 0xFF),
    ("current", 0xFF << 16),
    ("thermal", 0xFFFF << 32),
    ("other", 0xFF << 56),
)
"""Of the throttle bits that mean the same on every chip (amdgpu_smu.h)."""

_HOTSPOT_BIT = 1 << 36


@dataclass(frozen=True, slots=True)
class GpuMetrics:
    """One table of the firmware.

    Attributes:
        values: What it holds, by key of METRICS; also ``temperature_soc_c``,
            ``power_graphics_w`` and ``power_processor_w`` of a chip that has both.
        limited_by: As in ``Sample``; Unavailable where the table only counts.
        limit_counts: Name of LIMITS to a counter that grows while it holds the clocks down.
    """

    version: tuple[int, int]
    values: Mapping[str, float]
    limited_by: tuple[str, ...] | Unavailable
    limit_counts: Mapping[str, int]

    @property
    def is_integrated(self) -> bool:
        """Whether the GPU shares its chip, its power and its memory with a processor."""
        return self.version[0] in {2, 3}


def parse_gpu_metrics(
    table: bytes, has_false_hotspot_bit: bool = False
) -> GpuMetrics | Unavailable:
    """Read ``table``, or say what is wrong with it.

    Args:
        table: The file's bytes; more than the table's own size is ignored.
        has_false_hotspot_bit: RDNA 3 says at all times that its hotspot limits it.
    """
    if len(table) < _HEADER.size:
        return Unavailable("gpu_metrics is cut short")
    size, *revision = _HEADER.unpack_from(table)
    version = (revision[0], revision[1])
    layout = _LAYOUTS.get(version)
    if layout is None:
        return Unavailable(f"gpu_metrics of version {version[0]}.{version[1]} is not known here")
    if not layout.size <= size <= len(table):
        return Unavailable("gpu_metrics is cut short")
    return GpuMetrics(
        version,
        _values(table, layout, version),
        _limited_by(table, layout, _HOTSPOT_BIT if has_false_hotspot_bit else 0),
        {
            name: sum(_integer(table, offset, "I") or 0 for offset in offsets)
            for name, offsets in layout.residencies.items()
        },
    )


def percent(number: float) -> float:
    """A load in percent: some firmware counts in hundredths, without a word."""
    return number / 100 if number > 100 else number


def _values(table: bytes, layout: _Layout, version: tuple[int, int]) -> dict[str, float]:
    values: dict[str, float] = {}
    for key, (offset, code, divisor) in layout.fields.items():
        number = _integer(table, offset, code)
        if number is None:
            continue
        value = number / divisor
        if key.startswith("utilization"):
            value = value / 100 if version == (2, 4) else percent(value)
        values[key] = value
    return values


def _limited_by(table: bytes, layout: _Layout, ignored: int) -> tuple[str, ...] | Unavailable:
    bits = _integer(table, layout.bits, "Q") if layout.bits else None
    if bits is not None:
        return tuple(name for name, mask in _LIMIT_BITS if bits & mask & ~ignored)
    own = _integer(table, layout.own_bits, "I") if layout.own_bits else None
    if own is None:
        return NOT_TOLD
    return ("other",) if own else ()


def _integer(table: bytes, offset: int, code: str) -> int | None:
    (number,) = _INTEGERS[code].unpack_from(table, offset)
    return None if number == _INVALID[code] else int(number)
