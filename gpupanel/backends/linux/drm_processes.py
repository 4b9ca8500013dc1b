"""Who uses a GPU of a DRM driver: the clients of each process added up."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from gpupanel.backends.base import checked
from gpupanel.backends.linux.drm_fdinfo import ClientUse
from gpupanel.model.gpu import GpuId, ProcessKind, ProcessSample, Reading, Unavailable

COMPUTE_ENGINES = {"compute", "ccs"}
GRAPHICS_ENGINES = {"gfx", "render", "rcs", "3d", "fragment", "vertex-tiler", "bin"}
"""As amdgpu, i915, xe, panfrost and v3d call them."""

_ON_THE_CARD = ("vram", "local")
"""How the names of memory regions begin that are the card's own (amdgpu and xe, i915)."""

_NOT_COUNTED = Unavailable("this driver does not count the time of each process")
_NO_MEMORY = Unavailable("this driver does not count the memory of each process")
_MEASURING = Unavailable("measuring")


def device_nodes(device_dir: Path) -> tuple[str, ...]:
    """The names of a GPU's device files, as ``FdinfoScanner.scan`` wants them."""
    return tuple(folder.name for folder in device_dir.glob("drm/[cr]*"))


def process_samples(
    uses: Iterable[ClientUse],
    gpu_ids: Mapping[str, GpuId],
    is_integrated: Callable[[GpuId], bool],
) -> tuple[ProcessSample, ...]:
    """Add up the clients of each process, by GPU and pid.

    Args:
        uses: Of one scan.
        gpu_ids: By PCI address; clients of other GPUs are left out.
        is_integrated: Whether the GPU works in system memory, which then counts as its own.
    """
    clients: dict[tuple[GpuId, int], list[ClientUse]] = {}
    for use in uses:
        gpu_id = gpu_ids.get(use.client.device)
        if gpu_id is not None:
            clients.setdefault((gpu_id, use.pid), []).append(use)
    return tuple(
        _process_sample(gpu_id, own, is_integrated(gpu_id))
        for (gpu_id, _), own in sorted(clients.items())
    )


def busiest_engine_percent(uses: Iterable[ClientUse]) -> Reading:
    """Utilization of one GPU from all of its clients."""
    clients = list(uses)
    if clients and all(use.percent_by_engine is None for use in clients):
        return _MEASURING
    return max(_percent_by_engine(clients).values(), default=0.0)


def _process_sample(gpu_id: GpuId, uses: Sequence[ClientUse], integrated: bool) -> ProcessSample:
    process = uses[0].process
    used = {name for use in uses for name, engine in use.client.engines.items() if engine.busy}
    percents = _percent_by_engine(uses)
    return ProcessSample(
        gpu_id=gpu_id,
        pid=uses[0].pid,
        started=process.started,
        name=process.name,
        user=process.user,
        uid=process.uid,
        kind=_kind(used),
        memory_used_bytes=_memory(uses, integrated),
        utilization_percent=_utilization(uses, percents),
        engines={name: percent for name, percent in percents.items() if name in used},
    )


def _percent_by_engine(uses: Iterable[ClientUse]) -> dict[str, float]:
    """Of all clients together; counters of several clients may add up to a little too much."""
    percents: dict[str, float] = {}
    for use in uses:
        for name, percent in (use.percent_by_engine or {}).items():
            percents[name] = min(100.0, percents.get(name, 0.0) + percent)
    return percents


def _utilization(uses: Sequence[ClientUse], percents: Mapping[str, float]) -> Reading:
    if not any(use.client.engines for use in uses):
        return _NOT_COUNTED
    if all(use.percent_by_engine is None for use in uses):
        return _MEASURING
    return max(percents.values(), default=0.0)


def _memory(uses: Sequence[ClientUse], integrated: bool) -> Reading:
    regions: dict[str, int] = {}
    for use in uses:
        for name, size_bytes in use.client.memory_bytes.items():
            regions[name] = regions.get(name, 0) + size_bytes
    if not regions:
        return _NO_MEMORY
    own = [size for name, size in regions.items() if name.startswith(_ON_THE_CARD)]
    counted = own if own and not integrated else regions.values()
    return checked("memory_used_bytes", float(sum(counted)))


def _kind(used: set[str]) -> ProcessKind:
    """By the engines that the process has ever used."""
    computes, draws = bool(used & COMPUTE_ENGINES), bool(used & GRAPHICS_ENGINES)
    if computes and draws:
        return ProcessKind.BOTH
    if computes:
        return ProcessKind.COMPUTE
    return ProcessKind.GRAPHICS if draws else ProcessKind.UNKNOWN
