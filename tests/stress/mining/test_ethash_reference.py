from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gpupanel.stress.mining.ethash_reference import (
    PAGE_BYTES,
    Words,
    hashimoto_light,
    keccak256,
    light_cache_bytes,
    make_items,
    make_light_cache,
    reduced_pages,
    seed_hash,
    table_pages,
)


def test_sizes_are_those_of_every_published_epoch(vectors: dict[str, Any]) -> None:
    published = vectors["sizes_by_epoch"]["values"]
    ours = {
        epoch: [light_cache_bytes(int(epoch)), table_pages(int(epoch)) * PAGE_BYTES]
        for epoch in published
    }
    assert ours == published
    assert len(published) >= 50


def test_seed_hashes_are_the_published_ones(vectors: dict[str, Any]) -> None:
    published = vectors["seed_hash_by_epoch"]["values"]
    assert {epoch: seed_hash(int(epoch)).hex() for epoch in published} == published


def test_keccak_has_the_original_padding(vectors: dict[str, Any]) -> None:
    assert keccak256(b"").hex() == vectors["keccak256_empty"]["out"]


@pytest.mark.parametrize("epoch", [0, 1])
def test_small_light_caches_are_those_of_geth(vectors: dict[str, Any], epoch: int) -> None:
    made = make_light_cache(1024, seed_hash(epoch))
    assert made.tobytes().hex() == vectors["small_cache_1024B"]["values"][str(epoch)]


def test_small_items_and_hash_are_those_of_geth(vectors: dict[str, Any]) -> None:
    cache = make_light_cache(1024, seed_hash(0))
    items = make_items(cache, np.arange(512, dtype=np.uint32))
    answer = vectors["small_dataset_32KiB"]
    assert [item.tobytes().hex() for item in items[:4]] == answer["first_4_items_64B"]
    assert items[-1].tobytes().hex() == answer["last_item_64B"]

    case = vectors["small_hashimoto"]
    hashed = hashimoto_light(bytes.fromhex(case["header_hash"]), [0], 256, cache)[0]
    assert (hashed.mix.hex(), hashed.result.hex()) == (case["mix"], case["result"])


def test_light_cache_of_epoch_0_is_the_published_one(
    vectors: dict[str, Any], epoch0_lines: Words
) -> None:
    published = vectors["light_cache_keccak256"]["values"]["0"]
    assert keccak256(epoch0_lines.tobytes()).hex() == published


def test_hashes_of_epoch_0_are_the_published_ones(
    vectors: dict[str, Any], epoch0_lines: Words
) -> None:
    cases = [case for case in vectors["hashimoto_light"]["cases"] if case["epoch"] == 0]
    assert len(cases) == 2
    for case in cases:
        header, nonce = bytes.fromhex(case["header_hash"]), int(case["nonce"], 16)
        # The other nonces of the batch must not matter.
        batch = [nonce ^ 1, nonce, 2**64 - 1]
        hashed = hashimoto_light(header, batch, table_pages(0), epoch0_lines)[1]
        assert (hashed.mix.hex(), hashed.result.hex()) == (case["mix"], case["result"])


@pytest.mark.parametrize(("dag_mib", "pages"), [(1, 8191), (64, 524287), (0, 8388593)])
def test_a_reduced_table_has_the_largest_prime_number_of_pages(dag_mib: int, pages: int) -> None:
    # 8191 and 524287 are Mersenne primes: one page less than 1 and 64 MiB.
    assert reduced_pages(0, dag_mib) == pages


def test_a_table_is_never_larger_than_its_epoch() -> None:
    assert reduced_pages(0, 32768) == table_pages(0)
