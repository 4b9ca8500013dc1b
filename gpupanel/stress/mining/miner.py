"""What all mining loads do while they run.

Nonces of a random header are hashed, so nothing that is found is worth anything. A launch returns
the few nonces whose result is below a target; they are hashed again on the host, and every few
seconds a part of an earlier launch is repeated on the device, where a digest over all its results
must come out again.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from operator import xor
from typing import ClassVar, Generic

import numpy as np  # noqa: TID253 - worker process only

from gpupanel.stress.mining.search import (
    STRIPES,
    Fetched,
    R,
    Results,
    Search,
    SearchKernel,
    is_complete,
)
from gpupanel.stress.workload import Check, Chunk, Device

_FOUND_PER_LAUNCH = 2
# The chance that a sound device returns none of so many is below 1e-13.
_MISSED_MOST = 30
_VERIFIES_PER_REPEAT = 5


@dataclass(frozen=True, slots=True)
class _Remembered(Generic[R]):
    """An earlier launch that may be repeated."""

    search: Search[R]
    results: Results[R]


@dataclass(frozen=True, slots=True)
class _Repeat(Generic[R]):
    """One stripe of an earlier launch, on its way a second time.

    Attributes:
        fetched: What it returned; None until the launch is over.
    """

    search: Search[R]
    stripe: int
    original: _Remembered[R]
    fetched: Fetched[R] | None = None


class Miner(ABC, Generic[R]):
    """Launches searches and checks what they return.

    A load adds how a nonce is hashed: its ``prepare`` sets ``_searcher`` and ``_step_nonces``,
    and ``_expected`` is its oracle.
    """

    nonces_per_header: ClassVar[int] = 2**64
    """No launch crosses a multiple of this."""

    nonces_per_verify: ClassVar[int] = 256
    """So many of the newest are verified at once; a second returns about 40."""

    def __init__(self, device: Device, header_bytes: int, seed: int) -> None:
        self.notes: tuple[str, ...] = ()
        self._device = device
        self._random = np.random.default_rng(seed)
        self._header = self._random.bytes(header_bytes)
        self._next_nonce = int(self._random.integers(2**64, dtype=np.uint64))
        self._coming: deque[Fetched[R]] = deque()
        self._unverified: deque[R] = deque(maxlen=self.nonces_per_verify)
        self._under_verification: list[R] = []
        self._missed = 0
        self._completed = 0
        self._verifies = 0
        self._remembered: _Remembered[R] | None = None
        self._repeat: _Repeat[R] | None = None
        self._searcher: SearchKernel[R]
        self._step_nonces: int

    @abstractmethod
    def _expected(self, nonces: Sequence[int]) -> Sequence[R] | None:
        """What the host says that these nonces give; None to be asked the same again later."""

    def launch(self, steps: int) -> Chunk:
        """Hash the next ``steps`` times ``_step_nonces`` nonces in one kernel launch."""
        nonces = steps * self._step_nonces
        target = min(2**64 - 1, _FOUND_PER_LAUNCH * 2**64 // nonces)
        search = self._searcher.enqueue(self._take(nonces), nonces, target)
        return Chunk(nonces, search.event, search.event, search)

    def complete(self, chunk: Chunk) -> None:
        """Send for what was found; it is looked at when it is here, so that nobody waits."""
        search: Search[R] = chunk.state
        self._coming.append(search.fetch())
        self._take_what_came()

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

    def _take(self, nonces: int) -> int:
        """The first of the next ``nonces``; what is left of a header is left out."""
        first = self._next_nonce
        if first % self.nonces_per_header + nonces > self.nonces_per_header:
            first += -first % self.nonces_per_header
        self._next_nonce = (first + nonces) % 2**64
        return first % 2**64

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

    def _check_nonces(self) -> list[Check]:
        if not self._under_verification:
            self._under_verification.extend(self._unverified)
            self._unverified.clear()
        found = self._under_verification
        expected = self._expected([result.nonce for result in found]) if found else []
        if expected is None:
            return []
        self._under_verification = []
        return [_compared(*pair) for pair in zip(found, expected, strict=True)]

    def _launch_repeat(self, original: _Remembered[R]) -> _Repeat[R]:
        search = original.search
        stripe = int(self._random.integers(STRIPES))
        nonces = search.nonces // STRIPES
        first = (search.first_nonce + stripe * nonces) % 2**64
        return _Repeat(search.kernel.enqueue(first, nonces, search.target), stripe, original)

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


def _compared(device: R, host: R) -> Check:
    passed = device == host
    detail = "" if passed else f"{device.nonce:#018x}: the device says {device}, the host {host}"
    return Check("nonce", passed, detail)


def _within(found: Sequence[R], search: Search[R]) -> tuple[R, ...]:
    return tuple(
        result for result in found if (result.nonce - search.first_nonce) % 2**64 < search.nonces
    )
