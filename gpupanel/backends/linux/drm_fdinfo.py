"""What the kernel counts for each client of a GPU: ``/proc/PID/fdinfo`` of every DRM driver.

The format is the kernel's ``drm-usage-stats.rst``. Counters are compared per client and never
over a sum of clients: a sum falls when one of them leaves, and differences turn absurd.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gpupanel.backends.linux.proc import PROC, Identity, identity

_LINE = re.compile(
    rb"^drm-(driver|pdev|client-id|engine-capacity|engine|total-cycles|cycles|resident|memory|total)"
    rb"(?:-([\w-]++))?+:[ \t]*+(\S++)[ \t]*+(\w*+)[ \t]*+$",
    re.MULTILINE,
)
"""The longer of two keys with the same beginning stands first."""

_UNIT_BYTES: Mapping[bytes, int] = {
    b"": 1,
    b"B": 1,
    b"kB": 1024,
    b"KiB": 1024,
    b"MiB": 1024**2,
    b"GiB": 1024**3,
}

_MOST = 2**64 - 1
_MOST_TEXT_BYTES = 32768

_NODE = re.compile(r"(?:card|renderD)\d+")

_LEAST_SPAN_S = 0.05

_LOOK_AGAIN_S = 10.0
"""A process may open a GPU late in its life; one that has done so opens more of them soon."""
_LOOK_AGAIN_AT_USERS_S = 2.0
_LOOK_AGAIN_AT_ALL_S = 60.0
"""In between, only descriptors whose numbers are new are asked where they lead to: a GPU file in
place of one that was closed is found this late, and looking costs a tenth."""


@dataclass(frozen=True, slots=True)
class Engine:
    """One kind of engine, as one client has used it so far.

    Attributes:
        busy: Nanoseconds, or cycles where ``total`` is known.
        total: Cycles that the GPU counted so far; None where ``busy`` is a time.
        capacity: How many engines of this kind there are.
    """

    busy: int
    total: int | None = None
    capacity: int = 1


@dataclass(frozen=True, slots=True)
class Client:
    """One open file of a GPU, as the kernel describes it.

    Attributes:
        device: PCI address, or the driver's name for a GPU that is not on PCI.
        client_id: Unique on its device; None on kernels that do not tell.
        memory_bytes: By the driver's name of the region: what has memory behind it now.
    """

    driver: str
    device: str
    client_id: int | None
    engines: Mapping[str, Engine]
    memory_bytes: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class ClientUse:
    """What one process does with one GPU through one open file.

    Attributes:
        percent_by_engine: Since the last scan; None for the first one, which starts measuring.
    """

    pid: int
    process: Identity
    client: Client
    percent_by_engine: Mapping[str, float] | None


def parse_fdinfo(text: bytes) -> Client | None:
    """Read one file; None where it is not of a GPU. What is malformed in it is left out."""
    values: dict[tuple[bytes, str], tuple[bytes, bytes]] = {
        (kind, name.decode("ascii", "replace")): (value, unit)
        for kind, name, value, unit in _LINE.findall(text)
    }
    driver, _ = values.get((b"driver", ""), (b"", b""))
    if not driver:
        return None
    device, _ = values.get((b"pdev", ""), (driver, b""))
    return Client(
        driver=driver.decode("utf-8", "replace"),
        device=device.decode("utf-8", "replace").lower(),
        client_id=_number(values.get((b"client-id", ""), (b"", b""))[0]),
        engines=_engines(values),
        memory_bytes=_memory_bytes(values),
    )


def _engines(values: Mapping[tuple[bytes, str], tuple[bytes, bytes]]) -> dict[str, Engine]:
    """Time where the driver counts it, else cycles with what they are a share of."""
    engines = {}
    for kind, name in values:
        if kind not in (b"engine", b"cycles") or not name or name in engines:
            continue
        capacity = _number(values.get((b"engine-capacity", name), (b"1", b""))[0]) or 1
        busy_ns, unit = values.get((b"engine", name), (b"", b""))
        busy = _number(busy_ns) if unit in (b"ns", b"") else None
        total = None
        if busy is None:
            busy = _number(values.get((b"cycles", name), (b"", b""))[0])
            total = _number(values.get((b"total-cycles", name), (b"", b""))[0])
            if total is None:
                continue
        if busy is not None:
            engines[name] = Engine(busy, total, capacity)
    return engines


def _memory_bytes(values: Mapping[tuple[bytes, str], tuple[bytes, bytes]]) -> dict[str, int]:
    """``resident``, else its old name ``memory``; ``total`` may count what was never filled."""
    regions: dict[str, int] = {}
    for wanted in (b"total", b"memory", b"resident"):
        for (kind, name), (value, unit) in values.items():
            number = _number(value)
            if kind == wanted and name and number is not None and unit in _UNIT_BYTES:
                regions[name] = min(number * _UNIT_BYTES[unit], _MOST)
    return regions


def _number(digits: bytes) -> int | None:
    if not digits.isdigit() or len(digits) > len(str(_MOST)):
        return None
    return min(int(digits), _MOST)


class FdinfoScanner:
    """Finds the open GPU files of all processes, and what was done through them.

    Attributes:
        hidden_processes: How many processes the last scan could not look into for lack of rights.
    """

    def __init__(
        self, proc_root: Path = PROC, clock_s: Callable[[], float] = time.monotonic
    ) -> None:
        self.hidden_processes = 0
        self._root = str(proc_root)
        self._clock_s = clock_s
        self._looks: dict[int, _Look] = {}
        self._meters: dict[ClientKey, _Meter] = {}

    @property
    def hidden_reason(self) -> str:
        """For a person; empty where nothing is hidden."""
        if not self.hidden_processes:
            return ""
        return (
            f"{self.hidden_processes} processes of other users cannot be seen: needs root, or "
            "CAP_SYS_PTRACE with CAP_DAC_READ_SEARCH"
        )

    def scan(self, nodes: Collection[str]) -> tuple[ClientUse, ...]:
        """Look at all processes once.

        Args:
            nodes: Names of the device files that may be looked at: ``card0``, ``renderD128``.
                Leave out those of sleeping GPUs: some drivers wake them up for their counters.

        Returns:
            One entry per client, with the process of the lowest pid that holds it.
        """
        self._looks = self._looked()
        self.hidden_processes = sum(look.is_hidden for look in self._looks.values())
        uses: dict[ClientKey, ClientUse] = {}
        meters: dict[ClientKey, _Meter] = {}
        for pid, look in self._looks.items():
            for fd, node in look.files:
                if node not in nodes or look.process is None:
                    continue
                try:
                    client = client_at(f"{self._root}/{pid}", fd, node)
                except OSError:
                    continue
                if client is None:
                    continue
                key = client_key(client, pid, fd)
                if key in uses:
                    continue
                owner = (pid, look.process.started)
                meter = self._meters.get(key)
                if meter is None or meter.owner != owner:
                    meter = _Meter(owner)
                meters[key] = meter
                percents = meter.percent_by_engine(client.engines, self._clock_s())
                uses[key] = ClientUse(pid, look.process, client, percents)
        self._meters = meters
        return tuple(uses.values())

    def _looked(self) -> dict[int, _Look]:
        """The processes that there are now; those that were seen lately as they were then."""
        now_s = self._clock_s()
        looks = {}
        for pid, inode in _pids(self._root):
            look = self._looks.get(pid)
            if look is None or look.inode != inode or now_s >= look.again_s:
                same = look if look is not None and look.inode == inode else None
                look = _look(self._root, pid, inode, now_s, same)
            looks[pid] = look
        return looks


ClientKey = tuple[str, int | str]
"""Device, and the client's number on it; pid and descriptor where the kernel gives it none."""


