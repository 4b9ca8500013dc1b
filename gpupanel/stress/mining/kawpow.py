"""The load ``mining.kawpow``: a random program between random reads of 256 bytes.

The block height is made up and rises while the load runs, so that the program changes as it does
for a miner. The next one is compiled while the present one runs.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gpupanel.model.roofline import Ceiling, Cost
from gpupanel.stress.mining.ethash_cache import load_or_make
from gpupanel.stress.mining.ethash_device import (
    ItemMaker,
    Table,
    filled_table,
    require_room,
    size_notes,
)
from gpupanel.stress.mining.ethash_reference import Hashed, Words
from gpupanel.stress.mining.kawpow_device import KAWPOW, ComingProgram, ProgramSearcher, Setting
from gpupanel.stress.mining.kawpow_known_answers import known_answers
from gpupanel.stress.mining.kawpow_program import PERIOD_BLOCKS, Program, program_of
from gpupanel.stress.mining.kawpow_reference import (
    EPOCH_PERIODS,
    LANES,
    PAGE_BYTES,
    ROUNDS,
    hashing_light,
    pages_of,
)
from gpupanel.stress.mining.known_answers import built_in
from gpupanel.stress.mining.miner import Miner
from gpupanel.stress.mining.search import STRIPES
from gpupanel.stress.workload import Check, Chunk, Device, Report, Variant, lane_variants

# Groups of work-items in a stripe of the smallest launch.
_GROUPS_PER_STRIPE_GPU = 4
_GROUPS_PER_STRIPE_CPU = 2
# Some 70 ms of one core.
_ROUNDS_PER_VERIFY = ROUNDS // 2 + 1
# More than can be in flight or wait for verification.
_ERAS_KEPT = 8
# In every round of every lane: 18 operations, and 33 values that two operations merge.
_INT32_OPERATIONS = 64 * 16 * (18 + 2 * 33)


@dataclass(frozen=True, slots=True)
class _Era:
    """From which nonce on a program was used."""

    first_nonce: int
    program: Program


class Kawpow(Miner[Hashed]):
    """Host side of ``mining.kawpow``; the knobs are those of the catalogue."""

    # The time hardly depends on the number.
    nonces_per_verify = 8

    def __init__(self, device: Device, knobs: Mapping[str, int], seed: int) -> None:
        super().__init__(device, 32, seed)
        self._epoch = knobs["epoch"]
        self._program_s = knobs["program_seconds"]
        self._pages = pages_of(self._epoch, knobs["dag_mib"])
        self._whole_pages = pages_of(self._epoch, 0)
        self._next_nonce -= self._next_nonce % LANES
        self._period = self._epoch * EPOCH_PERIODS + int(self._random.integers(EPOCH_PERIODS))
        self._clock_s = time.monotonic
        self._eras: deque[_Era] = deque(maxlen=_ERAS_KEPT)
        self._programs = 0
        self._compile_s = 0.0
        self._hashing: Generator[None, None, list[Hashed]] | None = None
        self._has_compared = False
        self._lines: Words
        self._table: Table
        self._setting: Setting
        self._coming_program: ComingProgram
        self._change_at_s: float
        self.notes = size_notes(
            self._epoch, self._pages * PAGE_BYTES, self._whole_pages * PAGE_BYTES
        )

    @classmethod
    def variants(cls, device: Device) -> tuple[Variant, ...]:
        """By vector width."""
        return lane_variants(device)

    def prepare(self, report: Report) -> None:
        """Light cache, table, the first program.

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
            self._device, KAWPOW, self._lines, self._pages, lambda part: report("table", part)
        )
        self._setting = Setting.of(self._table)
        report("program", 0.0)
        self._coming_program = self._compiling(self._period)
        self._use(self._coming_program)
        groups = _GROUPS_PER_STRIPE_CPU if self._device.is_cpu else _GROUPS_PER_STRIPE_GPU
        self._step_nonces = groups * STRIPES * self._setting.shape.nonces_per_group

    def self_test(self, vectors: Mapping[str, Any] | None = None) -> list[Check]:
        """Published answers; all epochs of ``vectors``, or the run's own with the built-in ones.

        Light caches of other epochs take seconds each when they are not on disk yet.
        """
        makers = {self._epoch: self._table.maker}
        whole = {self._epoch: self._setting} if self._pages == self._whole_pages else {}

        def maker_of(epoch: int) -> ItemMaker:
            if epoch not in makers:
                lines = load_or_make(epoch, lambda _: None).lines
                makers[epoch] = ItemMaker(self._table.kernels, lines)
            return makers[epoch]

        epochs = [self._epoch] if vectors is None else None
        answers = built_in("kawpow") if vectors is None else vectors
        return known_answers(answers, epochs, maker_of, whole)

    def cost(self) -> Cost:
        """64 pages of 256 bytes at random places in the table, and the program."""
        amounts = {
            Ceiling.RANDOM_128B: float(ROUNDS * PAGE_BYTES),
            Ceiling.INT32: float(_INT32_OPERATIONS),
        }
        return Cost(amounts, self._pages * PAGE_BYTES)

    def launch(self, steps: int) -> Chunk:
        """As every miner; with the next program when its time has come and it is compiled."""
        if self._clock_s() >= self._change_at_s and self._coming_program.is_ready:
            self._use(self._coming_program)
        return super().launch(steps)

    def readings(self) -> Mapping[str, float]:
        """Where the made-up chain is, and what a change of program took."""
        return {
            "block_height": float(self._period * PERIOD_BLOCKS),
            "programs": float(self._programs),
            "compile_s": self._compile_s,
        }

    def _use(self, coming: ComingProgram) -> None:
        """Go on with that program, and have the one after it compiled."""
        searcher = coming.searcher()
        self._searcher = searcher
        self._period = searcher.program.period
        self._compile_s = coming.compile_s
        self._programs += 1
        self._eras.append(_Era(self._next_nonce, searcher.program))
        self._change_at_s = self._clock_s() + self._program_s
        first = self._epoch * EPOCH_PERIODS
        # The height stays in the epoch, whose table is on the device.
        self._coming_program = self._compiling(first + (self._period + 1 - first) % EPOCH_PERIODS)

    def _compiling(self, period: int) -> ComingProgram:
        setting, header = self._setting, self._header
        return ComingProgram(lambda: ProgramSearcher(setting, header, program_of(period)))

    def _expected(self, nonces: Sequence[int]) -> Sequence[Hashed] | None:
        if self._hashing is None:
            self._hashing = self._hash_on_host(nonces)
        # The very first in one go, so that the shortest run is verified too.
        rounds = _ROUNDS_PER_VERIFY if self._has_compared else (ROUNDS + 1) * len(nonces)
        try:
            for _ in range(rounds):
                next(self._hashing)
        except StopIteration as end:
            self._hashing, self._has_compared = None, True
            hashed: list[Hashed] = end.value
            return hashed
        return None

    def _hash_on_host(self, nonces: Sequence[int]) -> Generator[None, None, list[Hashed]]:
        """In the order of ``nonces``, each with the program that was its; pauses every round."""
        hashed: dict[int, Hashed] = {}
        programs = {nonce: self._program_of(nonce) for nonce in nonces}
        for program in dict.fromkeys(programs.values()):
            batch = [nonce for nonce in nonces if programs[nonce] is program]
            results = yield from hashing_light(
                program, self._header, batch, self._pages, self._lines
            )
            hashed |= {result.nonce: result for result in results}
        return [hashed[nonce] for nonce in nonces]

    def _program_of(self, nonce: int) -> Program:
        # The later of two that begin with the same nonce: the other came to no launch.
        eras = reversed(self._eras)
        return min(eras, key=lambda era: (nonce - era.first_nonce) % 2**64).program
