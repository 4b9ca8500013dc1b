"""Evidence from how evenly a GPU is used: it corroborates, and never convicts.

Training with accumulated gradients uses a GPU as evenly as any miner (measured: 100 percent,
deviation 0), so all of this together is worth at most 2 nats.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import sqrt
from statistics import fmean

from gpupanel.detection.reading.facts import Use
from gpupanel.detection.signatures import Signatures
from gpupanel.model.verdict import Evidence, EvidenceFamily, EvidenceSource

WINDOW_S = 60.0
_LEAST_S = 8.0
_LEAST_USES = 3
_AT_WORK_PERCENT = 25.0
_FLAT_PERCENT, _FLAT_DEVIATION = 90.0, 3.0
_CONSTANT = 0.01
_LEAST_MEMORY_BYTES = 256 * 2**20
_QUIET_BUS_BYTES_PER_S = 100e6
_IDLE_PERCENT = 1.0


def evidence(uses: Sequence[Use], known: Signatures) -> Iterator[Evidence]:
    """Of the last minute; nothing while less is known than it takes to see evenness."""
    recent = [use for use in uses if use.time_s > uses[-1].time_s - WINDOW_S]
    if len(recent) < _LEAST_USES or recent[-1].time_s - recent[0].time_s < _LEAST_S:
        return
    busy = [use.utilization_percent for use in recent if use.utilization_percent is not None]
    if not busy or fmean(busy) < _AT_WORK_PERCENT:
        return
    if fmean(busy) >= _FLAT_PERCENT and _deviation(busy) <= _FLAT_DEVIATION:
        text = f"its use of the GPU is even: {fmean(busy):.0f} % ± {_deviation(busy):.1f}"
        yield _line("flat", known.weights["flat_compute"], text)
    memory = [use.memory_bytes for use in recent if use.memory_bytes is not None]
    if memory and fmean(memory) >= _LEAST_MEMORY_BYTES and _spread(memory) <= _CONSTANT:
        text = f"its memory stays at {fmean(memory) / 2**20:.0f} MiB"
        yield _line("constant memory", known.weights["constant_memory"], text)
    bus = [use.bus_bytes_per_s for use in recent if use.bus_bytes_per_s is not None]
    if bus and fmean(bus) <= _QUIET_BUS_BYTES_PER_S:
        text = f"the GPU's bus is quiet: {fmean(bus) / 1e6:.0f} MB/s"
        yield _line("quiet bus", known.weights["quiet_bus"], text)
    if all(max(use.graphics_percent, use.codec_percent) < _IDLE_PERCENT for use in recent):
        text = "it computes, and neither draws nor encodes"
        yield _line("compute only", known.weights["nothing_but_compute"], text)


def _deviation(values: Sequence[float]) -> float:
    """``statistics.pstdev`` without its exact fractions, which cost more than all the rest."""
    middle = fmean(values)
    return sqrt(fmean((value - middle) ** 2 for value in values))


def _spread(values: Sequence[float]) -> float:
    return (max(values) - min(values)) / fmean(values)


def _line(kind: str, weight: float, text: str) -> Evidence:
    return Evidence(EvidenceFamily.TELEMETRY, kind, weight, text, EvidenceSource.USE)
