"""The host sides of three hashes against published answers and other people's libraries."""

from __future__ import annotations

import hashlib
import struct
from typing import Any

import numpy as np
import pytest
from Crypto.Hash import cSHAKE256
from hypothesis import given
from hypothesis import strategies as st

from gpupanel.stress.mining import autolykos2_reference as autolykos2
from gpupanel.stress.mining import kheavyhash_reference as kheavyhash
from gpupanel.stress.mining import sha256d_reference as sha256d
from gpupanel.stress.mining.kheavyhash import matrix_words


@given(st.binary(max_size=200))
def test_our_compression_function_is_that_of_hashlib(message: bytes) -> None:
    state = sha256d.INITIAL
    blocks = sha256d.padded(message)
    for start in range(0, len(blocks), 64):
        state = sha256d.compressed(state, blocks[start : start + 64])
    assert struct.pack(">8I", *state) == hashlib.sha256(message).digest()


@pytest.mark.parametrize("block", ["genesis", "block170"])
def test_blocks_of_bitcoin_have_their_hashes(all_vectors: dict[str, Any], block: str) -> None:
    case = all_vectors["sha256d"][block]
    header = bytes.fromhex(case["header_80B"])
    assert sha256d.sha256d(header)[::-1].hex() == case["block_hash"]
    assert sha256d.header_of(header, sha256d.nonce_of(header)) == header


@given(st.integers(0, 2**64 - 1))
def test_time_and_nonce_are_halves_of_one_number(nonce: int) -> None:
    header = sha256d.header_of(bytes(range(80)), nonce)
    assert sha256d.nonce_of(header) == nonce
    assert header[:68] + header[72:76] == bytes([*range(68), *range(72, 76)])


@given(st.binary(min_size=32, max_size=32))
def test_our_permutation_and_start_state_are_those_of_pycryptodome(message: bytes) -> None:
    state = kheavyhash.padded_state(b"HeavyHash", 32)
    for i, word in enumerate(struct.unpack("<4Q", message)):
        state[i] ^= word
    ours = struct.pack("<4Q", *kheavyhash.keccak_f1600(state)[:4])
    assert ours == cSHAKE256.new(data=message, custom=b"HeavyHash").read(32)


def test_a_matrix_with_a_dependent_row_has_no_full_rank() -> None:
    matrix = kheavyhash.matrix_of(bytes(range(32)))
    assert kheavyhash.has_full_rank(matrix)
    assert np.linalg.matrix_rank(matrix.astype(np.float64)) == 64
    matrix[63] = matrix[:3].sum(axis=0)
    assert not kheavyhash.has_full_rank(matrix)
    assert not kheavyhash.has_full_rank(np.zeros((64, 64), np.int64))


def test_a_seed_of_low_rank_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    first = kheavyhash.matrix_of(bytes(range(32)))
    answers = iter([False, True])
    monkeypatch.setattr(kheavyhash, "has_full_rank", lambda _: next(answers))
    assert not np.array_equal(kheavyhash.matrix_of(bytes(range(32))), first)


def test_every_entry_of_the_matrix_is_in_its_place() -> None:
    matrix = np.arange(64 * 64, dtype=np.int64).reshape(64, 64)
    words = matrix_words(matrix)
    for quad, column, pair in np.ndindex(16, 32, 2):
        for half in (0, 1):
            for second in (0, 1):
                entry = int(words[quad, column, pair]) >> 32 * half + 16 * second & 0xFFFF
                row = 16 * (quad // 4) + 4 * (2 * pair + second) + (quad % 4 ^ 1)
                place = 16 * (column // 8) + 8 * half + (column % 8 ^ 1)
                assert entry == matrix[row, place]


def test_sizes_are_those_of_every_published_height(all_vectors: dict[str, Any]) -> None:
    published = all_vectors["autolykos2"]["calcN_v2"]
    assert {height: autolykos2.elements_at(int(height)) for height in published} == published
    assert len(published) >= 9


def test_the_published_block_of_ergo_has_its_hash(all_vectors: dict[str, Any]) -> None:
    case = all_vectors["autolykos2"]["case"]
    hashed = autolykos2.autolykos2(
        bytes.fromhex(case["msg"]),
        int(case["nonce"], 16),
        case["N"],
        lambda index: autolykos2.element(index, case["height"]),
    )
    assert hashed.hex() == case["hit"]
    assert int(hashed.hex(), 16) < int(case["target_b"])
