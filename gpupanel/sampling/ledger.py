"""The why-limited ledger: what held a card's clocks down, for which share of the time, set by whom.

Where the driver counts the time itself, its counter is believed; else a reason that is given at a
tick is taken to have held since the tick before.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from gpupanel.model.gpu import GpuId, GpuState, Sample, Snapshot, Unavailable
from gpupanel.model.limits import LIMIT_BY_NAME

MINUTE_S, DAY_S = 60.0, 86400.0

SPANS_S: Mapping[str, float] = {"minute": MINUTE_S, "hour": 3600.0, "day": DAY_S}
"""What people ask about."""

LONGEST_STEP_S = 5.0
"""Between two ticks; what happened in a longer time is not known."""

SetBy = Mapping[tuple[GpuId, str], str]
"""Who set the limit behind a reason: (GPU, name of LIMITS) to a text such as ``policy miner``."""

UNKNOWN = Unavailable("not sampled")

ROUNDING_W = 1.0
"""Drivers round limits; a watt less is not somebody's wish."""

_Cause = tuple[str, str]
_WATCHED: _Cause = ("", "")


class HeldMinute(NamedTuple):
    """How long one reason held one card within one minute of the wall clock.

    Attributes:
        start_s: Seconds since 1970, a multiple of 60.
        limit: A name of LIMITS; empty for the time in which the reasons were known at all.
        set_by: As in Held.
    """

    start_s: int
    gpu_id: GpuId
    limit: str
    set_by: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Held:
    """How much of a time one reason held a card.

    Attributes:
        limit: A name of LIMITS.
        set_by: Who set it; empty when nobody did or it is not known.
        share: Of the watched time, 0 to 1. Reasons overlap: shares may add up to more.
    """

    limit: str
    set_by: str
    share: float

    def as_json(self) -> dict[str, Any]:
        """One entry of ``held`` in the protocol."""
        return {"limit": self.limit, "set_by": self.set_by, "share": self.share}


@dataclass(frozen=True, slots=True)
class Account:
    """What held one card in one span of time.

    Attributes:
        watched_s: The part of the span in which the reasons were known; nothing is told of the
            rest.
        held: The greatest share first.
    """

    watched_s: float
    held: tuple[Held, ...]

    def as_json(self) -> dict[str, Any]:
        """One span of one card in the protocol."""
        return {"watched_s": self.watched_s, "held": [one.as_json() for one in self.held]}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Account:
        """Inverse of ``as_json``.

        Raises:
            KeyError, TypeError: A field is missing.
        """
        return cls(document["watched_s"], tuple(Held(**one) for one in document["held"]))


