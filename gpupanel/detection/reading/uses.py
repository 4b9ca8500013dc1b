"""How a process uses GPUs, from what drivers tell of it on each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gpupanel.detection.reading.facts import Use
from gpupanel.model.gpu import GpuId, ProcessKind, ProcessSample, Unavailable

_SEEN_AT_WORK_PERCENT = 1.0

_DRAWING = ("gfx", "render", "rcs", "3d", "fragment", "vertex-tiler", "bin")
_CODEC = ("enc", "dec", "video", "vcn", "vcs", "vecs", "uvd", "vce", "jpeg", "jpg")


def use_of(
    samples: Sequence[ProcessSample], bus_bytes_per_s: Mapping[GpuId, float], now_s: float
) -> Use:
    """What one process does with all of its GPUs, as one: the busiest counts."""
    busy = [
        one.utilization_percent
        for one in samples
        if not isinstance(one.utilization_percent, Unavailable)
    ]
    memory = [
        one.memory_used_bytes
        for one in samples
        if not isinstance(one.memory_used_bytes, Unavailable)
    ]
    buses = [bus_bytes_per_s[one.gpu_id] for one in samples if one.gpu_id in bus_bytes_per_s]
    return Use(
        now_s,
        max(busy, default=None),
        max(map(_drawing_percent, samples), default=0.0),
        max((_engines_percent(one, _CODEC) for one in samples), default=0.0),
        sum(memory) if memory else None,
        max(buses, default=None),
    )


def _drawing_percent(sample: ProcessSample) -> float:
    """NVIDIA does not tell its engines apart, only who has a context that draws."""
    told = any(name.casefold().startswith(_DRAWING) for name in sample.engines)
    draws = sample.kind in (ProcessKind.GRAPHICS, ProcessKind.BOTH)
    busy = sample.utilization_percent
    if not told and draws and "sm" in sample.engines and not isinstance(busy, Unavailable):
        return busy
    return _engines_percent(sample, _DRAWING)


def _engines_percent(sample: ProcessSample, beginnings: tuple[str, ...]) -> float:
    percents = (
        percent
        for name, percent in sample.engines.items()
        if name.casefold().startswith(beginnings)
    )
    return max(percents, default=0.0)


def is_at_work(use: Use, samples: Sequence[ProcessSample]) -> bool:
    """Whether it has done anything on a GPU, beside being seen there."""
    if use.utilization_percent is not None:
        return use.utilization_percent >= _SEEN_AT_WORK_PERCENT
    return any(one.kind is not ProcessKind.GRAPHICS for one in samples)
