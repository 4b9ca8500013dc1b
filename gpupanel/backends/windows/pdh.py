"""What Windows' performance counters of GPUs say, as values; pure, so that Linux can test it.

The counters name their instances ``pid_1234_luid_0x00000000_0x0000D2A5_phys_0_eng_3_engtype_3D``:
which process, which adapter (by the number that Windows gives it until it restarts), which
engine. Running time is in units of 100 ns, memory in bytes. Some builds of Windows write the names
in lower case; instances come and go between two looks.
"""

from __future__ import annotations

import re
import struct
from collections import defaultdict
from collections.abc import Iterable, Mapping
from enum import StrEnum
from functools import lru_cache
from typing import NamedTuple

from gpupanel.model.gpu import Reading, Unavailable

Luid = int
"""An adapter until Windows restarts it: the high part in the upper 32 bits."""


class Counter(StrEnum):
    """The counters that are read, as English paths; Windows finds them in any language."""

    ENGINE_TIME = r"\GPU Engine(*)\Running Time"
    PROCESS_DEDICATED = r"\GPU Process Memory(*)\Dedicated Usage"
    PROCESS_SHARED = r"\GPU Process Memory(*)\Shared Usage"
    ADAPTER_DEDICATED = r"\GPU Adapter Memory(*)\Dedicated Usage"
    ADAPTER_SHARED = r"\GPU Adapter Memory(*)\Shared Usage"


class Instance(NamedTuple):
    """What the name of an instance says.

    Attributes:
        pid: None where the counter is of the whole adapter.
        phys: Which card of a linked group; 0 where there is one.
        engine: None where the counter is of memory.
        engine_type: The driver's own name of it; may have spaces, may be empty.
    """

    pid: int | None
    luid: Luid
    phys: int
    engine: int | None
    engine_type: str


class Item(NamedTuple):
    """One instance of a counter as PDH hands it out.

    Attributes:
        status: PDH_CSTATUS_*; ``value`` means something for 0 and 1 only.
    """

    name: str
    status: int
    value: int


_NAME = re.compile(
    r"(?:pid_(?P<pid>[0-9]{1,10})_)?"
    r"luid_0x(?P<high>[0-9a-f]{1,8})_0x(?P<low>[0-9a-f]{1,8})"
    r"_phys_(?P<phys>[0-9]{1,4})"
    r"(?:_eng_(?P<engine>[0-9]{1,6})_engtype_(?P<type>[^#]*))?"
    r"(?:\#[0-9]+)?",  # PDH's mark of the second instance of one name
    re.IGNORECASE | re.ASCII,
)

_ITEM = struct.Struct("<QI4xq")
"""PDH_FMT_COUNTERVALUE_ITEM_W with PDH_FMT_LARGE on 64-bit Windows: name, status, value."""

ITEM_BYTES = _ITEM.size

_VALID, _NEW = 0x0, 0x1

REASONS: Mapping[int, str] = {
    0x00000005: "Windows shows its GPU counters to members of Performance Monitor Users only",
    0x800007D0: "Windows' performance counters do not answer",
    0x800007D1: "no program uses this GPU's counter",
    0x800007D4: "Windows' performance counters are busy; trying again",
    0x800007D5: "Windows has no GPU counters now (elevated rights may be needed)",
    0xC0000BB8: "this Windows or GPU driver has no GPU counters (Windows 10 1709 at least)",
    0xC0000BB9: "this Windows does not have this GPU counter",
    0xC0000BBA: "measuring",
    0xC0000BBB: "Windows had no memory left for its performance counters",
    0xC0000BBC: "Windows let go of the performance counters; trying again",
    0xC0000BC3: "Windows' performance counters do not answer",
    0xC0000BDB: "Windows shows its GPU counters to members of Performance Monitor Users only",
}  # fmt: skip
"""PDH_STATUS and PDH_CSTATUS_* (pdhmsg.h) to what a person understands."""

_LEAST_SPAN_S = 0.02
"""Over a shorter time, the time of the look itself would be mostly what is measured."""

_BEYOND_REASON_PERCENT = 200.0
"""The time of the look is not that of the counter: a busy engine may seem a little over 100 %.
What is this far over is no measurement."""


def reason(status: int) -> str:
    """What a code of PDH means, for a person."""
    code = status & 0xFFFFFFFF
    return REASONS.get(code, f"Windows' performance counters: error 0x{code:08X}")


@lru_cache(maxsize=8192)
def parsed(name: str) -> Instance | None:
    """What ``name`` says, or None where it is of no GPU.

    Remembered: a desktop has a thousand names, and nearly all of them come again at each look.
    """
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    pid, engine = match["pid"], match["engine"]
    return Instance(
        pid=None if pid is None else int(pid),
        luid=int(match["high"], 16) << 32 | int(match["low"], 16),
        phys=int(match["phys"]),
        engine=None if engine is None else int(engine),
        engine_type=(match["type"] or "").strip(),
    )


