"""What a test of memory found, as values and in words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING

import numpy as np  # noqa: TID253 - worker process only

if TYPE_CHECKING:
    from numpy.typing import NDArray

MIB = 1 << 20
SHOWN_FAULTS = 3


@dataclass(frozen=True, slots=True, order=True)
class Fault:
    """One faulty word; the offset counts through all memory under test."""

    offset_bytes: int
    expected: int
    found: int

    def __str__(self) -> str:
        return f"{self.offset_bytes:#x}: {self.expected:#010x} expected, {self.found:#010x} found"


@dataclass(frozen=True, slots=True)
class Findings:
    """Faults of one or more parts of the memory; at least one.

    Attributes:
        faulty_words: All of them.
        lowest_bytes: Offset of the lowest faulty word.
        highest_bytes: Offset of the highest one.
        rises: How often each of the 32 bits was 1 instead of 0, in words that were looked at
            closely: all if they are few.
        falls: How often it was 0 instead of 1.
        faults: Some of them, lowest first.
    """

    faulty_words: int
    lowest_bytes: int
    highest_bytes: int
    rises: NDArray[np.int64]
    falls: NDArray[np.int64]
    faults: tuple[Fault, ...]

    def joined(self, other: Findings) -> Findings:
        """Both together."""
        return Findings(
            self.faulty_words + other.faulty_words,
            min(self.lowest_bytes, other.lowest_bytes),
            max(self.highest_bytes, other.highest_bytes),
            self.rises + other.rises,
            self.falls + other.falls,
            tuple(sorted(self.faults + other.faults)),
        )

    def __str__(self) -> str:
        plural = "" if self.faulty_words == 1 else "s"
        where = f"from {self.lowest_bytes:#x} to {self.highest_bytes:#x}"
        examples = ", ".join(map(str, self.faults[:SHOWN_FAULTS]))
        bits = f"bits 0 to 1: {_histogram(self.rises)}; 1 to 0: {_histogram(self.falls)}"
        return f"{self.faulty_words} faulty word{plural} {where}; {examples}; {bits}"


def all_of(findings: Iterable[Findings]) -> Findings | None:
    """Joined into one; None of none."""
    listed = list(findings)
    return reduce(Findings.joined, listed) if listed else None


def readings_of(findings: Findings | None) -> Mapping[str, float]:
    """Offsets and bits are told only where there are faults."""
    if findings is None:
        return {"faulty_words": 0}
    return {
        "faulty_words": findings.faulty_words,
        "bit_positions": int(np.count_nonzero(findings.rises + findings.falls)),
        "bits_0_to_1": int(findings.rises.sum()),
        "bits_1_to_0": int(findings.falls.sum()),
        "lowest_fault_mib": findings.lowest_bytes / MIB,
        "highest_fault_mib": findings.highest_bytes / MIB,
    }


def _histogram(counts: NDArray[np.int64]) -> str:
    """``3 (2 times), 17 (once)``."""
    parts = [
        f"{bit} ({'once' if counts[bit] == 1 else f'{counts[bit]} times'})"
        for bit in np.flatnonzero(counts)
    ]
    return ", ".join(parts) or "none"
