"""The detector: which processes to look into, how often, and what they come to.

Only processes that have used a GPU are looked into. What is new or suspected is read at each look,
the rest now and then, and a look that takes too long goes on at the next one.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from gpupanel.detection import benign
from gpupanel.detection.fusion import Latch
from gpupanel.detection.own import OwnLoads
from gpupanel.detection.reading.facts import ProcessFacts, Use
from gpupanel.detection.reading.uses import is_at_work, use_of
from gpupanel.detection.signatures import Signatures
from gpupanel.detection.told import Told, evidence_of_use, what_is_told
from gpupanel.model.gpu import GpuId, ProcessSample
from gpupanel.model.verdict import ProcessClass, Standing, Verdict

_EAGER_LOOKS = 8
_PATIENT_S = 10.0
_READING_S, _CONTENT_S = 0.003, 0.010
"""So much of the processor at most for what ``/proc`` tells at one look, and after it for the
content of programs that are new; the rest has its turn next time, and the busiest have theirs
first."""

_USES = 64

Key = tuple[int, int]
"""Pid and start: a pid alone is used again."""


class Reader(Protocol):
    """The way to the facts: ``ProcReader`` or ``PsutilReader``."""

    known: Signatures

    def begin_look(self, now_s: float, pids: Sequence[int]) -> None:
        """A round of ``read`` begins, and these are the processes that still matter."""

    def glance(self, pid: int, started: int) -> ProcessFacts | None:
        """What costs little to read; None as of ``read``."""

    def read(self, pid: int, started: int) -> ProcessFacts | None:
        """None where the process is gone or another."""

    def read_on(self, is_over: Callable[[], bool]) -> None:
        """Read more of what is too long for one look, until ``is_over``."""

    def parent(self, pid: int) -> tuple[int, int] | None:
        """Pid of its parent, and its own start."""

    def environment(self, pid: int) -> Mapping[str, str] | None:
        """With which it was started; None where that cannot be read."""

    def has_foreign_code(self, pid: int) -> bool:
        """Whether it runs code from a file that root did not install."""


@dataclass(slots=True)
class _Watched:
    """One process that has used a GPU."""

    key: Key
    uses: deque[Use] = field(default_factory=lambda: deque(maxlen=_USES))
    facts: ProcessFacts | None = None
    verdict: Verdict | None = None
    latch_key: str = ""
    told: Told | None = None
    looks: int = 0
    read_at_s: float = float("-inf")
    was_at_work: bool = False


class Detector:
    """Looks at the processes of the GPUs; belongs to one thread."""

    def __init__(
        self,
        reader: Reader,
        known: Signatures,
        own: OwnLoads,
        clock_s: Callable[[], float] = time.thread_time,
    ) -> None:
        """Look at nothing yet.

        Args:
            reader: The way to the facts.
            known: What gpupanel knows by itself.
            own: Its own loads.
            clock_s: The processor's time, of which a look may take so much.
        """
        self._reader = reader
        self._built_in = self._known = known
        self._own = own
        self._clock_s = clock_s
        self._watched: dict[Key, _Watched] = {}
        self._latches: dict[str, Latch] = {}
        self.excused: Collection[tuple[int | None, str | None]] = ()
        """User and SHA-256 of each program that its user spoke for."""
        self.may_object: Callable[[int | None], bool] = lambda uid: False
        """Whether that user may speak for programs of his."""

    def learn(self, executables: Sequence[str], hosts: Sequence[str]) -> None:
        """Take an administrator's signatures in place of those taken before."""
        self._known = self._reader.known = self._built_in.with_policy(executables, hosts)

    def look(
        self,
        samples: Sequence[ProcessSample],
        bus_bytes_per_s: Mapping[GpuId, float],
        now_s: float,
        now_unix_s: float,
    ) -> Mapping[Key, Verdict]:
        """Judge everybody who uses a GPU, from facts of now or of a few seconds ago.

        Returns:
            By process; nothing of those that never worked on a GPU.
        """
        self._meet(samples, bus_bytes_per_s, now_s)
        at_work = [one for one in self._watched.values() if one.was_at_work]
        self._reader.begin_look(now_s, [pid for pid, _ in self._watched])
        began_s = self._clock_s()
        for one in sorted(at_work, key=_urgency):
            if not _is_due(one, now_s) or self._clock_s() - began_s > _READING_S:
                continue
            one.read_at_s = now_s
            one.looks += 1
            # What cannot be read any more has not changed for the better.
            one.facts = self._read(one) or one.facts
        for one in at_work:
            if one.facts is not None:
                one.verdict = self._judge(one, one.facts, now_s, now_unix_s)
        self._forget(now_s)
        return {one.key: one.verdict for one in at_work if one.verdict is not None}

    def read_on(self) -> None:
        """Read more of programs that are not read yet, between looks: none waits for it."""
        began_s = self._clock_s()
        self._reader.read_on(lambda: self._clock_s() - began_s > _CONTENT_S)

    def facts(self, key: Key) -> ProcessFacts | None:
        """What was read of a process last."""
        one = self._watched.get(key)
        return None if one is None else one.facts

    def _meet(
        self, samples: Sequence[ProcessSample], bus: Mapping[GpuId, float], now_s: float
    ) -> None:
        by_process: dict[Key, list[ProcessSample]] = {}
        for sample in samples:
            by_process.setdefault((sample.pid, sample.started), []).append(sample)
        before, self._watched = self._watched, {}
        for key, own in by_process.items():
            one = self._watched[key] = before.get(key) or _Watched(key)
            use = use_of(own, bus, now_s)
            one.uses.append(use)
            one.was_at_work = one.was_at_work or is_at_work(use, own)

    def _read(self, one: _Watched) -> ProcessFacts | None:
        """New ones by a glance where that says nothing against them: many may come at once."""
        if one.looks > 1:
            return self._reader.read(*one.key)
        facts = self._reader.glance(*one.key)
        if facts is None:
            return None
        one.told = what_is_told(facts, self._known, None)
        is_quiet = all(line.weight_nats <= 0 for line in one.told.evidence)
        return facts if is_quiet else self._reader.read(*one.key)

    def _judge(
        self, one: _Watched, facts: ProcessFacts, now_s: float, now_unix_s: float
    ) -> Verdict:
        uses = tuple(one.uses)
        if facts.children and not benign.computes(facts, uses):
            facts = replace(facts, children=())  # a file browser starts everything
        told = one.told = what_is_told(facts, self._known, one.told)
        lines = (*told.evidence, *evidence_of_use(facts, uses, told))
        judgement = self._latch(one, facts).see(lines, now_s)
        own = self._own.verdict(facts)
        if own is not None and judgement.standing(Standing.CLEAR) is Standing.CLEAR:
            return own
        before = one.verdict
        stood = before.standing if before is not None else Standing.CLEAR
        found = judgement.standing(stood)
        if found is Standing.MINING and facts.program.is_trusted:
            facts = one.facts = self._without_borrowed_trust(facts)
            told = one.told = what_is_told(facts, self._known, one.told)
        standing = self._standing(found, facts, told.protection)
        is_miner = standing in (Standing.MINING, Standing.SUSPECTED)
        same = before is not None and before.standing is standing
        return Verdict(
            ProcessClass.MINING
            if is_miner
            else told.program_class or benign.class_of_use(facts, uses),
            standing,
            judgement.posterior,
            before.since_unix_s if before is not None and same else now_unix_s,
            judgement.evidence,
            told.protection,
            facts.content_sha256,
            is_miner and self._may_object(facts),
        )

    def _standing(self, found: Standing, facts: ProcessFacts, protected: str) -> Standing:
        is_excused = (facts.uid, facts.content_sha256) in self.excused
        if is_excused and found in (Standing.MINING, Standing.SUSPECTED):
            return Standing.EXCUSED
        return Standing.SUSPECTED if found is Standing.MINING and protected else found

    def _without_borrowed_trust(self, facts: ProcessFacts) -> ProcessFacts:
        """A user may have any program load his own code: root's file is not all that runs then."""
        if not self._reader.has_foreign_code(facts.pid):
            return facts
        return replace(facts, program=replace(facts.program, is_trusted=False))

    def _may_object(self, facts: ProcessFacts) -> bool:
        """A user may speak for a program of theirs, and only for what can be known again."""
        return facts.content_sha256 is not None and self.may_object(facts.uid)

    def _latch(self, one: _Watched, facts: ProcessFacts) -> Latch:
        """Of the program, however often it is renamed or started anew; else of the process."""
        content = facts.content_sha256
        key = f"{facts.uid}/{content}" if content else f"process {one.key}"
        latch = self._latches.setdefault(key, Latch())
        if one.latch_key and one.latch_key != key and one.latch_key.startswith("process"):
            latch.merge(self._latches.pop(one.latch_key, Latch()))
        one.latch_key = key
        return latch

    def _forget(self, now_s: float) -> None:
        used = {one.latch_key for one in self._watched.values()}
        self._latches = {
            key: latch
            for key, latch in self._latches.items()
            if key in used or not latch.is_empty(now_s)
        }


def _urgency(one: _Watched) -> tuple[float, float]:
    return one.read_at_s, -(one.uses[-1].utilization_percent or 0.0)


def _is_due(one: _Watched, now_s: float) -> bool:
    is_quiet = one.verdict is not None and one.verdict.standing is Standing.CLEAR
    return one.looks < _EAGER_LOOKS or not is_quiet or now_s - one.read_at_s >= _PATIENT_S