def items_of(buffer: bytes, address: int, count: int) -> list[Item]:
    """What PdhGetFormattedCounterArrayW wrote.

    Args:
        buffer: Items, and behind them the names that they point to.
        address: Where ``buffer`` was in memory when PDH wrote its pointers.
        count: As PDH said; items that do not fit are left out.
    """
    fitting = min(max(count, 0), len(buffer) // ITEM_BYTES)
    return [
        Item(_text_at(buffer, pointer - address), status, value)
        for pointer, status, value in _ITEM.iter_unpack(buffer[: fitting * ITEM_BYTES])
    ]


def _text_at(buffer: bytes, offset: int) -> str:
    """UTF-16 text up to its NUL; empty where ``offset`` is outside."""
    if not 0 <= offset < len(buffer):
        return ""
    end = buffer.find(b"\0\0", offset)
    while end >= 0 and (end - offset) % 2:
        # Half of one letter and half of the next; an ASCII letter before the NUL is one such.
        end = buffer.find(b"\0\0", end + 1)
    return buffer[offset : end if end >= 0 else len(buffer)].decode("utf-16-le", "replace")


def values_of(items: Iterable[Item]) -> dict[Instance, int]:
    """The items that mean something: valid, of a GPU, not negative."""
    values: dict[Instance, int] = {}
    for name, status, value in items:
        if status not in (_VALID, _NEW) or value < 0:
            continue
        instance = parsed(name)
        if instance is not None:
            values[instance] = values.get(instance, 0) + value
    return values


class EngineClock:
    """Running times from look to look, as shares of the time between."""

    def __init__(self) -> None:
        self._before: Mapping[Instance, int] = {}
        self._before_s = float("-inf")

    def percent(
        self, running_100ns: Mapping[Instance, int], now_s: float
    ) -> dict[Instance, float] | Unavailable:
        """How busy each process kept each engine since the last call.

        An instance that is new, or whose counter fell back because its pid was given anew, is
        left out until the next call: when it began is not known.
        """
        span_s = now_s - self._before_s
        if span_s < _LEAST_SPAN_S:
            return Unavailable("measuring")
        before = self._before
        self._before, self._before_s = running_100ns, now_s
        if span_s == float("inf"):
            return Unavailable("measuring")
        return {
            instance: (running - before[instance]) / (span_s * 1e5)
            for instance, running in running_100ns.items()
            if running >= before.get(instance, running + 1)
        }


class Engine(NamedTuple):
    """One engine of one adapter, and how busy all processes together keep it."""

    kind: str
    percent: float


def engines_of(busy: Mapping[Instance, float], luid: Luid) -> list[Engine]:
    """Each engine of one adapter with the sum over its processes, not bounded."""
    kinds: dict[tuple[int, int], str] = {}
    sums: defaultdict[tuple[int, int], float] = defaultdict(float)
    for instance, percent in busy.items():
        if instance.luid == luid and instance.engine is not None:
            place = (instance.phys, instance.engine)
            kinds[place] = instance.engine_type
            sums[place] += percent
    return [Engine(kinds[place], percent) for place, percent in sums.items()]


def busiest_percent(engines: Iterable[Engine]) -> Reading:
    """Task Manager's figure of a GPU: its busiest engine; 0 where no process has any."""
    return bounded_percent(max((engine.percent for engine in engines), default=0.0))


def busiest_of_kind_percent(engines: Iterable[Engine], kind: str) -> Reading:
    """The busiest engine whose type is ``kind``, however the driver writes and numbers it."""
    fitting = [engine for engine in engines if plain_kind(engine.kind) == kind]
    if not fitting:
        return Unavailable("no program shows such an engine of this GPU")
    return busiest_percent(fitting)


def plain_kind(engine_type: str) -> str:
    """``Video Decode 1``, ``VideoDecode`` and ``videodecode_0`` are ``videodecode``."""
    return re.sub(r"[\s_]", "", re.sub(r"[\s_]+[0-9]+$", "", engine_type.casefold()))


def bounded_percent(percent: float) -> Reading:
    """At most 100, as a share of time is; Unavailable where it is far over."""
    if 0 <= percent <= _BEYOND_REASON_PERCENT:
        return min(percent, 100.0)
    return Unavailable(f"implausible: {percent:.6g} %")


def process_engines(busy: Mapping[Instance, float], luid: Luid) -> dict[int, dict[str, float]]:
    """How busy each pid keeps each type of engine of one adapter; of several alike, the busiest.

    A share that is no measurement is left out.
    """
    shares: dict[int, dict[str, float]] = {}
    for instance, percent in busy.items():
        if instance.luid != luid or instance.pid is None or instance.engine is None:
            continue
        share = bounded_percent(percent)
        if not isinstance(share, Unavailable):
            engines = shares.setdefault(instance.pid, {})
            kind = instance.engine_type or f"engine {instance.engine}"
            engines[kind] = max(share, engines.get(kind, 0.0))
    return shares


def bytes_of(values: Mapping[Instance, int], luid: Luid) -> int | None:
    """Memory of one adapter, over its linked cards; None where it has no counter."""
    found = [size for instance, size in values.items() if instance.luid == luid]
    return sum(found) if found else None


def bytes_by_pid(values: Mapping[Instance, int], luid: Luid) -> dict[int, int]:
    """Memory of each process on one adapter."""
    sizes: defaultdict[int, int] = defaultdict(int)
    for instance, size in values.items():
        if instance.luid == luid and instance.pid is not None:
            sizes[instance.pid] += size
    return dict(sizes)
