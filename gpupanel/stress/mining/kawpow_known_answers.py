"""Published answers for KawPoW, asked of the device.

A hash reads 64 pages of a table of gigabytes. Where the whole table is not on the device, the
device makes only those pages, and the kernel finds them through a map.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np  # noqa: TID253 - worker process only

from gpupanel.stress.mining.ethash_device import ItemMaker
from gpupanel.stress.mining.ethash_reference import Hashed
from gpupanel.stress.mining.kawpow_device import ProgramSearcher, Setting
from gpupanel.stress.mining.kawpow_program import PERIOD_BLOCKS, program_of
from gpupanel.stress.mining.kawpow_reference import EPOCH_BLOCKS, LANES, pages_of, pages_read
from gpupanel.stress.mining.known_answers import Vectors, expected_form
from gpupanel.stress.workload import Check


def known_answers(
    vectors: Vectors,
    epochs: Sequence[int] | None,
    maker_of: Callable[[int], ItemMaker],
    whole: Mapping[int, Setting],
) -> list[Check]:
    """Ask the device for every answer in ``vectors`` that it can give.

    Args:
        vectors: The ``kawpow`` object of a vectors file.
        epochs: Only these; None is every epoch that ``vectors`` has hashes of.
        maker_of: Makes items of an epoch on the device.
        whole: Whole tables that are on the device already, by epoch.

    Raises:
        WorkloadError: ``vectors`` is not of the expected form.
    """
    checks: list[Check] = []
    with expected_form("kawpow"):
        cases = _cases(vectors)
        for epoch in sorted({_epoch(case) for case in cases} if epochs is None else epochs):
            maker = maker_of(epoch)
            checks += _beginning(vectors, epoch, maker)
            checks += [
                _answered(case, maker, whole.get(epoch)) for case in cases if _epoch(case) == epoch
            ]
    return checks or [Check("vectors", False, "there is no answer for kawpow in them")]


def _cases(vectors: Vectors) -> list[Vectors]:
    cases = list(vectors.get("cases", []))
    single = vectors.get("block30000_case")
    if single is not None:
        cases.append({**single, "block": 30000, "header_hash": single["header"]})
    return cases


def _epoch(case: Vectors) -> int:
    return int(case["block"]) // EPOCH_BLOCKS


def _beginning(vectors: Vectors, epoch: int, maker: ItemMaker) -> Iterator[Check]:
    answer = vectors.get("l1_cache_epoch0_first20_u32")
    if answer is not None and epoch == 0:
        words = maker.items_at(np.arange(2, dtype=np.uint32)).ravel()
        passed = words[: len(answer)].tolist() == answer
        yield Check("first words of epoch 0", passed, "device")


def _answered(case: Vectors, maker: ItemMaker, whole: Setting | None) -> Check:
    header, nonce = bytes.fromhex(case["header_hash"]), int(case["nonce"], 16)
    program = program_of(int(case["block"]) // PERIOD_BLOCKS)
    if whole is not None:
        setting, how = whole, "device, whole table"
    else:
        pages = pages_of(_epoch(case), 0)
        wanted = pages_read(program, header, nonce, pages, maker.lines)
        setting, how = Setting.of_pages(maker, pages, wanted), "device, its pages of the table"
    found = _hash_on(ProgramSearcher(setting, header, program), nonce)
    expected = (bytes.fromhex(case["mix"]), bytes.fromhex(case["result"]))
    passed = found is not None and (found.mix, found.result) == expected
    return Check(f"hash of block {case['block']}, nonce {nonce:x}", passed, how)


def _hash_on(searcher: ProgramSearcher, nonce: int) -> Hashed | None:
    """The nonce among those of one small launch that returns as many as there is room for."""
    first, nonces = nonce - nonce % LANES, searcher.shape.nonces_per_group
    # As the launch begins with this nonce's 16, at most the others are beyond the room.
    found = searcher.enqueue(first, nonces, 2**64 - 1).results().found
    return next((hashed for hashed in found if hashed.nonce == nonce), None)
