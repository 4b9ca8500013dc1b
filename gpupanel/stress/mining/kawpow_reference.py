"""KawPoW on the host, without OpenCL: the oracle that the device is compared with.

Written from the ProgPoW specification 0.9.4 (ifdefelse/ProgPOW, README.md) with the parameters of
Ravencoin, and from "The Keccak reference" 3.0. Everything is vectorised over nonces and lanes,
because the 64 rounds of a hash and the 512 parents of an item are serial.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence

import numpy as np  # noqa: TID253 - worker process only

from gpupanel.stress.mining.ethash_reference import (
    ITEM_BYTES,
    Hashed,
    Words,
    make_items,
    reduced_pages,
)
from gpupanel.stress.mining.kawpow_program import (
    PAGE_WORDS_PER_LANE,
    PERIOD_BLOCKS,
    REGISTERS,
    CacheRead,
    Math,
    Merge,
    Merging,
    Operation,
    Program,
)

EPOCH_BLOCKS = 7500
EPOCH_PERIODS = EPOCH_BLOCKS // PERIOD_BLOCKS
PARENTS = 512
PAGE_BYTES = 256
ROUNDS = 64
LANES = 16
CACHE_WORDS = 4096
_ITEMS_PER_PAGE = PAGE_BYTES // ITEM_BYTES
_PADDING = np.frombuffer(b"rAVENCOINKAWPOW", np.uint8).astype(np.uint32)
_FNV_BASIS = np.uint32(0x811C9DC5)
_FNV_PRIME = np.uint32(0x01000193)
_KECCAK_ROUNDS = 22


def pages_of(epoch: int, dag_mib: int) -> int:
    """Pages of 256 bytes in the table of Ethash's sizes, cut to ``dag_mib`` MiB; whole if 0."""
    return reduced_pages(epoch, dag_mib) // 2


