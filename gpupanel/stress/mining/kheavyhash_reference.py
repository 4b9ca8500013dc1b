"""kHeavyHash on the host, without OpenCL: the oracle that the device is compared with.

Written from kaspanet/rusty-kaspa at 593399eb, ``consensus/pow/src/matrix.rs`` and
``crypto/hashes/src/pow_hashers.rs``. cSHAKE256 comes from pycryptodome; the permutation alone,
which it does not show, is written from "The Keccak reference" 3.0, its constants are computed.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence

import numpy as np  # noqa: TID253 - worker process only
from Crypto.Hash import cSHAKE256
from numpy.typing import NDArray  # noqa: TID253 - worker process only

Matrix = NDArray[np.int64]
"""Shape (64, 64), numbers from 0 to 15."""

SIZE = 64
POW_NAME = b"ProofOfWorkHash"
HEAVY_NAME = b"HeavyHash"
_MASK = 2**64 - 1
_RATE_WORDS = 17
# A prime whose products still fit in 64 bits.
_PRIME = 2**31 - 1


def kheavyhash(matrix: Matrix, header: bytes, nonce: int) -> bytes:
    """The hash of one nonce; as a number, its last byte is the most significant.

    Args:
        matrix: ``matrix_of`` the first 32 bytes of the header.
        header: 40 bytes, the hash before proof of work and the time.
        nonce: Below 2^64.
    """
    return heavy_hash(matrix, pow_hash(header, nonce))


def pow_hash(header: bytes, nonce: int) -> bytes:
    """The first of the two hashes."""
    return _cshake(POW_NAME, header + bytes(32) + nonce.to_bytes(8, "little"))


def heavy_hash(matrix: Matrix, first: bytes) -> bytes:
    """What follows the first hash of 32 bytes."""
    pairs = np.frombuffer(first, np.uint8)
    nibbles = np.stack((pairs >> 4, pairs & 15), axis=1).ravel().astype(np.int64)
    product = (matrix @ nibbles >> 10).astype(np.uint8)
    return _cshake(HEAVY_NAME, ((product[::2] << 4 | product[1::2]) ^ pairs).tobytes())


def matrix_of(seed: bytes) -> Matrix:
    """The first matrix of full rank that the generator gives for 32 bytes."""
    numbers = xoshiro256pp(struct.unpack("<4Q", seed))
    while True:
        words = np.array([next(numbers) for _ in range(SIZE * 4)], np.uint64)
        shifts = np.arange(0, 64, 4, dtype=np.uint64)
        nibbles = words[:, None] >> shifts & np.uint64(15)
        matrix: Matrix = nibbles.reshape(SIZE, SIZE).astype(np.int64)
        if has_full_rank(matrix):
            return matrix


def has_full_rank(matrix: Matrix) -> bool:
    """Whether its determinant is not 0; by elimination modulo a prime, exact but once in 2^31."""
    rest = matrix % _PRIME
    while len(rest):
        usable = np.flatnonzero(rest[:, 0])
        if not len(usable):
            return False
        pivot = rest[usable[0]] * pow(int(rest[usable[0], 0]), -1, _PRIME) % _PRIME
        rest = np.delete(rest, usable[0], axis=0)
        rest = (rest - rest[:, :1] * pivot % _PRIME)[:, 1:] % _PRIME
    return True


def xoshiro256pp(state: Sequence[int]) -> Iterator[int]:
    """Blackman and Vigna's generator xoshiro256++."""
    a, b, c, d = state
    while True:
        yield (_rotated(a + d & _MASK, 23) + a) & _MASK
        shifted = b << 17 & _MASK
        c ^= a
        d ^= b
        b ^= c
        a ^= d
        c ^= shifted
        d = _rotated(d, 45)


def padded_state(name: bytes, message_bytes: int) -> list[int]:
    """State of cSHAKE256 into which a message of less than one block only has to be XORed.

    Args:
        name: The customisation string.
        message_bytes: A multiple of 8.
    """
    prefix = b"\x01\x88" + b"\x01\x00" + bytes((1, 8 * len(name))) + name
    block = struct.unpack(f"<{_RATE_WORDS}Q", prefix.ljust(8 * _RATE_WORDS, b"\0"))
    state = keccak_f1600([*block, *[0] * (25 - _RATE_WORDS)])
    state[message_bytes // 8] ^= 0x04
    state[_RATE_WORDS - 1] ^= 0x80 << 56
    return state


def keccak_f1600(state: Sequence[int]) -> list[int]:
    """The permutation; word (x, y) is number x + 5y."""
    words = list(state)
    for constant in _round_constants():
        parity = [words[x] ^ words[x + 5] ^ words[x + 10] ^ words[x + 15] ^ words[x + 20]
                  for x in range(5)]  # fmt: skip
        words = [
            word ^ parity[(i - 1) % 5] ^ _rotated(parity[(i + 1) % 5], 1)
            for i, word in enumerate(words)
        ]
        x, y, turned = 1, 0, list(words)
        for step in range(24):
            moved_x, moved_y = y, (2 * x + 3 * y) % 5
            turn = (step + 1) * (step + 2) // 2 % 64
            turned[moved_x + 5 * moved_y] = _rotated(words[x + 5 * y], turn)
            x, y = moved_x, moved_y
        words = [
            word ^ ~turned[i - i % 5 + (i + 1) % 5] & turned[i - i % 5 + (i + 2) % 5]
            for i, word in enumerate(turned)
        ]
        words[0] ^= constant
    return words


def _round_constants() -> Iterator[int]:
    """Bit 2^j - 1 of each constant is the next output of a shift register."""
    register = 1
    for _ in range(24):
        constant = 0
        for j in range(7):
            constant |= (register & 1) << (1 << j) - 1
            register = register << 1 ^ (0x171 if register & 0x80 else 0)
        yield constant


def _rotated(word: int, bits: int) -> int:
    return (word << bits | word >> 64 - bits) & _MASK


def _cshake(name: bytes, message: bytes) -> bytes:
    return cSHAKE256.new(data=message, custom=name).read(32)