def client_key(client: Client, pid: int, fd: str) -> ClientKey:
    """One client may be open many times, also in several processes."""
    alone = f"{pid}/{fd}"
    return client.device, alone if client.client_id is None else client.client_id


def client_at(folder: str, fd: str, node: str) -> Client | None:
    """What a process did through one open file of the GPU whose device file is ``node``.

    Args:
        folder: Of the process.
        fd: Number of the open file.
        node: ``card0``, ``renderD128``.

    Returns:
        None where the file was closed, and perhaps another opened by its number, since.

    Raises:
        OSError: It ended meanwhile, or we have no right to see it.
    """
    if gpu_node(f"{folder}/fd/{fd}") != node:
        return None
    return parse_fdinfo(_read(f"{folder}/fdinfo/{fd}"))


class _Meter:
    """Turns the counters of one client into shares of time.

    Counters may step back: the greatest value that was seen stands until they catch up.
    """

    def __init__(self, owner: tuple[int, int]) -> None:
        self.owner = owner
        self._since_s: float | None = None
        self._since: dict[str, Engine] = {}

    def percent_by_engine(
        self, engines: Mapping[str, Engine], now_s: float
    ) -> Mapping[str, float] | None:
        """Since the last call that measured; None where the time is too short to tell."""
        if self._since_s is None:
            self._since_s, self._since = now_s, dict(engines)
            return None
        span_s = now_s - self._since_s
        if span_s < _LEAST_SPAN_S:
            return None
        percents = {}
        for name, engine in engines.items():
            before = self._since.get(name, engine)
            percents[name] = _percent(before, engine, span_s)
            self._since[name] = _greatest(before, engine)
        self._since_s = now_s
        return percents


