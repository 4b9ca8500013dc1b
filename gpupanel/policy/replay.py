"""What a policy would have done to miners that were recorded. Pure; the clock is the recording's.

The record of verdicts is JSON, one object per line, each one process over one interval:

    {"time_unix_s": 1700000000.0, "interval_s": 1.0, "pid": 4242, "executable": "/home/al/miner",
     "sha256": "…64 hex digits…" or null, "trusted": false, "gpus": [["GPU-1", "0000:01:00.0"]],
     "gpu_seconds": 0.98, "beside_guest": false}

``time_unix_s`` is the beginning of the interval; ``trusted`` says that only root can write to the
executable and to all above it; ``gpu_seconds`` is what it used on all its GPUs together.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gpupanel.model.errors import PolicyInvalid
from gpupanel.policy.faults import Fault, error, printable
from gpupanel.policy.limiter import Limiter
from gpupanel.policy.offender import Offender, Treatment, treat
from gpupanel.policy.resolve import EffectivePolicy

MAX_LINE_BYTES = 4096
MAX_RECORDS = 200_000
"""Two days of one process, second by second."""

MAX_INTERVAL_S = 3600.0
SLICES = 20
"""Parts of an interval in which the cap lets work go on or not, as launches would be."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """One process that mined, over one interval; fields as in the file."""

    time_unix_s: float
    interval_s: float
    pid: int
    executable: str
    sha256: str | None
    trusted: bool
    gpus: tuple[tuple[str, ...], ...]
    gpu_seconds: float
    beside_guest: bool

    @property
    def offender(self) -> Offender:
        """As policy sees it."""
        path = self.executable if self.trusted else None
        return Offender(self.sha256, path, self.gpus, self.beside_guest)


@dataclass(slots=True)
class Outcome:
    """What would have happened to one process.

    Attributes:
        treatment: The harshest that it met.
        recorded_s: How long it was recorded.
        throttled_s: How long it would have been held.
        gpu_seconds: What it used.
        lost_gpu_seconds: What it would not have had of that.
    """

    pid: int
    executable: str
    treatment: Treatment
    recorded_s: float = 0.0
    throttled_s: float = 0.0
    gpu_seconds: float = 0.0
    lost_gpu_seconds: float = 0.0

    def as_json(self) -> dict[str, Any]:
        """For ``policy simulate --json``."""
        return {
            "pid": self.pid,
            "executable": self.executable,
            "action": self.treatment.action,
            "would": self.treatment.would,
            "cap_percent": self.treatment.cap_percent,
            "grace_seconds": self.treatment.grace_seconds,
            "reason": self.treatment.reason,
            "recorded_s": round(self.recorded_s, 3),
            "throttled_s": round(self.throttled_s, 3),
            "gpu_seconds": round(self.gpu_seconds, 3),
            "lost_gpu_seconds": round(self.lost_gpu_seconds, 3),
        }


def read_verdicts(lines: Iterable[bytes], path: str) -> Iterator[Recorded]:
    """The records of a file, in its order.

    Raises:
        PolicyInvalid: A line is no record; tells which and why.
    """
    for number, line in enumerate(lines, start=1):
        if number > MAX_RECORDS:
            text = f"more than {MAX_RECORDS} records: cut the file"
            raise PolicyInvalid([error(Fault.TOO_MANY_KEYS, path, text, number, 1)])
        try:
            yield _recorded(line)
        except (ValueError, RecursionError) as reason:
            text = printable(f"not a record: {reason}")
            raise PolicyInvalid([error(Fault.SYNTAX, path, text, number, 1)]) from None


def replay(policy: EffectivePolicy, records: Iterable[Recorded]) -> list[Outcome]:
    """The outcome of each process, in the order in which they appeared."""
    processes: dict[tuple[int, str, str | None], _Process] = {}
    for record in records:
        name = record.pid, record.executable, record.sha256
        process = processes.get(name)
        if process is None:
            process = processes[name] = _Process(record.time_unix_s)
        process.go_on(record, treat(policy, record.offender))
    return [process.outcome for process in processes.values() if process.outcome]


@dataclass(slots=True)
class _Process:
    """One process on the recording's clock; ``since_s`` is when it was found to mine."""

    since_s: float
    outcome: Outcome | None = None
    limiter: Limiter = field(default_factory=lambda: Limiter(100))
    is_ended: bool = False

    def go_on(self, record: Recorded, treatment: Treatment) -> None:
        """Add one interval."""
        outcome = self._outcome(record, treatment)
        outcome.recorded_s += record.interval_s
        outcome.gpu_seconds += record.gpu_seconds
        grace_end_s = self.since_s + treatment.grace_seconds
        free_s = min(max(0.0, grace_end_s - record.time_unix_s), record.interval_s)
        held_s = self._held_s(record, treatment, free_s)
        outcome.throttled_s += held_s
        outcome.lost_gpu_seconds += record.gpu_seconds * held_s / record.interval_s

    def _outcome(self, record: Recorded, treatment: Treatment) -> Outcome:
        if self.outcome is None:
            self.outcome = Outcome(record.pid, record.executable, treatment)
        elif _rank(treatment) > _rank(self.outcome.treatment):
            self.outcome.treatment = treatment
        return self.outcome

    def _held_s(self, record: Recorded, treatment: Treatment, free_s: float) -> float:
        """How much of the interval it would not have run; the first ``free_s`` are its grace."""
        if self.is_ended:
            return record.interval_s
        if treatment.action in {"suspend", "terminate"} and free_s < record.interval_s:
            # Suspended until somebody releases it, and nobody did.
            self.is_ended = True
            return record.interval_s - free_s
        cap_percent = treatment.cap_percent if treatment.action == "throttle" else 100
        slice_s = record.interval_s / SLICES
        busy = record.gpu_seconds / record.interval_s / max(1, len(record.gpus))
        held_s = 0.0
        for number in range(SLICES):
            from_s = record.time_unix_s + number * slice_s
            is_free = number * slice_s < free_s
            self._use(100 if is_free else cap_percent, from_s)
            wait_s = min(self.limiter.wait_s(from_s), slice_s)
            held_s += wait_s
            self.limiter.charge(busy * (slice_s - wait_s), from_s + slice_s)
        return held_s

    def _use(self, cap_percent: int, now_s: float) -> None:
        if cap_percent != self.limiter.cap_percent:
            self.limiter.set_cap(cap_percent, now_s)


