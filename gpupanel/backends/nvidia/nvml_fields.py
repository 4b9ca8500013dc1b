"""NVML's field values: one call for all of them, each with a return code of its own."""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from gpupanel.backends.base import checked
from gpupanel.backends.nvidia.nvml_library import GONE, Library, fault_of
from gpupanel.model.errors import NotSupported
from gpupanel.model.gpu import Reading, Unavailable

_LAYOUT = "IIqqIIQ"  # nvmlFieldValue_t: id, scope, time, latency, type, return code, value
_NUMBERS = len(_LAYOUT)
_ALL_LINKS = 0xFFFFFFFF
_INVALID_ARGUMENT = 2
_ULL = 3  # nvmlValueType_t

FIRST_READING = Unavailable("known from the second reading on")


class _Field(NamedTuple):
    """One field.

    Attributes:
        name: A key of METRICS.
        factor: From the driver's unit to that of METRICS.
    """

    name: str
    factor: float = 1.0
    scope: int = 0


_LEVELS: Mapping[int, _Field] = {
    82: _Field("temperature_memory_c"),
    185: _Field("power_draw_average_w", 1e-3),
    186: _Field("power_draw_instant_w", 1e-3),
}
_RATES: Mapping[int, _Field] = {
    197: _Field("pcie_tx_bytes_per_s"),
    198: _Field("pcie_rx_bytes_per_s"),
    138: _Field("nvlink_tx_bytes_per_s", 1024, _ALL_LINKS),
    139: _Field("nvlink_rx_bytes_per_s", 1024, _ALL_LINKS),
}
_LIMITED_NS: Mapping[int, str] = {
    74: "power_cap",
    75: "thermal",
    76: "sync_boost",
    269: "thermal",
    270: "hardware_slowdown",
    271: "power_brake",
}


def number_of(value_type: int, raw: int) -> float:
    """The value in the eight bytes of an nvmlValue_t, by its nvmlValueType_t."""
    if value_type == 1:
        return raw & 0xFFFFFFFF
    if value_type == 0:
        return float(struct.unpack("=d", struct.pack("=Q", raw))[0])
    if value_type in (4, 5, 6):
        layout, size = {4: ("=q", 8), 5: ("=i", 4), 6: ("=H", 2)}[value_type]
        return int(struct.unpack(layout, struct.pack("=Q", raw)[:size])[0])
    return raw


def growth(last: int, now: int) -> int:
    """How far a counter came; where it wrapped, at 32 bits if it was no further than that."""
    if now >= last:
        return now - last
    return (now - last) % (2**32 if last < 2**32 else 2**64)


class FieldBatch:
    """The fields of one GPU; remembers over a new handle what the GPU does not support."""

    def __init__(self) -> None:
        self._ids = [*_LEVELS, *_RATES, *_LIMITED_NS]

    def bind(self, nvml: Library, handle: object) -> None:
        """Ask this handle from now on."""
        self._symbol = nvml.symbol("nvmlDeviceGetFieldValues")
        self._handle = handle
        self._last: dict[int, tuple[float, int]] = {}
        self._prepare()

    def read(self, now_s: float, into: dict[str, Reading]) -> dict[str, float]:
        """Put what is supported into ``into``; returns seconds by name of LIMITS.

        Raises:
            BackendError: The GPU or its driver went away.
        """
        limited_s: dict[str, float] = {}
        if self._symbol is None or not self._ids:
            return limited_s
        if code := self._symbol(*self._arguments):
            self._refuse(code, into)
            return limited_s
        numbers = self._struct.unpack_from(self._buffer)
        codes = numbers[5::_NUMBERS]
        values = [
            raw if kind == _ULL else number_of(kind, raw)
            for kind, raw in zip(numbers[4::_NUMBERS], numbers[6::_NUMBERS], strict=True)
        ]
        failed = self._failed(codes, into) if any(codes) else ()
        for place, field_id, name in self._cells:
            if place in failed:
                continue
            if field_id in _LIMITED_NS:
                # Old and new policy counters of heat count the same time: the greater holds.
                limited_s[name] = max(values[place] * 1e-9, limited_s.get(name, 0.0))
            elif field_id in _LEVELS:
                into[name] = checked(name, values[place] * _LEVELS[field_id].factor)
            else:
                into[name] = self._rate(field_id, now_s, int(values[place]))
        if failed:
            self._forsake(codes)
        return limited_s

    def _prepare(self) -> None:
        count = len(self._ids)
        self._struct = struct.Struct("=" + _LAYOUT * count)
        self._buffer = ctypes.create_string_buffer(self._struct.size)
        for index, field_id in enumerate(self._ids):
            scope = _RATES[field_id].scope if field_id in _RATES else 0
            offset = index * struct.calcsize("=" + _LAYOUT)
            struct.pack_into("=II", self._buffer, offset, field_id, scope)
        self._arguments = (self._handle, count, self._buffer)
        self._cells = [
            (place, field_id, _name(field_id)) for place, field_id in enumerate(self._ids)
        ]

    def _failed(self, codes: Sequence[int], into: dict[str, Reading]) -> set[int]:
        """The places of the fields without a value; says why for those that may have one later.

        Raises:
            BackendError: The GPU or its driver went away.
        """
        failed = {place for place, code in enumerate(codes) if code}
        for place in failed:
            if not _is_final(codes[place]):
                _explain(self._ids[place], codes[place], into)
        return failed

    def _forsake(self, codes: Sequence[int]) -> None:
        """Ask no more for what is not supported."""
        kept = [
            field_id
            for field_id, code in zip(self._ids, codes, strict=True)
            if not (code and _is_final(code))
        ]
        if kept != self._ids:
            self._ids = kept
            self._prepare()

    def _rate(self, field_id: int, now_s: float, count: int) -> Reading:
        last_s, last = self._last.get(field_id, (now_s, 0))
        self._last[field_id] = (now_s, count)
        if now_s <= last_s:
            return FIRST_READING
        name, factor, _ = _RATES[field_id]
        return checked(name, growth(last, count) * factor / (now_s - last_s))

    def _refuse(self, code: int, into: dict[str, Reading]) -> None:
        """The call as a whole failed."""
        if _is_final(code):
            self._symbol = None
            return
        for field_id in self._ids:
            _explain(field_id, code, into)


def _name(field_id: int) -> str:
    """The key of METRICS or the name of LIMITS."""
    field = _LEVELS.get(field_id) or _RATES.get(field_id)
    return field.name if field else _LIMITED_NS[field_id]


def _is_final(code: int) -> bool:
    # Drivers that are older than a field call it an invalid argument.
    fault = fault_of(code, "nvmlDeviceGetFieldValues")
    if isinstance(fault, GONE):
        raise fault
    return code == _INVALID_ARGUMENT or isinstance(fault, NotSupported)


def _explain(field_id: int, code: int, into: dict[str, Reading]) -> None:
    field = _LEVELS.get(field_id) or _RATES.get(field_id)
    if field is not None:
        into[field.name] = Unavailable(str(fault_of(code, f"field {field_id}")))
