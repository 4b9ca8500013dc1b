"""One look at Windows' counters of all GPUs, as the readings of one GPU and of its processes.

Pure: what was collected goes in. What has no counter is Unavailable with PDH's own reason.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from gpupanel.backends.base import checked
from gpupanel.backends.windows import pdh
from gpupanel.backends.windows.pdh import Counter, EngineClock, Instance, Item, Luid
from gpupanel.model.gpu import ProcessKind, Reading, Unavailable

_SILENT = Unavailable("this GPU's driver does not tell Windows")
_MEASURING = Unavailable("measuring")

_COMPUTE_KINDS = ("compute", "cuda")

Values = dict[Instance, int] | Unavailable


class Use(NamedTuple):
    """What one process does with one GPU.

    Attributes:
        dedicated_bytes: Memory of the card.
        utilization_percent: Of the engine that it uses most.
        engines: Those that it uses, by the driver's own name.
    """

    pid: int
    kind: ProcessKind
    dedicated_bytes: Reading
    utilization_percent: Reading
    engines: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Look:
    """The counters of all GPUs at one time.

    Attributes:
        busy: Each process on each engine since the look before, in percent.
    """

    at_s: float
    values: Mapping[Counter, Values]
    busy: dict[Instance, float] | Unavailable

    @classmethod
    def of(
        cls,
        arrays: Mapping[Counter, tuple[Item, ...] | Unavailable],
        now_s: float,
        clock: EngineClock,
    ) -> Look:
        """What was collected at ``now_s``; ``clock`` remembers the look before."""
        values: dict[Counter, Values] = {
            counter: array if isinstance(array, Unavailable) else pdh.values_of(array)
            for counter, array in arrays.items()
        }
        running = values[Counter.ENGINE_TIME]
        if isinstance(running, Unavailable):
            return cls(now_s, values, running)
        return cls(now_s, values, clock.percent(running, now_s))

    def readings(self, luid: Luid) -> dict[str, Reading]:
        """Utilization and memory of one adapter, by key of METRICS."""
        return {
            **self._utilization(luid),
            "memory_used_bytes": self._memory("memory_used_bytes", Counter.ADAPTER_DEDICATED, luid),
            "memory_shared_used_bytes": self._memory(
                "memory_shared_used_bytes", Counter.ADAPTER_SHARED, luid
            ),
        }

    def uses(self, luid: Luid) -> Iterator[Use]:
        """Who holds memory of an adapter or keeps it busy, by pid.

        Most programs have every GPU open and do nothing with it: they are left out.
        """
        busy = self.busy
        shares = {} if isinstance(busy, Unavailable) else pdh.process_engines(busy, luid)
        dedicated = self._by_pid(Counter.PROCESS_DEDICATED, luid)
        shared = self._by_pid(Counter.PROCESS_SHARED, luid)
        for pid in sorted({*shares, *_known(dedicated), *_known(shared)}):
            engines = {kind: share for kind, share in shares.get(pid, {}).items() if share > 0}
            if not (engines or _known(dedicated).get(pid) or _known(shared).get(pid)):
                continue
            yield Use(
                pid=pid,
                kind=kind_of(engines),
                dedicated_bytes=_process_memory(dedicated, pid),
                utilization_percent=(
                    max(engines.values(), default=0.0)
                    if pid in shares
                    else _unmeasured(busy, self.values[Counter.ENGINE_TIME], pid)
                ),
                engines=engines,
            )

    def _utilization(self, luid: Luid) -> dict[str, Reading]:
        keys = ("gpu", "encoder", "decoder")
        running, busy = self.values[Counter.ENGINE_TIME], self.busy
        if isinstance(running, Unavailable) or isinstance(busy, Unavailable):
            why = busy if isinstance(busy, Unavailable) else _MEASURING
            return {f"utilization_{key}_percent": why for key in keys}
        engines = pdh.engines_of(busy, luid)
        # All its processes came since the last look, or it got a new number: not 0, not known.
        if not engines and any(instance.luid == luid for instance in running):
            return {f"utilization_{key}_percent": _MEASURING for key in keys}
        return {
            "utilization_gpu_percent": pdh.busiest_percent(engines),
            "utilization_encoder_percent": pdh.busiest_of_kind_percent(engines, "videoencode"),
            "utilization_decoder_percent": pdh.busiest_of_kind_percent(engines, "videodecode"),
        }

    def _memory(self, key: str, counter: Counter, luid: Luid) -> Reading:
        values = self.values[counter]
        if isinstance(values, Unavailable):
            return values
        size = pdh.bytes_of(values, luid)
        return _SILENT if size is None else checked(key, size)

    def _by_pid(self, counter: Counter, luid: Luid) -> dict[int, int] | Unavailable:
        values = self.values[counter]
        return values if isinstance(values, Unavailable) else pdh.bytes_by_pid(values, luid)


def kind_of(engines: Mapping[str, float]) -> ProcessKind:
    """What the engines that a process uses are for."""
    computes = {pdh.plain_kind(engine).startswith(_COMPUTE_KINDS) for engine in engines}
    if not computes:
        return ProcessKind.UNKNOWN
    if len(computes) == 2:
        return ProcessKind.BOTH
    return ProcessKind.COMPUTE if computes == {True} else ProcessKind.GRAPHICS


def _unmeasured(busy: object, running: Values, pid: int) -> Reading:
    """Why a process has no share: it has no engine at all, or came since the last look."""
    if isinstance(busy, Unavailable):
        return busy
    is_new = not isinstance(running, Unavailable) and any(one.pid == pid for one in running)
    return _MEASURING if is_new else 0.0


def _known(sizes: dict[int, int] | Unavailable) -> Mapping[int, int]:
    return {} if isinstance(sizes, Unavailable) else sizes


def _process_memory(dedicated: dict[int, int] | Unavailable, pid: int) -> Reading:
    if isinstance(dedicated, Unavailable):
        return dedicated
    size = dedicated.get(pid)
    return _SILENT if size is None else checked("memory_used_bytes", size)
