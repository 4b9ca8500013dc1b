"""Published answers for Ethash, asked of the device.

The sections are those of the public vectors file, see ``resources/vectors/ethash.json``; one that
is absent is passed over. What a section's answers are compared with stands in ``Check.detail``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np  # noqa: TID253 - worker process only

from gpupanel.stress.mining.ethash_device import ItemMaker, Kernels, Searcher, Table
from gpupanel.stress.mining.ethash_reference import (
    ITEM_BYTES,
    PAGE_BYTES,
    Hashed,
    Words,
    hashimoto,
    keccak256,
    light_cache_bytes,
    make_light_cache,
    seed_hash,
    table_pages,
)
from gpupanel.stress.mining.known_answers import Vectors, expected_form
from gpupanel.stress.workload import Check

LinesOf = Callable[[int], Words]


def known_answers(
    kernels: Kernels,
    vectors: Vectors,
    epochs: Sequence[int] | None,
    lines_of: LinesOf,
    tables: Mapping[int, Table],
) -> list[Check]:
    """Ask the device for every answer in ``vectors`` that it can give.

    Args:
        kernels: Of the device.
        vectors: The ``ethash`` object of a vectors file.
        epochs: Only these, beside the small tables; None is every epoch that ``vectors`` has
            items or hashes of.
        lines_of: The light cache of an epoch.
        tables: Whole tables that are on the device already, by epoch.

    Raises:
        WorkloadError: ``vectors`` is not of the expected form.
    """
    with expected_form("ethash"):
        checks = [*_sizes(vectors), *_seeds(vectors), *_small(kernels, vectors)]
        for epoch in sorted(_epochs_in(vectors) if epochs is None else epochs):
            maker = ItemMaker(kernels, lines_of(epoch))
            checks += _light_cache(vectors, epoch, lines_of(epoch))
            checks += _items(vectors, epoch, maker)
            checks += _hashes(vectors, epoch, maker, tables.get(epoch))
    return checks or [Check("vectors", False, "there is no answer for ethash in them")]


def _epochs_in(vectors: Vectors) -> set[int]:
    epochs = {int(case["epoch"]) for case in _cases(vectors)}
    return epochs | {epoch for epoch in (0, 13) if _item_answers(vectors, epoch)}


def _cases(vectors: Vectors) -> Sequence[Vectors]:
    cases: Sequence[Vectors] = vectors.get("hashimoto_light", {}).get("cases", [])
    return cases


def _sizes(vectors: Vectors) -> Iterator[Check]:
    table = vectors.get("sizes_by_epoch", {}).get("values", {})
    wrong = [
        epoch
        for epoch, (cache, dataset) in table.items()
        if (light_cache_bytes(int(epoch)), table_pages(int(epoch)) * PAGE_BYTES) != (cache, dataset)
    ]
    yield from _summary("sizes by epoch", len(table), wrong)


def _seeds(vectors: Vectors) -> Iterator[Check]:
    table = vectors.get("seed_hash_by_epoch", {}).get("values", {})
    wrong = [epoch for epoch, seed in table.items() if seed_hash(int(epoch)).hex() != seed]
    yield from _summary("seed hashes", len(table), wrong)


def _summary(name: str, count: int, wrong: Sequence[str]) -> Iterator[Check]:
    if count:
        yield Check(name, not wrong, f"host; epochs {', '.join(wrong)} differ" if wrong else "host")


def _small(kernels: Kernels, vectors: Vectors) -> Iterator[Check]:
    """The tables of 32 KiB, wholly on the device; their light caches on the host."""
    caches = vectors.get("small_cache_1024B", {})
    for epoch, content in caches.get("values", {}).items():
        made = make_light_cache(caches["cache_bytes"], seed_hash(int(epoch)))
        yield Check(f"small light cache {epoch}", made.tobytes().hex() == content, "host")
    if "small_dataset_32KiB" in vectors:
        yield from _small_table(kernels, vectors["small_dataset_32KiB"])
    if "small_hashimoto" in vectors:
        case = vectors["small_hashimoto"]
        found = _hash_on(_filled_small(kernels, case), case)
        yield _answered("small hash", case, found, "device")


def _small_table(kernels: Kernels, answer: Vectors) -> Iterator[Check]:
    content = _filled_small(kernels, answer).content().tobytes()
    passed = hashlib.sha256(content).hexdigest() == answer["sha256_of_all_32768_bytes"]
    yield Check("small table", passed, "device")
    first = b"".join(map(bytes.fromhex, answer["first_4_items_64B"]))
    ends = content.startswith(first) and content.endswith(bytes.fromhex(answer["last_item_64B"]))
    yield Check("small table, first and last items", ends, "device")


def _filled_small(kernels: Kernels, case: Vectors) -> Table:
    lines = make_light_cache(case["cache_bytes"], seed_hash(case["epoch"]))
    table = Table(ItemMaker(kernels, lines), case["dataset_bytes"] // PAGE_BYTES)
    table.fill(lambda _: None)
    return table


def _light_cache(vectors: Vectors, epoch: int, lines: Words) -> Iterator[Check]:
    answer = vectors.get("light_cache_keccak256", {}).get("values", {}).get(str(epoch))
    if answer is not None:
        passed = keccak256(lines.tobytes()).hex() == answer
        yield Check(f"light cache of epoch {epoch}", passed, "host")


def _items(vectors: Vectors, epoch: int, maker: ItemMaker) -> Iterator[Check]:
    answers = _item_answers(vectors, epoch)
    if answers:
        made = maker.items_at(np.array(list(answers), np.uint32))
        wrong = [
            index
            for (index, answer), item in zip(answers.items(), made, strict=True)
            if item.tobytes().hex() != answer
        ]
        detail = f"device; items {wrong} differ" if wrong else "device"
        yield Check(f"items of epoch {epoch}", not wrong, detail)


def _item_answers(vectors: Vectors, epoch: int) -> dict[int, str]:
    """Hex of an item by its index."""
    if epoch == 0 and "epoch0_dataset_items_64B" in vectors:
        section = vectors["epoch0_dataset_items_64B"]
        items = table_pages(0) * PAGE_BYTES // ITEM_BYTES
        return dict(enumerate(section["first_4"])) | dict(
            enumerate(section["last_2_items"], start=items - 2)
        )
    section = vectors.get(f"epoch{epoch}_dataset_items_128B", {})
    return {
        2 * int(page) + i: item
        for page, halves in section.get("index_to_two_64B_halves", {}).items()
        for i, item in enumerate(halves)
    }


def _hashes(vectors: Vectors, epoch: int, maker: ItemMaker, whole: Table | None) -> Iterable[Check]:
    for case in _cases(vectors):
        if case["epoch"] != epoch:
            continue
        if whole is not None:
            found, how = _hash_on(whole, case), "device, whole table"
        else:
            found, how = _hash_with(maker, case), "items from the device, mixed on the host"
        yield _answered(f"hash of block {case['block']}", case, found, how)


def _hash_on(table: Table, case: Vectors) -> Hashed | None:
    """The case's nonce among those of one small launch that returns all."""
    searcher = Searcher(table, bytes.fromhex(case["header_hash"]))
    nonce = int(case["nonce"], 16)
    search = searcher.enqueue(nonce, table.kernels.hashes_per_group, 2**64 - 1)
    return next((hashed for hashed in search.results().found if hashed.nonce == nonce), None)


def _hash_with(maker: ItemMaker, case: Vectors) -> Hashed:
    header = bytes.fromhex(case["header_hash"])
    pages = table_pages(case["epoch"])
    return hashimoto(header, [int(case["nonce"], 16)], pages, maker.items_at)[0]


def _answered(name: str, case: Vectors, found: Hashed | None, how: str) -> Check:
    expected = (bytes.fromhex(case["mix"]), bytes.fromhex(case["result"]))
    passed = found is not None and (found.mix, found.result) == expected
    return Check(name, passed, how)
