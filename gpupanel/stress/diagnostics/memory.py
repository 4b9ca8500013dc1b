"""The load ``diagnostics.memory``: patterns all over the device's memory, which must stay there.

The device compares; what it wrote is also copied to the host here and there and compared with what
the host computes. The self-test flips bits on purpose and sees that each is found where it is.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np  # noqa: TID253 - worker process only
import pyopencl as cl  # noqa: TID253 - worker process only

from gpupanel.model.errors import WorkloadError
from gpupanel.model.roofline import Ceiling, Cost
from gpupanel.stress.diagnostics.memory_device import FOUND_WORDS, MemoryUnderTest, Segment
from gpupanel.stress.diagnostics.memory_faults import Findings, all_of, readings_of
from gpupanel.stress.diagnostics.memory_patterns import (
    BYTES_PER_GRANULE,
    GRANULE_BYTES,
    GRANULE_WORDS,
    ONES,
    Action,
    Kind,
    Pattern,
    Sweep,
    sweeps,
)
from gpupanel.stress.workload import Check, Chunk, Device, Report, Variant, lane_variants

if TYPE_CHECKING:
    from numpy.typing import NDArray

SAMPLE_WORDS = 1024
LEAST_GRANULES = 2

LEFT_BEHIND: Mapping[Action, int] = {Action.WRITE: 0, Action.CHECK: 0, Action.TURN: ONES}
"""Actions after which the pattern or its complement is in all of a segment."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Words of a buffer after a launch, and what they must be."""

    first: int
    pattern: Pattern


@dataclass(frozen=True, slots=True)
class Launched:
    """What a chunk carries.

    Attributes:
        segments: In their order.
        results: FOUND_WORDS for each of them, then the sample's SAMPLE_WORDS.
        sample: None if what the launch left behind is no pattern.
        rounds: Of all tests that it ended.
    """

    segments: tuple[Segment, ...]
    results: cl.Buffer
    sample: Sample | None
    rounds: int