class Ledger:
    """Keeps the running totals of a day, each second of the last minute and each minute before.

    Pure: time comes with the snapshots, and what was there before a restart with ``restore``. One
    thread at a time.
    """

    def __init__(self) -> None:
        self._cards: dict[GpuId, _Card] = {}
        self._fresh: dict[tuple[int, GpuId, str, str], float] = {}

    def restore(self, kept: Iterable[HeldMinute], unix_s: float, monotonic_s: float) -> None:
        """Begin with what ``drain`` once gave; call before the first ``append``.

        Args:
            kept: In any order.
            unix_s: The wall clock now; what lies after it is of a clock that was wrong.
            monotonic_s: The same moment as snapshots count it.
        """
        minutes: dict[GpuId, dict[int, dict[_Cause, float]]] = {}
        for one in kept:
            if one.start_s <= unix_s:
                causes = minutes.setdefault(one.gpu_id, {}).setdefault(one.start_s, {})
                causes[one.limit, one.set_by] = one.seconds
        for gpu_id, by_start in minutes.items():
            card = self._cards[gpu_id] = _Card()
            for start_s, causes in sorted(by_start.items()):
                end_s = min(start_s + MINUTE_S, unix_s)
                times_s = (start_s - unix_s + monotonic_s, end_s - unix_s + monotonic_s)
                card.restore(times_s, causes.pop(_WATCHED, 0.0), causes)

    def drain(self) -> list[HeldMinute]:
        """What was added since the last call, to be kept; parts of one minute add up."""
        fresh, self._fresh = self._fresh, {}
        return [HeldMinute(*key, seconds) for key, seconds in fresh.items()]

    def append(self, snapshot: Snapshot, set_by: SetBy | None = None) -> None:
        """Add the time since the last snapshot.

        Args:
            snapshot: Newer than the last one.
            set_by: Who is behind the reasons now.
        """
        now_s = snapshot.time_monotonic_s
        for sample in snapshot.samples:
            card = self._cards.setdefault(sample.gpu_id, _Card())
            minute_s = int(snapshot.time_unix_s // MINUTE_S * MINUTE_S)
            for cause, seconds in card.append(now_s, sample, set_by or {}).items():
                key = minute_s, sample.gpu_id, *cause
                self._fresh[key] = self._fresh.get(key, 0.0) + seconds

    def account(self, gpu_id: GpuId, seconds: float) -> Account:
        """What held ``gpu_id`` in the ``seconds`` before its newest snapshot, a day at most.

        Up to a minute to the tick; beyond it, the span begins at most a minute early.
        """
        card = self._cards.get(gpu_id)
        return Account(0.0, ()) if card is None else card.account(seconds)

    def accounts(self, gpu_id: GpuId) -> dict[str, Account]:
        """The last ``minute``, ``hour`` and ``day`` of one card."""
        return {name: self.account(gpu_id, seconds) for name, seconds in SPANS_S.items()}


def set_by(snapshot: Snapshot) -> SetBy:
    """Who is behind each card's power limit, as far as the readings tell."""
    authors = {}
    for sample in snapshot.samples:
        limit_w = sample.readings.get("power_limit_w", UNKNOWN)
        default_w = sample.readings.get("power_limit_default_w", UNKNOWN)
        if isinstance(limit_w, Unavailable) or isinstance(default_w, Unavailable):
            continue
        lowered = limit_w < default_w - ROUNDING_W
        author = f"lowered from {default_w:.0f} W" if lowered else "the board's own"
        authors[sample.gpu_id, "power_cap"] = author
    return authors


@dataclass(frozen=True, slots=True)
class _Totals:
    time_s: float
    watched_s: float
    held_s: Mapping[_Cause, float]


class _Card:
    """Running totals of one card; a span is the difference of two of them."""

    __slots__ = ("_last", "_minutes", "_seconds", "_totals")

    def __init__(self) -> None:
        self._last: tuple[float, Sample] | None = None
        self._totals = _Totals(0.0, 0.0, {})
        self._seconds: deque[_Totals] = deque()
        self._minutes: deque[_Totals] = deque()

    def restore(
        self, times_s: tuple[float, float], watched_s: float, held_s: Mapping[_Cause, float]
    ) -> None:
        """Add what happened between two times of long ago; call in their order."""
        start_s, end_s = times_s
        if not self._minutes or self._minutes[-1].time_s < start_s:
            before = _Totals(start_s, self._totals.watched_s, self._totals.held_s)
            _keep(self._minutes, before, DAY_S)
        self._totals = _added(self._totals, end_s, watched_s, held_s)
        _keep(self._minutes, self._totals, DAY_S)
        self._seconds = deque([self._totals])

    def append(self, now_s: float, sample: Sample, set_by: SetBy) -> Mapping[_Cause, float]:
        """Add the time since the last sample; returns it by cause, with all that was watched."""
        before = self._last
        self._last = now_s, sample
        held: Mapping[str, float] | None = None
        if before is not None and 0 < now_s - before[0] <= LONGEST_STEP_S:
            held = _held_s(before[1], sample, now_s - before[0])
        grown: dict[_Cause, float] = {}
        if held is None or before is None:
            totals = _Totals(now_s, self._totals.watched_s, self._totals.held_s)
        else:
            grown = _by_cause(held, sample, set_by)
            totals = _added(self._totals, now_s, now_s - before[0], grown)
            grown[_WATCHED] = now_s - before[0]
        self._totals = totals
        _keep(self._seconds, totals, MINUTE_S)
        if not self._minutes or now_s - self._minutes[-1].time_s >= MINUTE_S:
            _keep(self._minutes, totals, DAY_S)
        return grown

    def account(self, seconds: float) -> Account:
        """What held the clocks in the last ``seconds``."""
        kept = self._seconds if seconds <= MINUTE_S else self._minutes
        since_s = self._totals.time_s - seconds
        place = max(0, bisect_right(kept, since_s, key=lambda totals: totals.time_s) - 1)
        start = kept[place]
        watched_s = self._totals.watched_s - start.watched_s
        if watched_s <= 0:
            return Account(0.0, ())
        held = [
            Held(*cause, min(1.0, held_s / watched_s))
            for cause, total_s in self._totals.held_s.items()
            if (held_s := total_s - start.held_s.get(cause, 0.0)) > 0
        ]
        return Account(watched_s, tuple(sorted(held, key=lambda one: (-one.share, one.limit))))


def _held_s(before: Sample, sample: Sample, step_s: float) -> Mapping[str, float] | None:
    """Seconds of ``step_s`` by reason; None where neither counters nor reasons are known."""
    if sample.state is not GpuState.ACTIVE:
        return None
    counted = {
        name: min(step_s, grown_s)
        for name, total_s in sample.limited_s.items()
        # A counter that went back belongs to a driver that was loaded anew.
        if (grown_s := total_s - before.limited_s.get(name, total_s + 1)) >= 0
    }
    if isinstance(sample.limited_by, Unavailable):
        return counted or None
    told = dict.fromkeys(sample.limited_by, step_s)
    return told | counted


def _by_cause(held: Mapping[str, float], sample: Sample, set_by: SetBy) -> dict[_Cause, float]:
    return {
        (name, set_by.get((sample.gpu_id, name), "")): seconds
        for name, seconds in held.items()
        if seconds > 0 and name in LIMIT_BY_NAME
    }


def _added(totals: _Totals, now_s: float, step_s: float, held: Mapping[_Cause, float]) -> _Totals:
    grown = dict(totals.held_s)
    for cause, seconds in held.items():
        grown[cause] = grown.get(cause, 0.0) + seconds
    return _Totals(now_s, totals.watched_s + step_s, grown)


def _keep(kept: deque[_Totals], totals: _Totals, span_s: float) -> None:
    """Append, and forget what no span of ``span_s`` begins at any more."""
    kept.append(totals)
    while len(kept) > 1 and kept[1].time_s <= totals.time_s - span_s:
        kept.popleft()
