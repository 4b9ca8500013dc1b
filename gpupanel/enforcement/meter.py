"""What counts GPU time; ``gpu_time`` has one for each kind of driver."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from gpupanel.enforcement.cell import Cell, ProcessKey


class Meter(Protocol):
    """Counts for one cell, always the same. Belongs to one thread.

    Whoever is added to the cell is told of right before; children that it has later need no word.
    """

    @property
    def capacity(self) -> float:
        """GPU seconds a second that all of its devices can give together: one each."""

    def admit(self, processes: Collection[ProcessKey], whole_life: bool) -> None:
        """Count these too; with ``whole_life``, what they used before as well.

        Raises:
            HoldFailed: They cannot be counted.
        """

    def used_s(self, cell: Cell, now_s: float) -> float:
        """GPU seconds that the cell used so far; never falls, and the dead keep what they used.

        Raises:
            HoldFailed: It cannot be read now.
        """

    def close(self) -> None:
        """Let go of the driver."""
