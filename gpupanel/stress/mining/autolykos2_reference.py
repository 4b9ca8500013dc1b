"""Autolykos 2 on the host, without OpenCL: the oracle that the device is compared with.

Written from "Autolykos: The Ergo Platform PoW Puzzle", version 2, and ergoplatform/ergo at
c313356, ``AutolykosPowScheme.scala``. Blake2b comes from hashlib.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable

HEADER_BYTES = 32
ELEMENT_BYTES = 32
"""In memory; as bytes of a message, an element has one less."""

ELEMENTS_PER_HASH = 32
_FEWEST_ELEMENTS = 2**26
_FIRST_GROWTH = 600 * 1024
_GROWTH_PERIOD = 50 * 1024
_LAST_GROWTH = 4_198_400
_CONSTANT = struct.pack(">1024Q", *range(1024))


def elements_at(height: int) -> int:
    """Elements of the whole table: a twentieth more every 51200 blocks."""
    elements = _FEWEST_ELEMENTS
    if height >= _FIRST_GROWTH:
        for _ in range((min(height, _LAST_GROWTH) - _FIRST_GROWTH) // _GROWTH_PERIOD + 1):
            elements = elements // 100 * 105
    return elements


def element(index: int, height: int) -> bytes:
    """One element of the table, 31 bytes, a big-endian number."""
    return _blake2b(struct.pack(">2I", index, height) + _CONSTANT)[1:]


def autolykos2(
    header: bytes, nonce: int, elements: int, element_at: Callable[[int], bytes]
) -> bytes:
    """The hash of one nonce, a big-endian number.

    Args:
        header: 32 bytes.
        nonce: Below 2^64.
        elements: Of the table: ``elements_at`` the height, or less in a reduced one.
        element_at: The element of an index.
    """
    chosen = element_at(first_choice(header, nonce, elements))
    indexes = choices(chosen + header + nonce.to_bytes(8, "big"), elements)
    total = sum(int.from_bytes(element_at(index), "big") for index in indexes)
    return _blake2b(total.to_bytes(32, "big"))


def first_choice(header: bytes, nonce: int, elements: int) -> int:
    """Index of the element that chooses the others."""
    hashed = _blake2b(header + nonce.to_bytes(8, "big"))
    return int.from_bytes(hashed[-8:], "big") % elements


def choices(seed: bytes, elements: int) -> list[int]:
    """Indexes of the elements that are added up."""
    hashed = _blake2b(seed)
    ring = hashed + hashed[:3]
    return [int.from_bytes(ring[i : i + 4], "big") % elements for i in range(ELEMENTS_PER_HASH)]


def _blake2b(message: bytes) -> bytes:
    return hashlib.blake2b(message, digest_size=32).digest()
