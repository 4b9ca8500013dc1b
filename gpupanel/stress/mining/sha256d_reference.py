"""SHA-256 of SHA-256 of block headers on the host: the oracle that the device is compared with.

Hashes come from hashlib. The compression function alone, which hashlib does not show, is written
from FIPS 180-4, its constants are computed from their definition.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from itertools import count, islice

HEADER_BYTES = 80
BLOCK_BYTES = 64
INITIAL = struct.unpack(
    ">8I", bytes.fromhex("6a09e667bb67ae853c6ef372a54ff53a510e527f9b05688c1f83d9ab5be0cd19")
)
_MASK = 2**32 - 1


def sha256d(message: bytes) -> bytes:
    """As Bitcoin hashes; a block's number is these bytes in reverse order."""
    return hashlib.sha256(hashlib.sha256(message).digest()).digest()


def header_of(template: bytes, nonce: int) -> bytes:
    """The header with time and nonce replaced by the halves of a 64-bit number.

    A nonce of 32 bits is used up in a blink; miners then turn to another time, and so do we.

    Args:
        template: 80 bytes.
        nonce: Upper half the time, lower half the nonce.
    """
    time, low = divmod(nonce, 2**32)
    return template[:68] + time.to_bytes(4, "little") + template[72:76] + low.to_bytes(4, "little")


def nonce_of(header: bytes) -> int:
    """Inverse of ``header_of``."""
    return int.from_bytes(header[68:72], "little") << 32 | int.from_bytes(header[76:], "little")


def padded(message: bytes) -> bytes:
    """The message as whole blocks."""
    zeros = -(len(message) + 9) % BLOCK_BYTES
    return message + b"\x80" + bytes(zeros) + struct.pack(">Q", 8 * len(message))


def compressed(state: Sequence[int], block: bytes) -> tuple[int, ...]:
    """One application of the compression function; of a header's first block, the midstate."""
    words = list(struct.unpack(">16I", block))
    for i in range(16, 64):
        one, fifteen = words[i - 2], words[i - 15]
        small1 = _rotated(one, 17) ^ _rotated(one, 19) ^ one >> 10
        small0 = _rotated(fifteen, 7) ^ _rotated(fifteen, 18) ^ fifteen >> 3
        words.append((words[i - 16] + small0 + words[i - 7] + small1) & _MASK)
    a, b, c, d, e, f, g, h = state
    for constant, word in zip(_CONSTANTS, words, strict=True):
        big1 = _rotated(e, 6) ^ _rotated(e, 11) ^ _rotated(e, 25)
        first = h + big1 + (e & f ^ ~e & g) + constant + word
        big0 = _rotated(a, 2) ^ _rotated(a, 13) ^ _rotated(a, 22)
        second = big0 + (a & b ^ a & c ^ b & c)
        a, b, c, d, e, f, g, h = (first + second) & _MASK, a, b, c, (d + first) & _MASK, e, f, g
    return tuple(x + y & _MASK for x, y in zip(state, (a, b, c, d, e, f, g, h), strict=True))


def _rotated(word: int, bits: int) -> int:
    return (word >> bits | word << 32 - bits) & _MASK


def _primes() -> list[int]:
    return list(islice((n for n in count(2) if all(n % divisor for divisor in range(2, n))), 64))


def _cube_root(number: int) -> int:
    """Rounded down."""
    root = 0
    for bit in reversed(range(number.bit_length() // 3 + 1)):
        if (root | 1 << bit) ** 3 <= number:
            root |= 1 << bit
    return root


# The first 32 bits of the fractional parts of the cube roots of the first 64 primes.
_CONSTANTS = [_cube_root(prime << 96) & _MASK for prime in _primes()]
