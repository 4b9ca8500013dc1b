"""Lines of evidence to a verdict: logarithms of likelihood ratios added to a prior.

What was seen once stays seen for a while: it fades with a half-life of ten minutes, so that a miner
which works in pulses, hides while it is watched or is started anew gains nothing by it. Families
are not independent, so each is bounded, and no sum alone is enough to hold a process: two families
must speak, from two places.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import combinations

from gpupanel.model.verdict import (
    CERTAIN,
    LIKELY,
    Evidence,
    EvidenceFamily,
    EvidenceSource,
    Standing,
)

PRIOR_NATS = -9.2
"""One of ten thousand processes that use a GPU."""

HALF_LIFE_S = 600.0

_UNLIKELY = 0.5
"""Below it, what stood as suspected or mining stands so no more."""

_FORGOTTEN_NATS = 0.05

_MOST_NATS: Mapping[EvidenceFamily, float] = {
    EvidenceFamily.PROCESS: 12.0,
    EvidenceFamily.NETWORK: 12.0,
    EvidenceFamily.FILES: 6.0,
    EvidenceFamily.TELEMETRY: 2.0,
    EvidenceFamily.BENIGN: 0.0,
}
_LEAST_NATS = -8.0
"""All that speaks for a process together."""

_LEAST_AGAINST_WITNESSES_NATS = -2.0
"""The same where two witnesses speak: a window that is drawn does not undo what they saw."""

_WITNESSES = frozenset({EvidenceFamily.PROCESS, EvidenceFamily.NETWORK, EvidenceFamily.FILES})
_WITNESS_NATS = 2.0
"""What a family says from one place counts as a witness from here on."""

_Key = tuple[EvidenceFamily, str, EvidenceSource]


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the evidence comes to.

    Attributes:
        evidence: Strongest first, with the weights that it has now.
        has_two_witnesses: Two families speak, from two places.
    """

    posterior: float
    evidence: tuple[Evidence, ...]
    has_two_witnesses: bool

    def standing(self, before: Standing) -> Standing:
        """What follows; a standing is left later than it is entered."""
        if self.posterior >= CERTAIN and self.has_two_witnesses:
            return Standing.MINING
        if before is Standing.MINING and self.posterior >= _UNLIKELY and self.has_two_witnesses:
            return Standing.MINING
        held = before in (Standing.MINING, Standing.SUSPECTED) and self.posterior >= _UNLIKELY
        return Standing.SUSPECTED if held or self.posterior >= LIKELY else Standing.CLEAR


class Latch:
    """What was seen of one program, and how long ago."""

    def __init__(self) -> None:
        self._seen: dict[_Key, tuple[Evidence, float]] = {}

    def see(self, lines: Iterable[Evidence], now_s: float) -> Judgement:
        """Add what is seen now, and judge all that is not forgotten.

        What speaks for a process counts only while it is seen.
        """
        now = list(lines)
        for line in now:
            if line.weight_nats > 0:
                self._keep(line, now_s)
        self._forget(now_s)
        faded = [_faded(line, now_s - at_s) for line, at_s in self._seen.values()]
        return judge([*faded, *(line for line in now if line.weight_nats <= 0)])

    def merge(self, other: Latch) -> None:
        """Remember what ``other`` does too: both turned out to be one program."""
        for line, at_s in other._seen.values():
            self._keep(line, at_s)

    def is_empty(self, now_s: float) -> bool:
        """Whether everything is forgotten."""
        self._forget(now_s)
        return not self._seen

    def _keep(self, line: Evidence, at_s: float) -> None:
        key = (line.family, line.kind, line.source)
        before = self._seen.get(key)
        if before is None or _faded(*_aged(before, at_s)).weight_nats <= line.weight_nats:
            self._seen[key] = line, at_s

    def _forget(self, now_s: float) -> None:
        self._seen = {
            key: (line, at_s)
            for key, (line, at_s) in self._seen.items()
            if _faded(line, now_s - at_s).weight_nats > _FORGOTTEN_NATS
        }


def judge(lines: Iterable[Evidence]) -> Judgement:
    """Add up what is there; the order does not matter."""
    ordered = sorted(lines, key=lambda line: (-abs(line.weight_nats), line.family, line.kind))
    sums = dict.fromkeys(EvidenceFamily, 0.0)
    places: dict[tuple[EvidenceFamily, EvidenceSource], float] = {}
    for line in ordered:
        sums[line.family] += line.weight_nats
        place = line.family, line.source
        places[place] = places.get(place, 0.0) + line.weight_nats
    witnesses = _two_witnesses(places)
    least = _LEAST_AGAINST_WITNESSES_NATS if witnesses else _LEAST_NATS
    total = PRIOR_NATS + sum(
        min(_MOST_NATS[family], max(least, nats)) for family, nats in sums.items()
    )
    return Judgement(1 / (1 + math.exp(-total)), tuple(ordered), witnesses)


def _two_witnesses(places: Mapping[tuple[EvidenceFamily, EvidenceSource], float]) -> bool:
    speaking = [
        place for place, nats in places.items() if place[0] in _WITNESSES and nats >= _WITNESS_NATS
    ]
    return any(
        one[0] is not other[0] and one[1] is not other[1]
        for one, other in combinations(speaking, 2)
    )


def _aged(kept: tuple[Evidence, float], now_s: float) -> tuple[Evidence, float]:
    return kept[0], now_s - kept[1]


def _faded(line: Evidence, age_s: float) -> Evidence:
    if age_s <= 0:
        return line
    return replace(line, weight_nats=line.weight_nats * 0.5 ** (age_s / HALF_LIFE_S))
