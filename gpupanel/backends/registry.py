"""BACKENDS, the one list of driver stacks, and how they are opened.

Names and not classes: a vendor's library is imported when its stack is probed, not before.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from importlib import import_module
from typing import NamedTuple

from gpupanel.backends.base import Backend, HotPlug, ProbeResult, ProbeState
from gpupanel.model.errors import BackendError
from gpupanel.model.gpu import GpuId, GpuInfo, ProcessSample, Unavailable

BACKENDS: tuple[str, ...] = (
    "gpupanel.backends.nvml:NvmlBackend",
    "gpupanel.backends.amdgpu:AmdgpuBackend",
    "gpupanel.backends.intel:IntelBackend",
    "gpupanel.backends.wddm:WddmBackend",
    "gpupanel.backends.host:HostBackend",
)
"""``module:Class`` in the order in which their GPUs are listed."""

_ELSEWHERE = {"amdgpu", "intel"} if sys.platform == "win32" else {"wddm"}
"""Driver stacks of the other system: that they are absent here tells nobody anything."""


def backends_here() -> tuple[str, ...]:
    """Those of BACKENDS that this system can have."""
    return tuple(
        name for name in BACKENDS if name.partition(":")[0].rpartition(".")[2] not in _ELSEWHERE
    )


class Opened(NamedTuple):
    """What looking for driver stacks found.

    Attributes:
        backends: Those that work, in the order of BACKENDS.
        unopened: Those that do not, to be probed again.
        results: One per backend, in the order of BACKENDS.
    """

    backends: tuple[Backend, ...]
    unopened: tuple[Backend, ...]
    results: tuple[ProbeResult, ...]


def open_backends(names: Sequence[str] | None = None) -> Opened:
    """Import and probe each of ``names``; one that fails does not keep the rest from opening.

    Args:
        names: Of the form of BACKENDS; ``backends_here`` if left out.
    """
    chosen = backends_here() if names is None else names
    return _sorted([(backend := _made(name), _probed(backend)) for name in chosen])


def looked_again(opened: Opened) -> Opened:
    """``opened`` after another look: for drivers that were not there, and for cards of the rest."""
    working = {backend.name: backend for backend in opened.backends}
    missing = {backend.name: backend for backend in opened.unopened}
    return _sorted(
        [
            (working[last.name], _looked(working[last.name], last))
            if last.name in working
            else (missing[last.name], _probed(missing[last.name]))
            for last in opened.results
        ]
    )


def listed(backends: Sequence[Backend]) -> tuple[tuple[Backend, GpuInfo], ...]:
    """The GPUs of ``backends``, each once and with the backend that reads it.

    Two driver stacks may know one card (NVML and Windows itself): the earlier in ``backends``
    keeps it, and the card is the same where the PCI address is.
    """
    gpus: list[tuple[Backend, GpuInfo]] = []
    addresses: set[str] = set()
    for backend in backends:
        new = [(backend, gpu) for gpu in backend.gpus() if gpu.pci_bus_id not in addresses]
        gpus.extend(new)
        addresses.update(gpu.pci_bus_id for _, gpu in new if gpu.pci_bus_id)
    return tuple(gpus)


def merged(
    processes: Sequence[ProcessSample], backends: Sequence[Backend]
) -> tuple[ProcessSample, ...]:
    """``processes`` under the ids of ``listed``; one row for each process and GPU.

    What the first driver stack does not know of a process, a later one may: Windows tells the
    memory that NVML does not.
    """
    shown = [gpu for _, gpu in listed(backends)]
    by_address = {gpu.pci_bus_id: gpu.id for gpu in reversed(shown)}
    known_as = {
        gpu.id: by_address.get(gpu.pci_bus_id, gpu.id)
        for backend in backends
        for gpu in backend.gpus()
        if gpu not in shown
    }
    rows: dict[tuple[GpuId, int], ProcessSample] = {}
    for process in processes:
        row = replace(process, gpu_id=known_as.get(process.gpu_id, process.gpu_id))
        first = rows.get((row.gpu_id, row.pid))
        rows[row.gpu_id, row.pid] = _completed(first, row) if first else row
    return tuple(rows.values())


def _completed(first: ProcessSample, second: ProcessSample) -> ProcessSample:
    memory, load = first.memory_used_bytes, first.utilization_percent
    return replace(
        first,
        memory_used_bytes=second.memory_used_bytes if isinstance(memory, Unavailable) else memory,
        utilization_percent=second.utilization_percent if isinstance(load, Unavailable) else load,
        engines={**second.engines, **first.engines},
    )


def _sorted(found: Sequence[tuple[Backend, ProbeResult]]) -> Opened:
    return Opened(
        backends=tuple(backend for backend, result in found if result.state is ProbeState.OK),
        unopened=tuple(backend for backend, result in found if result.state is not ProbeState.OK),
        results=tuple(result for _, result in found),
    )


def _looked(backend: Backend, last: ProbeResult) -> ProbeResult:
    return backend.look_again() if isinstance(backend, HotPlug) else last


def _probed(backend: Backend) -> ProbeResult:
    try:
        return backend.probe()
    except BackendError as error:
        return ProbeResult(backend.name, ProbeState.FAILED, str(error))


def _made(name: str) -> Backend:
    module, _, cls = name.partition(":")
    backend: Backend = getattr(import_module(module), cls)()
    return backend
