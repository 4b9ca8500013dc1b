"""KawPoW a second time, lane by lane in plain integers: for what no published answer covers.

It follows the text of the ProgPoW specification 0.9.4 and shares nothing with the product, neither
the drawing of programs nor Keccak.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

MASK = 0xFFFFFFFF
BASIS = 0x811C9DC5
TEXT = b"rAVENCOINKAWPOW"
# Keccak-f[800], "The Keccak reference" 3.0: low halves of the round constants; offsets by x, y.
CONSTANTS = [
    0x00000001, 0x00008082, 0x0000808A, 0x80008000, 0x0000808B, 0x80000001, 0x80008081,
    0x00008009, 0x0000008A, 0x00000088, 0x80008009, 0x8000000A, 0x8000808B, 0x0000008B,
    0x00008089, 0x00008003, 0x00008002, 0x00000080, 0x0000800A, 0x8000000A, 0x80008081,
    0x00008080,
]  # fmt: skip
OFFSETS = [
    [0, 36, 3, 41, 18], [1, 44, 10, 45, 2], [62, 6, 43, 15, 61],
    [28, 55, 25, 21, 56], [27, 20, 39, 8, 14],
]  # fmt: skip


def rotl(x: int, n: int) -> int:
    n %= 32
    return (x << n | x >> (32 - n)) & MASK


def fnv1a(h: int, d: int) -> int:
    return (h ^ d) * 0x1000193 & MASK


def keccak_f800(words: list[int]) -> list[int]:
    a = [[words[x + 5 * y] for y in range(5)] for x in range(5)]
    for constant in CONSTANTS:
        c = [a[x][0] ^ a[x][1] ^ a[x][2] ^ a[x][3] ^ a[x][4] for x in range(5)]
        d = [c[(x - 1) % 5] ^ rotl(c[(x + 1) % 5], 1) for x in range(5)]
        b = [[0] * 5 for _ in range(5)]
        for x in range(5):
            for y in range(5):
                b[y][(2 * x + 3 * y) % 5] = rotl(a[x][y] ^ d[x], OFFSETS[x][y])
        a = [
            [b[x][y] ^ (~b[(x + 1) % 5][y] & b[(x + 2) % 5][y] & MASK) for y in range(5)]
            for x in range(5)
        ]
        a[0][0] ^= constant
    return [a[i % 5][i // 5] for i in range(25)]


def kiss99(z: int, w: int, jsr: int, jcong: int) -> Iterator[int]:
    while True:
        z = (36969 * (z % 65536) + z // 65536) & MASK
        w = (18000 * (w % 65536) + w // 65536) & MASK
        jsr ^= jsr << 17 & MASK
        jsr ^= jsr >> 13
        jsr ^= jsr << 5 & MASK
        jcong = (69069 * jcong + 1234567) & MASK
        yield ((((z << 16) + w & MASK) ^ jcong) + jsr) & MASK


def math(a: int, b: int, r: int) -> int:
    results: list[Callable[[], int]] = [
        lambda: a + b,
        lambda: a * b,
        lambda: a * b >> 32,
        lambda: min(a, b),
        lambda: rotl(a, b),
        lambda: rotl(a, -b),
        lambda: a & b,
        lambda: a | b,
        lambda: a ^ b,
        lambda: 64 - a.bit_length() - b.bit_length(),
        lambda: a.bit_count() + b.bit_count(),
    ]
    return results[r % 11]() & MASK


def merge(a: int, b: int, r: int) -> int:
    turn = (r >> 16) % 31 + 1
    results = [a * 33 + b, (a ^ b) * 33, rotl(a, turn) ^ b, rotl(a, -turn) ^ b]
    return results[r % 4] & MASK


def kawpow(
    period: int, header: bytes, nonce: int, pages: int, word: Callable[[int], int]
) -> tuple[bytes, bytes]:
    """Mix and result over a table of ``pages`` times 64 words."""
    absorbed = keccak_f800(
        [int.from_bytes(header[i : i + 4], "little") for i in range(0, 32, 4)]
        + [nonce & MASK, nonce >> 32, *TEXT]
    )[:8]
    mix = []
    for lane in range(16):
        z = fnv1a(BASIS, absorbed[0])
        w = fnv1a(z, absorbed[1])
        jsr = fnv1a(w, lane)
        numbers = kiss99(z, w, jsr, fnv1a(jsr, lane))
        mix.append([next(numbers) for _ in range(32)])
    for loop in range(64):
        _loop(period, loop, mix, pages, word)
    digest = [BASIS] * 8
    for lane in range(16):
        hashed = BASIS
        for register in mix[lane]:
            hashed = fnv1a(hashed, register)
        digest[lane % 8] = fnv1a(digest[lane % 8], hashed)
    result = keccak_f800([*absorbed, *digest, *TEXT[:9]])[:8]
    return _bytes(digest), _bytes(result)


def _loop(
    period: int, loop: int, mix: list[list[int]], pages: int, word: Callable[[int], int]
) -> None:
    z = fnv1a(BASIS, period & MASK)
    w = fnv1a(z, period >> 32)
    jsr = fnv1a(w, period & MASK)
    rnd = kiss99(z, w, jsr, fnv1a(jsr, period >> 32))
    dst, src = list(range(32)), list(range(32))
    for i in range(31, 0, -1):
        j = next(rnd) % (i + 1)
        dst[i], dst[j] = dst[j], dst[i]
        j = next(rnd) % (i + 1)
        src[i], src[j] = src[j], src[i]
    dst, src = dst * 2, src * 2
    page = mix[loop % 16][0] % pages
    for i in range(18):
        if i < 11:
            s, d, r = src.pop(0), dst.pop(0), next(rnd)
            for lane in mix:
                lane[d] = merge(lane[d], word(lane[s] % 4096), r)
        pair, r1 = next(rnd) % (32 * 31), next(rnd)
        a, b = pair % 32, pair // 32
        b += b >= a
        d, r2 = dst.pop(0), next(rnd)
        for lane in mix:
            lane[d] = merge(lane[d], math(lane[a], lane[b], r1), r2)
    for i in range(4):
        d, r = (dst.pop(0) if i else 0), next(rnd)
        for number, lane in enumerate(mix):
            lane[d] = merge(lane[d], word(64 * page + 4 * ((number ^ loop) % 16) + i), r)


def _bytes(words: list[int]) -> bytes:
    return b"".join(value.to_bytes(4, "little") for value in words)
