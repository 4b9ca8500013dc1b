"""What bounds a load: the device's measured ceilings, and what one unit of work costs of each.

The roofline of Williams, Waterman and Patterson (2009), with as many roofs as matter here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Ceiling(StrEnum):
    """A rate that the device cannot exceed; all are measured on it shortly before a run."""

    COPY = "copy"
    """Bytes per second, read and written together, one address after the other."""

    READ = "read"
    """Bytes per second, read one address after the other."""

    RANDOM_128B = "random_128b"
    """Bytes per second, read in aligned blocks of 128 bytes at random addresses."""

    RANDOM_32B = "random_32b"
    """Bytes per second, read in aligned blocks of 32 bytes at random addresses."""

    FP32 = "fp32"
    """Floating point operations per second; a multiply-add is two."""

    INT32 = "int32"
    """32-bit integer operations per second: add, shift, exclusive or, in equal parts."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What one unit of a load's work needs at least.

    Attributes:
        amounts: Bytes or operations per unit, for each ceiling that may bound the load.
        footprint_bytes: Memory that its random reads are spread over; the ceilings of random
            reads are measured over as much, since caches make small tables fast. 0: none.
    """

    amounts: Mapping[Ceiling, float]
    footprint_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Limit:
    """The most that the device could do of a load.

    Attributes:
        per_s: Units of work per second.
        ceiling: What binds first.
    """

    per_s: float
    ceiling: Ceiling


def limit_of(cost: Cost, per_s: Mapping[Ceiling, float]) -> Limit | None:
    """The lowest roof over ``cost``; None when no ceiling that it touches was measured.

    Args:
        cost: Of the load.
        per_s: Measured ceilings, bytes or operations per second.
    """
    roofs = [
        Limit(per_s[ceiling] / amount, ceiling)
        for ceiling, amount in cost.amounts.items()
        if ceiling in per_s and amount > 0
    ]
    return min(roofs, key=lambda roof: roof.per_s, default=None)