_ACTIONS = ("observe", "notify", "throttle", "suspend", "terminate")


def _rank(treatment: Treatment) -> tuple[int, int, int]:
    """Harsher is more."""
    would = _ACTIONS.index(treatment.would)
    return _ACTIONS.index(treatment.action), would, -treatment.cap_percent


def _recorded(line: bytes) -> Recorded:
    if len(line) > MAX_LINE_BYTES:
        raise ValueError(f"the line has more than {MAX_LINE_BYTES} bytes")
    document = json.loads(line, object_pairs_hook=_once, parse_constant=_refuse_constant)
    if not isinstance(document, dict):
        raise ValueError("an object was expected")
    if document.keys() != _CHECKS.keys():
        missing, more = _CHECKS.keys() - document.keys(), document.keys() - _CHECKS.keys()
        raise ValueError(", ".join([*(f"{one} is missing" for one in sorted(missing)),
                                    *(f"{one} is not known" for one in sorted(more))]))  # fmt: skip
    for name, is_right in _CHECKS.items():
        if not is_right(document[name]):
            raise ValueError(f"{name} is {str(document[name])[:40]!r}")
    document["gpus"] = tuple(tuple(names) for names in document["gpus"])
    record = Recorded(**document)
    most_s = record.interval_s * max(1, len(record.gpus)) * 1.01
    if record.gpu_seconds > most_s:
        raise ValueError(f"gpu_seconds is more than {len(record.gpus)} GPUs have in the interval")
    return record


def _once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ValueError("a name stands twice")
    return document


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is no number")


def _is_number(value: object, least: float, most: float) -> bool:
    # NaN compares false with both.
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and least <= value <= most  # type: ignore[operator]


def _is_text(value: object, most: int = 1024) -> bool:
    return isinstance(value, str) and 0 < len(value) <= most


def _is_sha256(value: object) -> bool:
    return value is None or (
        isinstance(value, str) and len(value) == 64 and not set(value) - set("0123456789abcdef")
    )


def _are_gpus(value: object) -> bool:
    return isinstance(value, list) and all(
        isinstance(names, list) and names and all(_is_text(name, 64) for name in names)
        for names in value
    )


_CHECKS: Mapping[str, Any] = {
    "time_unix_s": lambda value: _is_number(value, 0, 2**40),
    "interval_s": lambda value: _is_number(value, 0.01, MAX_INTERVAL_S),
    "pid": lambda value: isinstance(value, int) and not isinstance(value, bool) and value > 0,
    "executable": _is_text,
    "sha256": _is_sha256,
    "trusted": lambda value: isinstance(value, bool),
    "gpus": _are_gpus,
    "gpu_seconds": lambda value: _is_number(value, 0, 2**20),
    "beside_guest": lambda value: isinstance(value, bool),
}
