"""The load ``mining.ethash``: random reads of 128 bytes all over a large table.

Nonces of a random header are hashed, so nothing that is found is worth anything. A launch returns
the few nonces whose result is below a target; they are hashed again on the host from the light
cache, and every few seconds a part of an earlier launch is repeated on the device, where a digest
over all its results must come out again.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from operator import xor
from typing import Any

import numpy as np  # noqa: TID253 - worker process only
import pyopencl as cl  # noqa: TID253 - worker process only

from gpupanel import paths
from gpupanel.model.errors import WorkloadError
from gpupanel.model.roofline import Ceiling, Cost
from gpupanel.stress.mining.ethash_cache import load_or_make
from gpupanel.stress.mining.ethash_device import (
    STRIPES,
    Fetched,
    ItemMaker,
    Kernels,
    Results,
    Search,
    Searcher,
    Table,
    is_complete,
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
from gpupanel.stress.workload import Check, Chunk, Device, Report, Variant, lane_variants

# Two Keccak-f[1600] of 24 rounds of 130 operations on 64 bits, a rotation counted as one, each two
# on 32; and 64 times 32 FNV steps of a product and an exclusive or.
_OPERATIONS_PER_HASH = 2.0 * 24 * 130 * 2 + 64 * 32 * 2
_FOUND_PER_LAUNCH = 2
# The chance that a sound device returns none of so many is below 1e-13.
_MISSED_MOST = 30
# Some 55 ms of one core; the time hardly depends on the number.
_NONCES_PER_VERIFY = 8
_VERIFIES_PER_REPEAT = 5
# Groups of work-items in a stripe of the smallest launch: below a millisecond on either.
_GROUPS_PER_STRIPE_GPU = 8
_GROUPS_PER_STRIPE_CPU = 1


@dataclass(frozen=True, slots=True)
class _Remembered:
    """An earlier launch that may be repeated."""

    search: Search
    results: Results


@dataclass(frozen=True, slots=True)
class _Repeat:
    """One stripe of an earlier launch, on its way a second time.

    Attributes:
        fetched: What it returned; None until the launch is over.
    """

    search: Search
    stripe: int
    original: _Remembered
    fetched: Fetched | None = None


class Ethash:
    """Host side of ``mining.ethash``; the knobs are those of the catalogue."""

    def __init__(self, device: Device, knobs: Mapping[str, int], seed: int) -> None:
        self._device = device
        self._epoch = knobs["epoch"]
        self._pages = reduced_pages(self._epoch, knobs["dag_mib"])
        self._random = np.random.default_rng(seed)
        self._header = self._random.bytes(32)
        self._next_nonce = int(self._random.integers(2**64, dtype=np.uint64))
        self._coming: deque[Fetched] = deque()
        self._unverified: deque[Hashed] = deque(maxlen=64)
        self._missed = 0
        self._completed = 0
        self._verifies = 0
        self._remembered: _Remembered | None = None
        self._repeat: _Repeat | None = None
        self._lines: Words
        self._table: Table
        self._searcher: Searcher
        self._step_nonces: int
        self.notes: tuple[str, ...] = self._size_notes()

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
        """64 pages of 128 bytes at random places in the table, and the arithmetic between."""
        needs = {Ceiling.RANDOM_128B: 64.0 * PAGE_BYTES, Ceiling.INT32: _OPERATIONS_PER_HASH}
        return Cost(needs, self._pages * PAGE_BYTES)

    def launch(self, steps: int) -> Chunk:
        """Hash the next ``steps`` * 512 or 4096 nonces in one kernel launch."""
        nonces = steps * self._step_nonces
        target = min(2**64 - 1, _FOUND_PER_LAUNCH * 2**64 // nonces)
        search = self._searcher.enqueue(self._next_nonce, nonces, target)
        self._next_nonce = (self._next_nonce + nonces) % 2**64
        return Chunk(nonces, search.event, search.event, search)

    def complete(self, chunk: Chunk) -> None:
        """Send for what was found; it is looked at when it is here, so that nobody waits."""
        search: Search = chunk.state
        self._coming.append(search.fetch())
        self._take_what_came()

    def _take_what_came(self) -> None:
        """Keep what was found, and now and then the launch itself for a repetition."""
        while self._coming and self._coming[0].is_here:
            fetched = self._coming.popleft()
            results = fetched.results()
            self._unverified.extend(results.found)
            self._missed = 0 if results.found else self._missed + _FOUND_PER_LAUNCH
            self._completed += 1
            # Each launch since the last repetition is equally likely to be the remembered one.
            if self._random.integers(self._completed) == 0:
                self._remembered = _Remembered(fetched.search, results)

    def verify(self) -> list[Check]:
        """Nonces against the host; a part of an earlier launch against itself."""
        self._take_what_came()
        checks = self._check_nonces() + self._check_repeat()
        if self._missed >= _MISSED_MOST:
            checks.append(
                Check(
                    "device returns nothing", False,
                    f"about {self._missed} nonces below the target were due, none came",
                )
            )  # fmt: skip
        self._verifies += 1
        if self._verifies % _VERIFIES_PER_REPEAT == 0 and self._remembered and not self._repeat:
            self._repeat = self._launch_repeat(self._remembered)
            self._remembered, self._completed = None, 0
        return checks

    def readings(self) -> Mapping[str, float]:
        """Its rate says it all."""
        return {}

    def frame(self) -> None:
        """No picture."""
        return

    def _check_nonces(self) -> list[Check]:
        chosen = [
            self._unverified.pop() for _ in range(min(_NONCES_PER_VERIFY, len(self._unverified)))
        ]
        self._unverified.clear()
        if not chosen:
            return []
        nonces = [hashed.nonce for hashed in chosen]
        expected = hashimoto_light(self._header, nonces, self._pages, self._lines)
        return [_compared(*pair) for pair in zip(chosen, expected, strict=True)]

    def _launch_repeat(self, original: _Remembered) -> _Repeat:
        search = original.search
        stripe = int(self._random.integers(STRIPES))
        nonces = search.nonces // STRIPES
        first = (search.first_nonce + stripe * nonces) % 2**64
        return _Repeat(self._searcher.enqueue(first, nonces, search.target), stripe, original)

    def _check_repeat(self) -> list[Check]:
        repeat = self._repeat
        if repeat is None or not is_complete(repeat.search.event):
            return []
        if repeat.fetched is None:
            self._repeat = replace(repeat, fetched=repeat.search.fetch())
            return []
        self._repeat = None
        again = repeat.fetched.results()
        before = repeat.original.results
        digest = reduce(xor, again.digests)
        passed = digest == before.digests[repeat.stripe] and again.found == _within(
            before.found, repeat.search
        )
        detail = "" if passed else f"from nonce {repeat.search.first_nonce:#x}: other results now"
        return [Check("repeated launch", passed, detail)]

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


def _compared(device: Hashed, host: Hashed) -> Check:
    passed = device == host
    detail = "" if passed else (
        f"{device.nonce:#018x}: the device says mix {device.mix.hex()}, result"
        f" {device.result.hex()}; the host {host.mix.hex()}, {host.result.hex()}"
    )  # fmt: skip
    return Check("nonce", passed, detail)


def _within(found: Sequence[Hashed], search: Search) -> tuple[Hashed, ...]:
    return tuple(
        hashed for hashed in found if (hashed.nonce - search.first_nonce) % 2**64 < search.nonces
    )


def _built_in() -> Mapping[str, Any]:
    path = paths.data_dir("resources") / "vectors" / "ethash.json"
    vectors: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return vectors
