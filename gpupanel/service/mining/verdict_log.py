"""Who mined, and how much: a small file that ``gpupanelctl policy simulate`` replays.

One line per miner and minute, and one where something changes; the form is that of
``policy.replay``. Two files of bounded size, the older one replaced by the newer. Our own mining
load is not in it: it obeys the cap by itself. Nor is a process whose GPU time no driver counts.
"""

from __future__ import annotations

import errno
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from gpupanel.detection.detector import Key
from gpupanel.detection.reading.facts import ProcessFacts
from gpupanel.model.gpu import GpuId, ProcessSample, Unavailable
from gpupanel.model.verdict import Standing, Verdict
from gpupanel.policy.replay import Recorded
from gpupanel.service.mining.enforcing import by_process, guests
from gpupanel.service.mining.judging import Facts

LONGEST_S = 60.0
"""Of one line, unless something changes before."""

MOST_BYTES = 1_000_000
"""Of each of the two files: some two days of one miner."""

_GAP_S = 10.0
"""Nobody looked for longer: the machine slept, and so did the miner."""

_SHORTEST_S = 0.01
_MOST_PATH, _MOST_PATH_BYTES = 1024, 2400
"""As JSON; a whole line has to be shorter than a replay reads."""

Names = Callable[[GpuId], tuple[str, ...]]


@dataclass(slots=True)
class _Entry:
    """A line that is not finished: what is said of the process, and how long it was so."""

    said: Recorded
    seconds: float = 0.0
    gpu_seconds: float = 0.0


class VerdictLog:
    """Belongs to the detection thread.

    Attributes:
        problem: Why it cannot be written; empty while all is well.
    """

    def __init__(
        self, files: tuple[Path, Path], names: Names, clock_s: Callable[[], float] = time.time
    ) -> None:
        """Write nothing yet.

        Args:
            files: The one that was full, and the one that is written.
            names: What policy may call a GPU.
            clock_s: The time of day, in Unix seconds.
        """
        self._older, self._path = files
        self._names = names
        self._clock_s = clock_s
        self._entries: dict[Key, _Entry] = {}
        self._before_s: float | None = None
        self.problem = ""

    def judged(
        self, samples: Sequence[ProcessSample], verdicts: Mapping[Key, Verdict], facts: Facts
    ) -> None:
        """Take a round of verdicts: the time since the last one was spent so."""
        now_s = self._clock_s()
        passed_s = now_s - (self._before_s if self._before_s is not None else now_s)
        self._before_s = now_s
        passed_s = passed_s if 0 < passed_s <= _GAP_S else 0.0
        beside = guests(samples, verdicts)
        mining: dict[Key, tuple[Recorded, float]] = {}
        for key, own in by_process(samples).items():
            verdict = verdicts.get(key)
            known = facts(key) if verdict and verdict.standing is Standing.MINING else None
            busy = _gpus_busy(own)
            if known is not None and busy is not None:
                mining[key] = self._record(known, own, beside, now_s), busy
        for key in self._entries.keys() - mining.keys():
            self._write(self._entries.pop(key))
        for key, (said, busy) in mining.items():
            self._add(key, said, busy, passed_s)

    def close(self) -> None:
        """Write what is not finished."""
        while self._entries:
            self._write(self._entries.popitem()[1])

    def _record(
        self,
        facts: ProcessFacts,
        samples: Sequence[ProcessSample],
        beside: frozenset[GpuId],
        now_s: float,
    ) -> Recorded:
        """Of no length yet."""
        program = facts.program
        gpus = sorted({one.gpu_id for one in samples})
        return Recorded(
            now_s, 0.0, facts.pid, _short(program.path or facts.name or "?"),
            facts.content_sha256, program.is_trusted and facts.script is None,
            tuple(self._names(gpu) for gpu in gpus), 0.0, not beside.isdisjoint(gpus),
        )  # fmt: skip

    def _add(self, key: Key, said: Recorded, busy: float, passed_s: float) -> None:
        entry = self._entries.get(key)
        if entry is not None:
            entry.seconds += passed_s
            entry.gpu_seconds += busy * passed_s
            if _is_alike(entry.said, said) and entry.seconds < LONGEST_S:
                return
            self._write(entry)
        self._entries[key] = _Entry(said)

    def _write(self, entry: _Entry) -> None:
        if entry.seconds < _SHORTEST_S:
            return
        document = asdict(entry.said) | {
            "interval_s": round(entry.seconds, 3),
            "gpu_seconds": round(entry.gpu_seconds, 3),
        }
        line = json.dumps(document, separators=(",", ":")).encode() + b"\n"
        try:
            self._append(line)
        except OSError as reason:
            self.problem = f"the record of verdicts cannot be written: {reason}"
        else:
            self.problem = ""

    def _append(self, line: bytes) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
        descriptor = os.open(self._path, flags | getattr(os, "O_BINARY", 0), 0o600)
        try:
            size = os.fstat(descriptor).st_size
            if os.write(descriptor, line) < len(line):
                os.ftruncate(descriptor, size)  # half a line would spoil the next one too
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._path))
        finally:
            os.close(descriptor)
        if size + len(line) >= MOST_BYTES:
            os.replace(self._path, self._older)


def _short(path: str) -> str:
    """What is longer than any path of a system is cut at its end."""
    while len(json.dumps(path)) > _MOST_PATH_BYTES:
        path = path[: len(path) // 2]
    return path[:_MOST_PATH]


def _gpus_busy(samples: Sequence[ProcessSample]) -> float | None:
    """How many GPUs' worth of time it uses; None where that is not counted."""
    percents = [one.utilization_percent for one in samples]
    counted = [one for one in percents if not isinstance(one, Unavailable)]
    if not counted:
        return None
    return sum(min(max(one, 0.0), 100.0) for one in counted) / 100


def _is_alike(one: Recorded, other: Recorded) -> bool:
    """Whether one line may tell of both."""

    def lasting(said: Recorded) -> tuple[object, ...]:
        return (
            said.pid, said.executable, said.sha256, said.trusted, said.gpus, said.beside_guest,
        )  # fmt: skip

    return lasting(one) == lasting(other)
