"""Ethash on the host, without OpenCL: the oracle that the device is compared with.

Written from the Ethash specification (ethereum/wiki, "Ethash"). Keccak comes from pycryptodome,
so no line is shared with our kernels. Everything is vectorised over nonces or items, because the
64 accesses of a hash and the 256 parents of an item are serial.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isqrt

import numpy as np  # noqa: TID253 - worker process only
from Crypto.Hash import keccak
from numpy.typing import NDArray  # noqa: TID253 - worker process only

Words = NDArray[np.uint32]

ITEM_BYTES = 64
PAGE_BYTES = 128
_CACHE_BYTES_INIT = 2**24
_CACHE_BYTES_GROWTH = 2**17
_DATASET_BYTES_INIT = 2**30
_DATASET_BYTES_GROWTH = 2**23
_CACHE_ROUNDS = 3
_ITEM_WORDS = 16
_PAGE_WORDS = 32
PARENTS = 256
_ACCESSES = 64
_FNV_PRIME = np.uint32(0x01000193)


@dataclass(frozen=True, slots=True)
class Hashed:
    """What one nonce gives; ``mix`` and ``result`` are 32 bytes each."""

    nonce: int
    mix: bytes
    result: bytes

    def __str__(self) -> str:
        return f"mix {self.mix.hex()}, result {self.result.hex()}"


def light_cache_bytes(epoch: int) -> int:
    """Size of the epoch's light cache: a prime number of 64-byte lines."""
    most = (_CACHE_BYTES_INIT + _CACHE_BYTES_GROWTH * epoch) // ITEM_BYTES
    return ITEM_BYTES * _largest_prime_below(most)


def table_pages(epoch: int) -> int:
    """Pages of 128 bytes in the epoch's whole table: a prime number."""
    most = (_DATASET_BYTES_INIT + _DATASET_BYTES_GROWTH * epoch) // PAGE_BYTES
    return _largest_prime_below(most)


def reduced_pages(epoch: int, dag_mib: int) -> int:
    """Pages of the table cut to ``dag_mib`` MiB, still a prime number; the whole one if 0."""
    whole = table_pages(epoch)
    if dag_mib == 0:
        return whole
    return min(whole, _largest_prime_below(dag_mib * 2**20 // PAGE_BYTES + 1))


def seed_hash(epoch: int) -> bytes:
    """32 zero bytes, hashed once per epoch."""
    seed = bytes(32)
    for _ in range(epoch):
        seed = keccak256(seed)
    return seed


def keccak256(message: bytes) -> bytes:
    """The original Keccak, not SHA-3: the padding differs."""
    return keccak.new(data=message, digest_bits=256).digest()


def keccak512(message: bytes) -> bytes:
    """The original Keccak, not SHA-3: the padding differs."""
    return keccak.new(data=message, digest_bits=512).digest()


def make_light_cache(
    size_bytes: int, seed: bytes, progress: Callable[[float], None] = lambda _: None
) -> Words:
    """The light cache (RandMemoHash), shape (lines, 16). Serial: about 20 µs per line.

    Args:
        size_bytes: A multiple of 64.
        seed: ``seed_hash`` of the epoch.
        progress: Called with the fraction that is done, about a hundred times.
    """
    count = size_bytes // ITEM_BYTES
    every = max(1, count // 25)
    lines = [int.from_bytes(keccak512(seed), "little")]
    for i in range(1, count):
        lines.append(_keccak512_number(lines[-1]))
        if i % every == 0:
            progress(i / count / (_CACHE_ROUNDS + 1))
    for cache_round in range(1, _CACHE_ROUNDS + 1):
        for i in range(count):
            other = (lines[i] & 0xFFFFFFFF) % count
            lines[i] = _keccak512_number(lines[i - 1] ^ lines[other])
            if i % every == 0:
                progress((cache_round + i / count) / (_CACHE_ROUNDS + 1))
    whole = b"".join(line.to_bytes(ITEM_BYTES, "little") for line in lines)
    return np.frombuffer(whole, "<u4").reshape(count, _ITEM_WORDS)


def make_items(cache: Words, indexes: Words, parents: int = PARENTS) -> Words:
    """Items of the table, shape (len(indexes), 16), from ``parents`` lines each of the cache."""
    lines = np.uint32(len(cache))
    mixes = cache[indexes % lines]
    mixes[:, 0] ^= indexes
    mixes = _keccak512_rows(mixes)
    numbers = np.arange(parents, dtype=np.uint32)
    choices = (indexes ^ numbers[:, None]) * _FNV_PRIME
    chosen = np.empty_like(mixes)
    for i in range(parents):
        choice = (choices[i] ^ mixes[:, i % _ITEM_WORDS]) % lines
        # "clip" never clips here; it spares the copy that the default makes to stay safe.
        np.take(cache, choice, axis=0, out=chosen, mode="clip")
        mixes *= _FNV_PRIME
        mixes ^= chosen
    return _keccak512_rows(mixes)


def hashimoto(
    header: bytes, nonces: Sequence[int], pages: int, items_at: Callable[[Words], Words]
) -> list[Hashed]:
    """Hash each nonce over a table of ``pages`` pages whose items ``items_at`` tells."""
    seeds = np.vstack([_seed_words(header, nonce) for nonce in nonces])
    mixes = np.tile(seeds, 2)
    for i in range(_ACCESSES):
        choice = ((seeds[:, 0] ^ np.uint32(i)) * _FNV_PRIME) ^ mixes[:, i % _PAGE_WORDS]
        page = choice % np.uint32(pages)
        halves = np.stack((page * np.uint32(2), page * np.uint32(2) + np.uint32(1)), axis=1)
        mixes *= _FNV_PRIME
        mixes ^= items_at(halves.ravel()).reshape(mixes.shape)
    packed = _fnv_fold(mixes)
    return [
        Hashed(nonce, mix.tobytes(), keccak256(seed.tobytes() + mix.tobytes()))
        for nonce, seed, mix in zip(nonces, seeds, packed, strict=True)
    ]


def hashimoto_light(header: bytes, nonces: Sequence[int], pages: int, cache: Words) -> list[Hashed]:
    """``hashimoto`` with each item made from the light cache when it is needed."""
    return hashimoto(header, nonces, pages, lambda indexes: make_items(cache, indexes))


def _fnv_fold(mixes: Words) -> Words:
    """Four neighbouring words into one, FNV-1 style."""
    groups = mixes.reshape(len(mixes), -1, 4)
    folded = groups[..., 0].copy()
    for i in range(1, 4):
        folded *= _FNV_PRIME
        folded ^= groups[..., i]
    return folded


def _seed_words(header: bytes, nonce: int) -> Words:
    return np.frombuffer(keccak512(header + nonce.to_bytes(8, "little")), "<u4")


def _keccak512_number(number: int) -> int:
    return int.from_bytes(keccak512(number.to_bytes(ITEM_BYTES, "little")), "little")


def _keccak512_rows(rows: Words) -> Words:
    hashed = b"".join(keccak512(row.tobytes()) for row in rows)
    # A copy, because what comes from bytes is read-only.
    return np.frombuffer(hashed, "<u4").reshape(rows.shape).copy()


def _largest_prime_below(limit: int) -> int:
    number = limit - 1
    while not _is_prime(number):
        number -= 1
    return number


def _is_prime(number: int) -> bool:
    if number < 4:
        return number > 1
    return number % 2 != 0 and all(number % i for i in range(3, isqrt(number) + 1, 2))
