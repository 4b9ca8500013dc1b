"""The load ``mining.ethash``: random reads of 128 bytes all over a large table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gpupanel.model.roofline import Ceiling, Cost
from gpupanel.stress.mining.ethash_cache import load_or_make
from gpupanel.stress.mining.ethash_device import (
    ETHASH,
    Searcher,
    Table,
    filled_table,
    require_room,
    size_notes,
)
from gpupanel.stress.mining.ethash_known_answers import known_answers
from gpupanel.stress.mining.ethash_reference import (
    PAGE_BYTES,
    Hashed,
    Words,
    hashimoto_light,
    reduced_pages,
    table_pages,
)
from gpupanel.stress.mining.known_answers import built_in
from gpupanel.stress.mining.miner import Miner
from gpupanel.stress.mining.search import STRIPES
from gpupanel.stress.workload import Check, Device, Report, Variant, lane_variants

# Two Keccak-f[1600] of 24 rounds of 130 operations on 64 bits, a rotation counted as one, each two
# on 32; and 64 times 32 FNV steps of a product and an exclusive or.
_OPERATIONS_PER_HASH = 2.0 * 24 * 130 * 2 + 64 * 32 * 2
# Groups of work-items in a stripe of the smallest launch: below a millisecond on either.
_GROUPS_PER_STRIPE_GPU = 8
_GROUPS_PER_STRIPE_CPU = 1


class Ethash(Miner[Hashed]):
    """Host side of ``mining.ethash``; the knobs are those of the catalogue."""

    # Some 55 ms of one core; the time hardly depends on the number.
    nonces_per_verify = 8

    def __init__(self, device: Device, knobs: Mapping[str, int], seed: int) -> None:
        super().__init__(device, 32, seed)
        self._epoch = knobs["epoch"]
        self._pages = reduced_pages(self._epoch, knobs["dag_mib"])
        self._lines: Words
        self._table: Table
        whole_bytes = table_pages(self._epoch) * PAGE_BYTES
        self.notes = size_notes(self._epoch, self._pages * PAGE_BYTES, whole_bytes)

    @classmethod
    def variants(cls, device: Device) -> tuple[Variant, ...]:
        """By vector width."""
        return lane_variants(device)

    def prepare(self, report: Report) -> None:
        """Light cache, kernels, table.

        Raises:
            WorkloadError: The table does not fit; the knob ``dag_mib`` makes it smaller.
            BuildFailed: The kernels do not compile.
        """
        require_room(self._device, self._epoch, self._pages * PAGE_BYTES)
        cache = load_or_make(self._epoch, lambda fraction: report("light cache", fraction))
        self.notes += cache.notes
        self._lines = cache.lines
        report("kernels", 0.0)
        self._table = filled_table(
            self._device, ETHASH, self._lines, self._pages, lambda part: report("table", part)
        )
        self._searcher = Searcher(self._table, self._header)
        groups = _GROUPS_PER_STRIPE_CPU if self._device.is_cpu else _GROUPS_PER_STRIPE_GPU
        self._step_nonces = groups * STRIPES * self._searcher.shape.nonces_per_group

    def self_test(self, vectors: Mapping[str, Any] | None = None) -> list[Check]:
        """Published answers; all epochs of ``vectors``, or the run's own with the built-in ones.

        Light caches of other epochs take seconds each when they are not on disk yet.
        """
        loaded = {self._epoch: self._lines}

        def lines_of(epoch: int) -> Words:
            if epoch not in loaded:
                loaded[epoch] = load_or_make(epoch, lambda _: None).lines
            return loaded[epoch]

        whole = self._pages == table_pages(self._epoch)
        tables = {self._epoch: self._table} if whole else {}
        epochs = [self._epoch] if vectors is None else None
        answers = built_in("ethash") if vectors is None else vectors
        return known_answers(self._table.kernels, answers, epochs, lines_of, tables)

    def cost(self) -> Cost:
        """64 pages of 128 bytes at random places in the table, and the arithmetic between."""
        needs = {Ceiling.RANDOM_128B: 64.0 * PAGE_BYTES, Ceiling.INT32: _OPERATIONS_PER_HASH}
        return Cost(needs, self._pages * PAGE_BYTES)

    def _expected(self, nonces: Sequence[int]) -> Sequence[Hashed]:
        return hashimoto_light(self._header, nonces, self._pages, self._lines)
