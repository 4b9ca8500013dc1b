"""GPU time on Linux' DRM drivers: what the kernel counts for each client of a GPU."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from gpupanel.backends.linux.drm_fdinfo import (
    Client,
    ClientKey,
    Engine,
    client_at,
    client_key,
    gpu_node,
)
from gpupanel.backends.linux.drm_processes import (
    COMPUTE_ENGINES,
    GRAPHICS_ENGINES,
    device_nodes,
)
from gpupanel.enforcement.cell import Cell, ProcessKey
from gpupanel.enforcement.meters.tally import Tally
from gpupanel.model.errors import HoldFailed
from gpupanel.model.gpu import GpuInfo

_WORKING = COMPUTE_ENGINES | GRAPHICS_ENGINES

_LIST_AGAIN_S = 1.0
"""Which files a process has open is asked so often; what it did through a new one is late by it at
most, and not lost."""

_LEAST_SPAN_S, _MOST_SPAN_S = 0.1, 10.0
"""Over which the pace of a GPU's own clock is learnt."""


@dataclass(slots=True)
class _Files:
    """The GPU files of one process: descriptor and node."""

    open: list[tuple[str, str]]
    again_s: float


_Place = tuple[str, str]
"""Device and engine."""


class DrmMeter:
    """Adds up the engines that compute and draw, each kind by its share of what there is of it.

    Attributes:
        capacity: GPUs.
    """

    def __init__(
        self,
        gpus: Sequence[GpuInfo],
        root: Path = Path("/"),
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """Count nothing yet.

        Args:
            gpus: Of DRM drivers.
            root: Where ``proc`` and ``sys`` lie.
            clock_s: The clock of ``used_s``.
        """
        self.capacity = float(len(gpus))
        self._proc = f"{root}/proc"
        self._clock_s = clock_s
        self._devices = frozenset(_kernel_address(gpu) for gpu in gpus)
        devices = root / "sys/bus/pci/devices"
        self._nodes = frozenset(
            node for address in self._devices for node in device_nodes(devices / address)
        )
        self._files: dict[ProcessKey, _Files] = {}
        self._time_ns: Tally[tuple[ClientKey, str]] = Tally()
        self._cycles: dict[_Place, _Cycles] = {}

    def admit(self, processes: Collection[ProcessKey], whole_life: bool) -> None:
        """See ``Meter.admit``."""
        if whole_life:
            return
        now_s = self._clock_s()
        for key, client in self._clients(processes, now_s):
            for name, engine in _working(client):
                busy = engine.busy / engine.capacity
                self._tally(client, name, engine).begin((key, name), busy, now_s)

    def used_s(self, cell: Cell, now_s: float) -> float:
        """See ``Meter.used_s``."""
        for key, client in self._clients(cell.members(), now_s):
            for name, engine in _working(client):
                busy = engine.busy / engine.capacity
                self._tally(client, name, engine).see((key, name), busy, now_s)
                if engine.total is not None:
                    self._cycles[client.device, name].tick(engine.total, now_s)
        for tally in (self._time_ns, *(one.tally for one in self._cycles.values())):
            tally.end_round(now_s)
        return self._time_ns.total / 1e9 + sum(one.used_s for one in self._cycles.values())

    def close(self) -> None:
        """See ``Meter.close``."""

    def _tally(self, client: Client, name: str, engine: Engine) -> Tally[tuple[ClientKey, str]]:
        if engine.total is None:
            return self._time_ns
        return self._cycles.setdefault((client.device, name), _Cycles()).tally

    def _clients(
        self, processes: Collection[ProcessKey], now_s: float
    ) -> Iterator[tuple[ClientKey, Client]]:
        """Each client of the GPUs once, however many files and processes hold it.

        Raises:
            HoldFailed: A process cannot be looked into, or its driver does not count.
        """
        met: set[ClientKey] = set()
        self._files = {one: self._files_of(one, now_s) for one in processes}
        for (pid, _), files in self._files.items():
            for fd, node in tuple(files.open):
                client = self._client(pid, fd, node)
                key = client_key(client, pid, fd) if client else None
                if client is None or key is None or key in met:
                    files.open.remove((fd, node))  # until it is listed again
                    continue
                met.add(key)
                yield key, client

    def _files_of(self, process: ProcessKey, now_s: float) -> _Files:
        known = self._files.get(process)
        if known is not None and now_s < known.again_s:
            return known
        pid, _ = process
        folder = f"{self._proc}/{pid}/fd"
        try:
            nodes = [(fd, gpu_node(f"{folder}/{fd}")) for fd in os.listdir(folder)]
        except PermissionError as error:
            raise _no_right(pid) from error
        except OSError:
            nodes = []  # it ended
        return _Files([one for one in nodes if one[1] in self._nodes], now_s + _LIST_AGAIN_S)

    def _client(self, pid: int, fd: str, node: str) -> Client | None:
        try:
            client = client_at(f"{self._proc}/{pid}", fd, node)
        except PermissionError as error:
            raise _no_right(pid) from error
        except OSError:
            return None  # it ended, or closed the file
        if client is None or client.device not in self._devices:
            return None
        if not client.engines:
            raise HoldFailed(f"the {client.driver} driver does not count the time of each process")
        return client


class _Cycles:
    """Cycles of one kind of engine, told as time once the pace of the GPU's clock is known.

    Attributes:
        tally: In cycles.
        used_s: What of them is told already; never falls, whatever the pace is thought to be.
    """

    def __init__(self) -> None:
        self.tally: Tally[tuple[ClientKey, str]] = Tally()
        self.used_s = 0.0
        self._told = 0.0
        self._base: tuple[int, float] | None = None
        self._next: tuple[int, float] | None = None

    def tick(self, total: int, now_s: float) -> None:
        """The GPU's clock stands at ``total``; what was counted up to now is told by its pace."""
        if self._base is None or self._next is None or total < self._next[0]:
            self._base = self._next = total, now_s
            return
        since, since_s = self._base
        if now_s - since_s < _LEAST_SPAN_S or total == since:
            return
        cycles_per_s = (total - since) / (now_s - since_s)
        self.used_s += (self.tally.total - self._told) / cycles_per_s
        self._told = self.tally.total
        if now_s - self._next[1] >= _MOST_SPAN_S:
            self._base, self._next = self._next, (total, now_s)


def _working(client: Client) -> Iterator[tuple[str, Engine]]:
    return ((name, engine) for name, engine in client.engines.items() if name in _WORKING)


def _kernel_address(gpu: GpuInfo) -> str:
    """A PCI address as the kernel writes it, with a domain of four digits where that is enough."""
    domain, _, rest = (gpu.pci_bus_id or "").partition(":")
    if not rest:
        raise HoldFailed(f"{gpu.name} is not on PCI, so who uses it is not known")
    return f"{int(domain, 16):04x}:{rest}"


def _no_right(pid: int) -> HoldFailed:
    return HoldFailed(
        f"the GPU time of process {pid} cannot be read: needs root, or CAP_SYS_PTRACE with "
        "CAP_DAC_READ_SEARCH"
    )