def first_words(lines: Words) -> Words:
    """The 16 KiB at the beginning of the table, which every hash reads from all over."""
    return make_items(lines, np.arange(CACHE_WORDS // 16, dtype=np.uint32), PARENTS).ravel()


def kawpow_light(
    program: Program, header: bytes, nonces: Sequence[int], pages: int, lines: Words
) -> list[Hashed]:
    """Hash each nonce with each item made from the light cache when it is needed."""
    hashing = hashing_light(program, header, nonces, pages, lines)
    while True:
        try:
            next(hashing)
        except StopIteration as end:
            hashed: list[Hashed] = end.value
            return hashed


def hashing_light(
    program: Program, header: bytes, nonces: Sequence[int], pages: int, lines: Words
) -> Generator[None, None, list[Hashed]]:
    """``kawpow_light`` that pauses after each of the 64 rounds: all of them take some 0.2 s."""
    return _hashing(
        program, header, nonces, pages, first_words(lines),
        lambda indexes: make_items(lines, indexes, PARENTS),
    )  # fmt: skip


def pages_read(program: Program, header: bytes, nonce: int, pages: int, lines: Words) -> list[int]:
    """Which of the pages one hash reads; at most ROUNDS, in their order."""
    read: list[int] = []

    def items_at(indexes: Words) -> Words:
        read.append(int(indexes[0]) // _ITEMS_PER_PAGE)
        return make_items(lines, indexes, PARENTS)

    for _ in _hashing(program, header, [nonce], pages, first_words(lines), items_at):
        pass
    return sorted(set(read))


def _hashing(
    program: Program,
    header: bytes,
    nonces: Sequence[int],
    pages: int,
    cache: Words,
    items_at: Callable[[Words], Words],
) -> Generator[None, None, list[Hashed]]:
    absorbed = _absorb(np.frombuffer(header, "<u4"), nonces)
    mix = _filled(absorbed[0], absorbed[1])
    for number in range(ROUNDS):
        page = mix[0, :, number % LANES] % np.uint32(pages)
        _run(program, mix, cache, _page_words(page, number, items_at))
        yield
    digest = _digest(mix)
    padding = np.broadcast_to(_PADDING[:9, None], (9, len(nonces)))
    results = keccak_f800(np.concatenate((absorbed, digest, padding)))[:8]
    return [
        Hashed(nonce, digest[:, i].tobytes(), results[:, i].tobytes())
        for i, nonce in enumerate(nonces)
    ]


def _absorb(header: Words, nonces: Sequence[int]) -> Words:
    """The eight words that both the mix and the result grow from, shape (8, nonces)."""
    numbers = np.array(nonces, np.uint64)
    state = np.empty((25, len(nonces)), np.uint32)
    state[:8] = header[:, None]
    state[8] = numbers & np.uint64(0xFFFFFFFF)
    state[9] = numbers >> np.uint64(32)
    state[10:] = _PADDING[:, None]
    return keccak_f800(state)[:8]


def _filled(low: Words, high: Words) -> Words:
    """The registers before the first round, shape (REGISTERS, nonces, LANES)."""
    z = _fnv1a(_FNV_BASIS, low)[:, None]
    w = _fnv1a(z, high[:, None])
    lanes = np.arange(LANES, dtype=np.uint32)
    jsr = _fnv1a(w, lanes)
    jcong = _fnv1a(jsr, lanes)
    mix = np.empty((REGISTERS, len(low), LANES), np.uint32)
    for register in mix:
        z = np.uint32(36969) * (z & np.uint32(0xFFFF)) + (z >> np.uint32(16))
        w = np.uint32(18000) * (w & np.uint32(0xFFFF)) + (w >> np.uint32(16))
        jsr = jsr ^ jsr << np.uint32(17)
        jsr = jsr ^ jsr >> np.uint32(13)
        jsr = jsr ^ jsr << np.uint32(5)
        jcong = np.uint32(69069) * jcong + np.uint32(1234567)
        register[:] = ((z << np.uint32(16)) + w ^ jcong) + jsr
    return mix


def _page_words(page: Words, number: int, items_at: Callable[[Words], Words]) -> Words:
    """What each lane gets of a page, shape (PAGE_WORDS_PER_LANE, nonces, LANES)."""
    words = items_at(items_of(page).ravel()).reshape(len(page), LANES, PAGE_WORDS_PER_LANE)
    return words[:, np.arange(LANES) ^ number % LANES].transpose(2, 0, 1)


def items_of(pages: Words) -> Words:
    """The items that the pages consist of, shape (pages, 4)."""
    numbers = np.arange(_ITEMS_PER_PAGE, dtype=np.uint32)
    items: Words = pages[:, None] * np.uint32(_ITEMS_PER_PAGE) + numbers
    return items


def _run(program: Program, mix: Words, cache: Words, page: Words) -> None:
    for step in program.steps:
        if isinstance(step, CacheRead):
            _merge(mix, step.merge, cache[mix[step.index] % np.uint32(CACHE_WORDS)])
        else:
            _merge(mix, step.merge, _computed(step, mix))
    for merge, words in zip(program.page_merges, page, strict=True):
        _merge(mix, merge, words)


def _computed(step: Math, mix: Words) -> Words:
    result: Words = _ARITHMETIC[step.operation](mix[step.first], mix[step.second])
    return result


def _merge(mix: Words, merge: Merge, value: Words) -> None:
    register, bits = mix[merge.register], np.uint32(merge.bits)
    match merge.how:
        case Merging.TIMES_33_ADD:
            mix[merge.register] = register * np.uint32(33) + value
        case Merging.XOR_TIMES_33:
            mix[merge.register] = (register ^ value) * np.uint32(33)
        case Merging.ROTATE_LEFT_XOR:
            mix[merge.register] = _rotated(register, bits) ^ value
        case Merging.ROTATE_RIGHT_XOR:
            mix[merge.register] = _rotated(register, np.uint32(32) - bits) ^ value


def _rotated(words: Words, bits: Words | np.uint32) -> Words:
    """To the left, by ``bits`` modulo 32."""
    left = np.bitwise_and(bits, np.uint32(31))
    turned: Words = words << left | words >> (np.uint32(32) - left & np.uint32(31))
    return turned


def _high_product(a: Words, b: Words) -> Words:
    return (a.astype(np.uint64) * b >> np.uint64(32)).astype(np.uint32)


def _leading_zeros(words: Words) -> Words:
    """Frexp's exponent is the number of bits; exact, since a double holds 53 of them."""
    return (32 - np.frexp(words.astype(np.float64))[1]).astype(np.uint32)


def _ones(words: Words) -> Words:
    bits = np.unpackbits(words[..., None].view(np.uint8), axis=-1)
    ones: Words = bits.sum(axis=-1, dtype=np.uint32)
    return ones


_ARITHMETIC: dict[Operation, Callable[[Words, Words], Words]] = {
    Operation.ADD: np.add,
    Operation.MULTIPLY: np.multiply,
    Operation.MULTIPLY_HIGH: _high_product,
    Operation.MIN: np.minimum,
    Operation.ROTATE_LEFT: _rotated,
    Operation.ROTATE_RIGHT: lambda a, b: _rotated(a, np.uint32(32) - b),
    Operation.AND: np.bitwise_and,
    Operation.OR: np.bitwise_or,
    Operation.XOR: np.bitwise_xor,
    Operation.LEADING_ZEROS: lambda a, b: _leading_zeros(a) + _leading_zeros(b),
    Operation.ONES: lambda a, b: _ones(a) + _ones(b),
}


def _fnv1a(start: Words | np.uint32, word: Words) -> Words:
    mixed: Words = (start ^ word) * _FNV_PRIME
    return mixed


def _digest(mix: Words) -> Words:
    """Registers into one word per lane, lanes into eight words; shape (8, nonces)."""
    lanes: Words = np.full(mix.shape[1:], _FNV_BASIS)
    for register in mix:
        lanes = _fnv1a(lanes, register)
    halves = lanes.T.reshape(2, 8, -1)
    return _fnv1a(_fnv1a(_FNV_BASIS, halves[0]), halves[1])


def keccak_f800(state: Words) -> Words:
    """The permutation of 25 words of 32 bits; row x + 5 * y of ``state`` is word (x, y)."""
    rows = state.reshape(5, 5, -1)
    for constant in _round_constants():
        parity = np.bitwise_xor.reduce(rows, axis=0)
        rows = rows ^ (
            np.roll(parity, 1, axis=0) ^ _rotated(np.roll(parity, -1, axis=0), np.uint32(1))
        )
        turned = _rotated(rows.reshape(25, -1)[_PI], _RHO).reshape(5, 5, -1)
        rows = turned ^ (~np.roll(turned, -1, axis=1) & np.roll(turned, -2, axis=1))
        rows[0, 0] ^= constant
    return rows.reshape(25, -1)


def _round_constants() -> list[np.uint32]:
    """Bits 2^j - 1 of a word, for j up to 5, from the specification's shift register."""
    constants = []
    register = 1
    for _ in range(_KECCAK_ROUNDS):
        constant = 0
        for j in range(7):
            if register & 1 and j <= 5:
                constant |= 1 << (2**j - 1)
            register = register << 1 ^ (0x171 if register & 0x80 else 0)
        constants.append(np.uint32(constant))
    return constants


def _moves() -> tuple[list[int], Words]:
    """For each word after pi: where it was, and by how much rho turned it."""
    origin, turns = [0] * 25, np.zeros((25, 1), np.uint32)
    x, y = 1, 0
    for t in range(24):
        target = y + 5 * ((2 * x + 3 * y) % 5)
        origin[target] = x + 5 * y
        turns[target] = (t + 1) * (t + 2) // 2 % 32
        x, y = y, (2 * x + 3 * y) % 5
    return origin, turns


_PI, _RHO = _moves()
