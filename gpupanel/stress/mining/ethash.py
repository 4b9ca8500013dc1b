"""The load ``mining.ethash``: random reads of 128 bytes all over a large table."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pyopencl as cl  # noqa: TID253 - worker process only

from gpupanel import paths
from gpupanel.model.errors import WorkloadError
from gpupanel.model.roofline import Ceiling, Cost
from gpupanel.stress.mining.ethash_cache import load_or_make
from gpupanel.stress.mining.ethash_device import (
    ItemMaker,
    Kernels,
    Searcher,
    Table,
    no_room,
    pieces_for,
)
from gpupanel.stress.mining.ethash_known_answers import known_answers
from gpupanel.stress.mining.ethash_reference import (
    PAGE_BYTES,
    Hashed,
    Words,
    hashimoto_light,
    light_cache_bytes,
    reduced_pages,
    table_pages,
)
from gpupanel.stress.mining.miner import Miner
from gpupanel.stress.mining.search import STRIPES
from gpupanel.stress.workload import Check, Device, Report, Variant, lane_variants

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
        self.notes = self._size_notes()

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
        self._require_room()
        cache = load_or_make(self._epoch, lambda fraction: report("light cache", fraction))
        self.notes += cache.notes
        self._lines = cache.lines
        report("kernels", 0.0)
        most_bytes = self._device.context.devices[0].max_mem_alloc_size
        kernels = Kernels(self._device, pieces_for(self._pages, most_bytes))
        report("table", 0.0)
        try:
            self._table = Table(ItemMaker(kernels, self._lines), self._pages)
            self._table.fill(lambda fraction: report("table", fraction))
        except cl.MemoryError as error:
            raise no_room(self._pages, str(error)) from error
        self._searcher = Searcher(self._table, self._header)
        groups = _GROUPS_PER_STRIPE_CPU if self._device.is_cpu else _GROUPS_PER_STRIPE_GPU
        self._step_nonces = groups * STRIPES * kernels.hashes_per_group

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
        if vectors is None:
            return known_answers(self._table.kernels, _built_in(), [self._epoch], lines_of, tables)
        return known_answers(self._table.kernels, vectors, None, lines_of, tables)

    def cost(self) -> Cost:
        """64 pages of 128 bytes at random places in the table."""
        return Cost({Ceiling.RANDOM_128B: 64.0 * PAGE_BYTES}, self._pages * PAGE_BYTES)

    def _expected(self, nonces: Sequence[int]) -> Sequence[Hashed]:
        return hashimoto_light(self._header, nonces, self._pages, self._lines)

    def _require_room(self) -> None:
        needed = self._pages * PAGE_BYTES + light_cache_bytes(self._epoch)
        if needed > self._device.memory_bytes:
            raise WorkloadError(
                f"table and light cache of epoch {self._epoch} need {needed / 2**20:.0f} MiB,"
                f" the device may use {self._device.memory_bytes / 2**20:.0f} MiB;"
                " reduce the table with the knob dag_mib"
            )

    def _size_notes(self) -> tuple[str, ...]:
        whole = table_pages(self._epoch)
        if self._pages == whole:
            return ()
        return (
            f"reduced table: {self._pages * PAGE_BYTES / 2**20:.0f} of"
            f" {whole * PAGE_BYTES / 2**20:.0f} MiB of epoch {self._epoch}",
        )


def _built_in() -> Mapping[str, Any]:
    path = paths.data_dir("resources") / "vectors" / "ethash.json"
    vectors: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return vectors