def _percent(before: Engine, now: Engine, span_s: float) -> float:
    busy = max(0, now.busy - before.busy)
    if now.total is None or before.total is None:
        whole = span_s * 1e9
    else:
        whole = float(max(0, now.total - before.total))
    return 100 * min(1.0, busy / (whole * now.capacity)) if whole > 0 else 0.0


def _greatest(before: Engine, now: Engine) -> Engine:
    total = None if now.total is None else max(before.total or 0, now.total)
    return Engine(max(before.busy, now.busy), total, now.capacity)


@dataclass(frozen=True, slots=True)
class _Look:
    """What a process had open when it was looked at.

    Attributes:
        inode: Of its folder: the kernel makes a new one for each process, and listing /proc
            tells it for nothing, where the start time costs a file each.
        process: Known for those that have GPU files.
        files: Descriptor and node of its GPU files.
        again_s: When to look again.
        others: Descriptors that led elsewhere; of a process without GPU files.
        others_until_s: How long that is believed.
    """

    inode: int
    again_s: float
    process: Identity | None = None
    files: tuple[tuple[str, str], ...] = field(default=())
    is_hidden: bool = False
    others: frozenset[str] = frozenset()
    others_until_s: float = float("-inf")


def _look(root: str, pid: int, inode: int, now_s: float, before: _Look | None) -> _Look:
    # Spread, so that processes that were found together are not all looked at together again.
    spread = (1 + pid * 0.618 % 1) / 2
    again_s = now_s + _LOOK_AGAIN_S * spread
    folder = f"{root}/{pid}/fd"
    try:
        descriptors = os.listdir(folder)
    except PermissionError:
        return _Look(inode, again_s, is_hidden=_is_program(f"{root}/{pid}"))
    except OSError:
        return _Look(inode, again_s)
    others, until_s = frozenset[str](), now_s + _LOOK_AGAIN_AT_ALL_S * spread
    if before is not None and now_s < before.others_until_s:
        others, until_s = before.others, before.others_until_s
    files = tuple(
        (fd, node)
        for fd in descriptors
        if fd not in others and (node := gpu_node(f"{folder}/{fd}"))
    )
    if not files:
        return _Look(inode, again_s, others=frozenset(descriptors), others_until_s=until_s)
    return _Look(inode, now_s + _LOOK_AGAIN_AT_USERS_S, identity(pid, Path(root)), files)


def _is_program(folder: str) -> bool:
    """Whether it is more than a thread of the kernel, which uses no GPU and has no arguments."""
    try:
        return bool(_read(f"{folder}/cmdline"))
    except OSError:
        return False


def _pids(root: str) -> list[tuple[int, int]]:
    """Process ids in ascending order, with the inodes of their folders."""
    try:
        with os.scandir(root) as entries:
            return sorted((int(e.name), e.inode()) for e in entries if e.name.isdecimal())
    except OSError:
        return []


def gpu_node(link: str) -> str:
    """The GPU's device file that a descriptor leads to; empty for any other.

    The link is read and the file is not asked: one on a dead network drive would block. Seen from
    outside of a container, its ``/dev`` may be missing from the path.
    """
    try:
        target = os.readlink(link)
    except OSError:
        return ""
    folder, _, name = target.rpartition("/")
    return name if folder.endswith("/dri") and _NODE.fullmatch(name) else ""


def _read(path: str) -> bytes:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return os.read(descriptor, _MOST_TEXT_BYTES)
    finally:
        os.close(descriptor)
