"""What the memory test writes, and in which order: no OpenCL, so that the host can predict it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from enum import IntEnum
from itertools import count
from typing import TYPE_CHECKING

import numpy as np  # noqa: TID253 - worker process only

if TYPE_CHECKING:
    from numpy.typing import NDArray

GRANULE_BYTES = 1 << 20
GRANULE_WORDS = GRANULE_BYTES // 4
ONES = 2**32 - 1

INVERSIONS = (0x00000000, 0xAAAAAAAA, 0xCCCCCCCC, 0xF0F0F0F0, 0xFF00FF00)
"""Each bit against its neighbours at a distance of 1, 2, 4 and 8."""

MODULO = 20
TURNED_WORDS = 16


class Kind(IntEnum):
    """Kinds of patterns, as in diagnostics_memory.cl."""

    CONSTANT = 0
    ADDRESS = 1
    WALKING = 2
    RANDOM = 3
    MODULO = 4
    MOVED = 5


@dataclass(frozen=True, slots=True)
class Pattern:
    """What each word of a buffer holds.

    Attributes:
        value: What it means depends on the kind; 32 bits.
        complement: 0, or ONES to turn every bit around.
    """

    kind: Kind
    value: int = 0
    complement: int = 0

    def turned(self) -> Pattern:
        """Every bit the other way round."""
        return replace(self, complement=self.complement ^ ONES)

    def in_buffer(self, number: int) -> Pattern:
        """The same in the buffer of that number: the same index has another address there."""
        if self.kind is not Kind.ADDRESS:
            return self
        return replace(self, value=(self.value + number * 0x9E3779B1) % 2**32)

    def words(self, first: int, count: int) -> NDArray[np.uint32]:
        """Words ``first`` to ``first + count - 1`` of a buffer."""
        i = np.arange(first, first + count).astype(np.uint32)
        value = np.uint32(self.value)
        match self.kind:
            case Kind.CONSTANT:
                plain = np.full(count, value)
            case Kind.ADDRESS:
                plain = i + value
            case Kind.WALKING:
                plain = np.uint32(1) << ((i + value) & np.uint32(31))
            case Kind.RANDOM:
                plain = _mixed(i ^ value)
            case Kind.MODULO:
                plain = np.where(i % np.uint32(MODULO) == value, np.uint32(ONES), np.uint32(0))
            case Kind.MOVED:
                plain = _mixed(_before_moves(i) ^ value)
        return plain ^ np.uint32(self.complement)


class Action(IntEnum):
    """What one sweep does with each granule."""

    WRITE = 0
    CHECK = 1
    TURN = 2
    """Check, and write the complement."""

    WRITE_EVERY_20TH = 3
    WRITE_THE_OTHERS = 4
    MOVE_UP = 5
    MOVE_BACK = 6


BYTES_PER_GRANULE = {
    Action.WRITE: 1.0 * GRANULE_BYTES,
    Action.CHECK: 1.0 * GRANULE_BYTES,
    Action.TURN: 2.0 * GRANULE_BYTES,
    Action.WRITE_EVERY_20TH: GRANULE_BYTES / MODULO,
    Action.WRITE_THE_OTHERS: GRANULE_BYTES * (1 - 1 / MODULO),
    Action.MOVE_UP: 1.0 * GRANULE_BYTES,
    Action.MOVE_BACK: 1.0 * GRANULE_BYTES,
}
"""Read and written together."""


@dataclass(frozen=True, slots=True)
class Sweep:
    """One action on every granule of a part of the memory.

    Attributes:
        test: Its name, for a person.
        pattern: What is written, or must be there before.
        first: Granule.
        end: One more than the last granule.
        downwards: From the last granule to the first.
        ends_round: The last sweep of a round of all tests.
    """

    test: str
    action: Action
    pattern: Pattern
    first: int
    end: int
    downwards: bool = False
    ends_round: bool = False


def sweeps(granules: int, fade_s: float, seed: int, clock: Callable[[], float]) -> Iterator[Sweep]:
    """The whole test, without an end.

    With a bit fade, one half of the memory rests with all ones or all zeros in it while the other
    is tested, at least for ``fade_s``; then they change places. Nothing waits meanwhile.

    Args:
        granules: Of the memory; at least 2.
        fade_s: How long memory must keep its bits untouched; 0: no fade.
        seed: Of the random patterns.
        clock: Seconds.
    """
    middle = granules // 2 if fade_s else 0
    tested, resting = (middle, granules), (0, middle)
    rounds = count()
    for turn in count():
        fade = Pattern(Kind.CONSTANT, complement=0 if turn // 2 % 2 else ONES)
        if fade_s:
            yield Sweep("bit fade", Action.WRITE, fade, *resting)
        rested_s = clock() + fade_s
        while True:
            yield from _round(next(rounds), seed, *tested)
            if clock() >= rested_s:
                break
        if fade_s:
            yield Sweep("bit fade", Action.CHECK, fade, *resting)
            tested, resting = resting, tested


def _round(number: int, seed: int, first: int, end: int) -> Iterator[Sweep]:
    """All tests but the fade; what cannot be done at once differs from round to round."""
    random = (seed + number * 0x9E3779B9) % 2**32
    yield from _inversions("addresses", Pattern(Kind.ADDRESS), first, end)
    walking = Pattern(Kind.WALKING, number % 32)
    yield from _inversions("walking ones and zeros", walking, first, end)
    for value in INVERSIONS:
        constant = Pattern(Kind.CONSTANT, value)
        yield from _inversions(f"moving inversions {value:#010x}", constant, first, end)
    yield from _inversions("moving inversions random", Pattern(Kind.RANDOM, random), first, end)
    for complement in (0, ONES):
        modulo = Pattern(Kind.MODULO, number % MODULO, complement)
        for action in (Action.WRITE_EVERY_20TH, Action.WRITE_THE_OTHERS, Action.CHECK):
            yield Sweep("modulo 20", action, modulo, first, end)
    yield Sweep("block move", Action.WRITE, Pattern(Kind.RANDOM, random), first, end)
    moved = Pattern(Kind.MOVED, random)
    for action in (Action.MOVE_UP, Action.MOVE_BACK):
        yield Sweep("block move", action, moved, first, end)
    yield Sweep("block move", Action.CHECK, moved, first, end, ends_round=True)


def _inversions(test: str, pattern: Pattern, first: int, end: int) -> Iterator[Sweep]:
    """Write; then upwards and downwards find what is there and leave the opposite; find that."""
    yield Sweep(test, Action.WRITE, pattern, first, end)
    yield Sweep(test, Action.TURN, pattern, first, end)
    yield Sweep(test, Action.TURN, pattern.turned(), first, end, downwards=True)
    yield Sweep(test, Action.CHECK, pattern, first, end)


def _mixed(x: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """MurmurHash3's finaliser."""
    x = (x ^ x >> np.uint32(16)) * np.uint32(0x85EBCA6B)
    x = (x ^ x >> np.uint32(13)) * np.uint32(0xC2B2AE35)
    return x ^ x >> np.uint32(16)


def _before_moves(i: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Where the word that ends up at ``i`` came from."""
    half = GRANULE_WORDS // 2
    granule, within = np.divmod(i, np.uint32(GRANULE_WORDS))
    source = np.where(within >= half, within - np.uint32(half), (within - TURNED_WORDS) % half)
    return (granule * np.uint32(GRANULE_WORDS) + source).astype(np.uint32)
