"""The random program of a KawPoW period: drawn from its number, and written as OpenCL C.

Written from the ProgPoW specification 0.9.4 (ifdefelse/ProgPOW, README.md) with the parameters of
Ravencoin. Standard library only.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

PERIOD_BLOCKS = 3
REGISTERS = 32
PAGE_WORDS_PER_LANE = 4
_CACHE_READS = 11
_MATH_OPERATIONS = 18
_FNV_BASIS = 0x811C9DC5
_FNV_PRIME = 0x01000193
_MASK = 0xFFFFFFFF


class Operation(Enum):
    """Of two registers; in the order of the specification, which draws them by number."""

    ADD = "({a} + {b})"
    MULTIPLY = "{a} * {b}"
    MULTIPLY_HIGH = "high_product({a}, {b})"
    MIN = "min({a}, {b})"
    ROTATE_LEFT = "rotated_left({a}, {b})"
    ROTATE_RIGHT = "rotated_right({a}, {b})"
    AND = "({a} & {b})"
    OR = "({a} | {b})"
    XOR = "({a} ^ {b})"
    LEADING_ZEROS = "(zeros_before({a}) + zeros_before({b}))"
    ONES = "(ones_in({a}) + ones_in({b}))"


class Merging(Enum):
    """How a value enters a register; in the order of the specification."""

    TIMES_33_ADD = "{to} * 33 + {value}"
    XOR_TIMES_33 = "({to} ^ {value}) * 33"
    ROTATE_LEFT_XOR = "LEFT({to}, {bits}) ^ {value}"
    ROTATE_RIGHT_XOR = "RIGHT({to}, {bits}) ^ {value}"


_OPERATIONS = tuple(Operation)
_MERGINGS = tuple(Merging)


@dataclass(frozen=True, slots=True)
class Merge:
    """The register that a value enters, and how.

    Attributes:
        bits: Of the rotation, 1 to 31, for the mergings that rotate.
    """

    register: int
    how: Merging
    bits: int

    @classmethod
    def drawn(cls, register: int, selector: int) -> Merge:
        """As the specification cuts up a random number."""
        return cls(register, _MERGINGS[selector % 4], (selector >> 16) % 31 + 1)


@dataclass(frozen=True, slots=True)
class CacheRead:
    """The word of the 16 KiB cache that register ``index`` points at."""

    index: int
    merge: Merge


@dataclass(frozen=True, slots=True)
class Math:
    """An operation on two different registers."""

    first: int
    second: int
    operation: Operation
    merge: Merge


@dataclass(frozen=True, slots=True)
class Program:
    """What every round of every hash of a period does.

    Attributes:
        period: Block height over PERIOD_BLOCKS.
        steps: In their order.
        page_merges: Where the four words go that a lane has of the round's page.
    """

    period: int
    steps: tuple[CacheRead | Math, ...]
    page_merges: tuple[Merge, ...]


class Kiss99:
    """Marsaglia's generator of 1999; iterating gives 32-bit numbers."""

    def __init__(self, z: int, w: int, jsr: int, jcong: int) -> None:
        self._z, self._w, self._jsr, self._jcong = z, w, jsr, jcong

    def __iter__(self) -> Iterator[int]:
        return self

    def __next__(self) -> int:
        self._z = (36969 * (self._z & 0xFFFF) + (self._z >> 16)) & _MASK
        self._w = (18000 * (self._w & 0xFFFF) + (self._w >> 16)) & _MASK
        self._jsr ^= (self._jsr << 17) & _MASK
        self._jsr ^= self._jsr >> 13
        self._jsr ^= (self._jsr << 5) & _MASK
        self._jcong = (69069 * self._jcong + 1234567) & _MASK
        return ((((self._z << 16) + self._w) ^ self._jcong) + self._jsr) & _MASK


def fnv1a(start: int, word: int) -> int:
    """One step of FNV-1a on a 32-bit word."""
    return ((start ^ word) * _FNV_PRIME) & _MASK


def program_of(period: int) -> Program:
    """Draw the program of a period."""
    low, high = period & _MASK, period >> 32
    z = fnv1a(_FNV_BASIS, low)
    w = fnv1a(z, high)
    jsr = fnv1a(w, low)
    numbers = Kiss99(z, w, jsr, fnv1a(jsr, high))
    targets, sources = _shuffled_registers(numbers)
    steps: list[CacheRead | Math] = []
    for i in range(max(_CACHE_READS, _MATH_OPERATIONS)):
        if i < _CACHE_READS:
            source, target = next(sources), next(targets)
            steps.append(CacheRead(source, Merge.drawn(target, next(numbers))))
        if i < _MATH_OPERATIONS:
            steps.append(_drawn_math(numbers, targets))
    # Register 0 chooses the next page, so it always takes in some of this one.
    page_merges = tuple(
        Merge.drawn(next(targets) if i else 0, next(numbers)) for i in range(PAGE_WORDS_PER_LANE)
    )
    return Program(period, tuple(steps), page_merges)


def _shuffled_registers(numbers: Kiss99) -> tuple[Iterator[int], Iterator[int]]:
    """Two endless walks over all registers, one of targets and one of sources."""
    targets, sources = list(range(REGISTERS)), list(range(REGISTERS))
    for i in range(REGISTERS - 1, 0, -1):
        for order in (targets, sources):
            j = next(numbers) % (i + 1)
            order[i], order[j] = order[j], order[i]
    return _endless(targets), _endless(sources)


def _endless(order: list[int]) -> Iterator[int]:
    while True:
        yield from order


def _drawn_math(numbers: Kiss99, targets: Iterator[int]) -> Math:
    second, first = divmod(next(numbers) % (REGISTERS * (REGISTERS - 1)), REGISTERS)
    if second >= first:
        second += 1
    operation = _OPERATIONS[next(numbers) % len(_OPERATIONS)]
    return Math(first, second, operation, Merge.drawn(next(targets), next(numbers)))


def opencl_source(program: Program) -> str:
    """The program as ``kernels/kawpow_program.cl`` has that of period 0."""
    first = program.period * PERIOD_BLOCKS
    lines = [
        f"// The random program of period {program.period}: blocks {first} to {first + 2}.",
        "// Generated by gpupanel/stress/mining/kawpow_program.py; the file itself is period 0.",
        "",
        "static void run_program(part *mix, CACHE_SPACE const uint *cache, const part *page)",
        "{",
        *(f"    {_statement(step)}" for step in program.steps),
        *(
            f"    {_merged(merge, f'page[{i}]')}"
            for i, merge in enumerate(program.page_merges)
        ),
        "}",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def _statement(step: CacheRead | Math) -> str:
    if isinstance(step, CacheRead):
        return _merged(step.merge, f"cached(cache, mix[{step.index}])")
    operands = {"a": f"mix[{step.first}]", "b": f"mix[{step.second}]"}
    return _merged(step.merge, step.operation.value.format(**operands))


def _merged(merge: Merge, value: str) -> str:
    register = f"mix[{merge.register}]"
    return f"{register} = {merge.how.value.format(to=register, value=value, bits=merge.bits)};"
