"""What holds a process tree still and lets it go again, whatever the system offers for it.

A cell is made for one hold. It changes nothing until ``freeze`` is called, and everything that it
changed can be undone from its ``trace`` alone, by another process, after this one died.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

ProcessKey = tuple[int, int]
"""Pid and start: a pid alone is used again."""

Trace = Mapping[str, Any]
"""What ``restore`` needs to let go of everything in a cell: JSON, of this boot."""


@dataclass(frozen=True, slots=True)
class Means:
    """How processes are held here.

    Attributes:
        label: For a person: ``cgroup v2 freezer``.
        is_best_effort: The processes can undo it; ``label`` says so too.
    """

    label: str
    is_best_effort: bool = False


class Cell(Protocol):
    """Some processes and all their children from now on. Belongs to one thread."""

    @property
    def means(self) -> Means:
        """How this cell holds."""

    @property
    def trace(self) -> Trace:
        """What ``restore`` needs; written down before the first ``freeze``, and after ``add``."""

    def add(self, processes: Collection[ProcessKey]) -> None:
        """Take these in, with the children that they have later; who is gone is left out.

        Raises:
            HoldFailed: One that lives could not be taken in.
        """

    def members(self) -> frozenset[ProcessKey]:
        """Who lives in it now."""

    def freeze(self) -> None:
        """Hold everybody in it; frozen already is well, and costs a write to the kernel at most.

        A dead-man may have let them go meanwhile, so whoever wants them held asks each time.

        Raises:
            HoldFailed: They go on running.
        """

    def thaw(self) -> None:
        """Let everybody in it run.

        Raises:
            HoldFailed: Somebody may still be held.
        """

    def cpu_s(self) -> float:
        """Processor time since the cell was made, of the dead too; never falls."""

    def kill(self) -> None:
        """End everybody in it at once."""

    def close(self) -> None:
        """Let go of everybody, put them back where they came from, leave nothing behind.

        Whose place is gone stays where it is, and runs.

        Raises:
            HoldFailed: Somebody may still be held.
        """


class Freezer(Protocol):
    """Makes cells by the best means that this system and our rights allow."""

    def cell(self, name: str) -> Cell:
        """An empty cell.

        Args:
            name: Letters, digits and hyphens; ours alone, unique among living cells.

        Raises:
            HoldFailed: There is no way to hold a process here; the text says what is missing.
        """