class MemoryTest:
    """Host side of ``diagnostics.memory``. One step is one action on one granule of memory.

    Attributes:
        memory: Set by prepare().
    """

    memory: MemoryUnderTest

    def __init__(self, device: Device, knobs: Mapping[str, int], seed: int) -> None:
        self._device = device
        self._share_percent = knobs["share_percent"]
        self._fade_s = knobs["fade_s"]
        self._random = np.random.default_rng(seed)
        self._seed = seed % 2**32
        self._coming: list[tuple[Launched, NDArray[np.uint32], cl.Event]] = []
        self._findings: Findings | None = None
        self._rounds = 0
        self.notes: tuple[str, ...] = () if self._fade_s else ("no bit fade: fade_s is 0",)

    @classmethod
    def variants(cls, device: Device) -> tuple[Variant, ...]:
        """By vector width."""
        return lane_variants(device)

    def prepare(self, report: Report) -> None:
        """Build the program and take the memory.

        Raises:
            WorkloadError: There is next to none.
            BuildFailed: The kernels do not compile.
        """
        asked = self._device.memory_bytes * self._share_percent // 100 // GRANULE_BYTES
        report("kernels", 0.0)
        self.memory = MemoryUnderTest(self._device, asked)
        report("memory", 0.0)
        self.memory.allocate(report)
        granules, buffers = self.memory.granules, len(self.memory.buffers)
        if granules < LEAST_GRANULES:
            raise WorkloadError(
                f"the device gives {granules} MiB of memory to test, of {asked} MiB asked for:"
                " close other programs or choose a larger share_percent"
            )
        self.notes += (f"{granules} MiB in {buffers} buffer{'s'[: buffers > 1]}",)
        if granules < asked:
            self.notes += (f"{asked} MiB were asked for; the device gave no more",)
        # A read on the queue of the launches would wait for those that follow.
        self._reads = cl.CommandQueue(self._device.context)
        self._sweeps = sweeps(granules, self._fade_s, self._seed, time.monotonic)
        self._sweep = next(self._sweeps)
        self._swept = 0

    def self_test(self, vectors: Mapping[str, Any] | None = None) -> list[Check]:
        """Each kind of pattern against the host's, with bits that are flipped on purpose.

        Raises:
            WorkloadError: Vectors were given; there is no file format for patterns.
        """
        if vectors is not None:
            raise WorkloadError("diagnostics.memory has no vector files")
        value = int(self._random.integers(2**32))
        checks = []
        for kind in Kind:
            plain = Pattern(kind, value % 20 if kind is Kind.MODULO else value)
            checks += [self._test_pattern(pattern) for pattern in (plain, plain.turned())]
        return checks

    def cost(self) -> Cost:
        """A byte read or written; the tests read about as much as they write."""
        return Cost({Ceiling.COPY: 1.0}, self.memory.granules * GRANULE_BYTES)

    def launch(self, steps: int) -> Chunk:
        """Enqueue the next ``steps`` actions on granules: a kernel per segment that they touch."""
        segments, rounds = self._next_segments(steps)
        words = len(segments) * FOUND_WORDS + SAMPLE_WORDS
        results = cl.Buffer(self._device.context, cl.mem_flags.READ_WRITE, 4 * words)
        queue = self._device.queue
        first = cl.enqueue_fill_buffer(queue, results, np.uint32(0), 0, 4 * words)
        for number, segment in enumerate(segments):
            last = self.memory.enqueue(segment, results, number)
        sample = self._sample_of(segments[-1])
        if sample:
            last = cl.enqueue_copy(
                queue, results, self.memory.buffers[segments[-1].buffer],
                src_offset=4 * sample.first, dst_offset=4 * (words - SAMPLE_WORDS),
                byte_count=4 * SAMPLE_WORDS,
            )  # fmt: skip
        queue.flush()
        work = sum(BYTES_PER_GRANULE[one.sweep.action] * one.granules for one in segments)
        return Chunk(work, first, last, Launched(segments, results, sample, rounds))

    def complete(self, chunk: Chunk) -> None:
        """Send for what was found; verify() looks at it."""
        launched: Launched = chunk.state
        raw = np.empty(len(launched.segments) * FOUND_WORDS + SAMPLE_WORDS, np.uint32)
        event = cl.enqueue_copy(self._reads, raw, launched.results, is_blocking=False)
        self._reads.flush()
        self._coming.append((launched, raw, event))
        self._rounds += launched.rounds

    def verify(self) -> list[Check]:
        """What the device found since the last call, by test; what the host finds in samples."""
        found: dict[str, list[Findings]] = defaultdict(list)
        samples: list[str] = []
        sampled = 0
        for launched, raw, event in self._coming:
            event.wait()
            for number, segment in enumerate(launched.segments):
                if segment.sweep.action in (Action.CHECK, Action.TURN):
                    words = raw[number * FOUND_WORDS : (number + 1) * FOUND_WORDS]
                    found[segment.sweep.test] += self.memory.findings(segment, words)
            if launched.sample:
                sampled += 1
                samples += self._wrong_samples(launched, raw[-SAMPLE_WORDS:])
        self._coming.clear()
        checks = [_check(test, all_of(findings)) for test, findings in found.items()]
        if sampled:
            checks.append(Check("seen by the host", not samples, "; ".join(samples[:3])))
        everything = [one for findings in found.values() for one in findings]
        self._findings = all_of([self._findings, *everything] if self._findings else everything)
        return checks

    def readings(self) -> Mapping[str, float]:
        """Rounds, and what was found."""
        return {"rounds": self._rounds, **readings_of(self._findings)}

    def frame(self) -> None:
        """Memory has no picture."""

    def _next_segments(self, steps: int) -> tuple[tuple[Segment, ...], int]:
        """So many granules of the sweeps, and the rounds of all tests that end there."""
        segments, rounds = [], 0
        while steps:
            segment = self.memory.segment(self._sweep, self._swept, steps)
            segments.append(segment)
            steps -= segment.granules
            self._swept += segment.granules
            if self._swept == self._sweep.end - self._sweep.first:
                rounds += self._sweep.ends_round
                self._sweep, self._swept = next(self._sweeps), 0
        return tuple(segments), rounds

    def _sample_of(self, segment: Segment) -> Sample | None:
        action = segment.sweep.action
        if action not in LEFT_BEHIND:
            return None
        start = int(self._random.integers(segment.granules * GRANULE_WORDS - SAMPLE_WORDS + 1))
        pattern = segment.pattern
        if LEFT_BEHIND[action]:
            pattern = pattern.turned()
        return Sample(segment.first * GRANULE_WORDS + start, pattern)

    def _wrong_samples(self, launched: Launched, words: NDArray[np.uint32]) -> Iterable[str]:
        assert launched.sample is not None
        segment = launched.segments[-1]
        expected = launched.sample.pattern.words(launched.sample.first, SAMPLE_WORDS)
        faults = self.memory.faults(segment, launched.sample.first, expected, words)
        return [f"{segment.sweep.test}: {faults[0]}"] if faults else []

    def _test_pattern(self, pattern: Pattern) -> Check:
        """Write, compare on the host, flip, find, in the last buffer's first granule."""
        memory = self.memory
        check = Sweep("self-test", Action.CHECK, pattern, 0, 1)
        place = Segment(check, len(memory.buffers) - 1, 0, 1)
        for action, written in _ways_to_write(pattern):
            sweep = replace(check, action=action, pattern=written)
            memory.enqueue(replace(place, sweep=sweep))
        name = pattern.kind.name.lower() + (" turned" if pattern.complement else "")
        right = place.pattern.words(0, GRANULE_WORDS)
        if not np.array_equal(memory.read(place), right):
            return Check(name, passed=False, detail="the device wrote something else")
        wrong = self._flipped(right)
        memory.write(place, wrong)
        found = all_of(memory.check_now(place))
        flipped = tuple(memory.faults(place, 0, right, wrong))
        passed = found is not None and found.faults == flipped
        names = ", ".join(map(str, flipped))
        return Check(name, passed, "" if passed else f"flipped on purpose {names}; found {found}")

    def _flipped(self, right: NDArray[np.uint32]) -> NDArray[np.uint32]:
        """A bit of the first, of the last and of some other word turned around."""
        wrong = right.copy()
        wrong[[0, -1]] ^= np.uint32(1), np.uint32(1 << 31)
        bit = np.uint32(1 << int(self._random.integers(32)))
        wrong[self._random.integers(1, len(right) - 1)] ^= bit
        return wrong


def _ways_to_write(pattern: Pattern) -> list[tuple[Action, Pattern]]:
    """Actions after which the pattern is in memory, as the tests get it there."""
    if pattern.kind is Kind.MODULO:
        return [(Action.WRITE_EVERY_20TH, pattern), (Action.WRITE_THE_OTHERS, pattern)]
    if pattern.kind is Kind.MOVED:
        random = replace(pattern, kind=Kind.RANDOM)
        return [(Action.WRITE, random), (Action.MOVE_UP, random), (Action.MOVE_BACK, random)]
    return [(Action.WRITE, pattern)]


def _check(test: str, findings: Findings | None) -> Check:
    return Check(test, findings is None, "" if findings is None else str(findings))
