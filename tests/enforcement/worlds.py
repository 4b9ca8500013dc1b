"""A made-up machine for the cap's arithmetic: a GPU with a queue, and clocks that a test moves.

A double, since no GPU is at hand: work that was handed over goes on while its process is held, as
on a real card; what the kernel does to processes is tested on real ones elsewhere.
"""

from __future__ import annotations

from collections.abc import Collection, Container, Mapping
from dataclasses import dataclass, field
from typing import Any

from gpupanel.enforcement.cell import Cell, Means, ProcessKey, Trace
from gpupanel.model.errors import HoldFailed


@dataclass
class World:
    """Time, and one GPU that works off what its processes hand to it."""

    now_s: float = 1000.0
    demand: float = 1.0
    batch_s: float = 0.01
    queued_s: float = 0.0
    used_s: float = 0.0
    is_running: bool = True
    sticks: bool = False

    def pass_s(self, seconds: float) -> None:
        """In steps that no batch is shorter than."""
        while seconds > 1e-12:
            step_s = min(seconds, self.batch_s / 4, 0.02)
            if self.is_running:
                self.queued_s = 2 * self.batch_s
                done_s = step_s * self.demand
            else:
                done_s = min(self.queued_s, step_s * self.demand)
                self.queued_s -= done_s
            self.used_s += done_s
            self.now_s += step_s
            seconds -= step_s


@dataclass
class ModelCell:
    """A cell of that machine."""

    world: World
    alive: Container[ProcessKey]
    name: str = "hold-1"
    means: Means = field(default_factory=lambda: Means("a model"))
    inside: set[ProcessKey] = field(default_factory=set)
    frozen: bool = False
    closed: bool = False
    freezes: int = 0

    @property
    def trace(self) -> Trace:
        return {"name": self.name}

    def add(self, processes: Collection[ProcessKey]) -> None:
        self.inside |= {one for one in processes if one in self.alive}

    def members(self) -> frozenset[ProcessKey]:
        return frozenset(self.inside)

    def freeze(self) -> None:
        assert not self.closed
        self.frozen, self.world.is_running = True, False
        self.freezes += 1

    def thaw(self) -> None:
        self.frozen, self.world.is_running = False, True

    def cpu_s(self) -> float:
        return self.world.used_s

    def kill(self) -> None:
        self.inside.clear()

    def close(self) -> None:
        if self.world.sticks:
            raise HoldFailed("the kernel does not let go")
        self.undo()

    def undo(self) -> None:
        """What another process does from the trace."""
        self.thaw()
        self.closed = True


class ModelMeter:
    """Tells all that the GPU did."""

    capacity = 1.0

    def __init__(self, world: World) -> None:
        self._world = world
        self.admitted: list[tuple[frozenset[ProcessKey], bool]] = []

    def admit(self, processes: Collection[ProcessKey], whole_life: bool) -> None:
        if processes:
            self.admitted.append((frozenset(processes), whole_life))

    def used_s(self, cell: Cell, now_s: float) -> float:
        return self._world.used_s


class ModelUndoing:
    """Remembers what would be undone."""

    def __init__(self) -> None:
        self.known: dict[str, Mapping[str, Any]] = {}

    def hold(self, name: str, trace: Trace, resume: Mapping[str, Any]) -> None:
        self.known[name] = resume

    def drop(self, name: str) -> None:
        self.known.pop(name, None)
