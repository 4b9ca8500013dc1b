"""Every family of evidence about one process: what lasts is worked out once, and the rest anew."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from gpupanel.detection import benign, files, network, processes, telemetry
from gpupanel.detection.grammar import spoken
from gpupanel.detection.reading.facts import ProcessFacts, Relative, Use
from gpupanel.detection.signatures import Signatures
from gpupanel.model.verdict import Evidence, ProcessClass


@dataclass(frozen=True, slots=True)
class Told:
    """What follows from facts that seldom change: worked out again only when they do.

    Attributes:
        facts: Those, without connections.
    """

    facts: ProcessFacts
    known: Signatures
    evidence: tuple[Evidence, ...]
    pools: network.Pools
    program_class: ProcessClass | None
    protection: str


def all_evidence(facts: ProcessFacts, uses: Sequence[Use], known: Signatures) -> Iterator[Evidence]:
    """What every family says now."""
    told = what_is_told(facts, known, None)
    yield from told.evidence
    yield from evidence_of_use(facts, uses, told)


def what_is_told(facts: ProcessFacts, known: Signatures, before: Told | None) -> Told:
    """``before`` where it still holds."""
    lasting = _without_connections(facts)
    if before is not None and before.known is known and before.facts == lasting:
        return before
    said = spoken(facts, known)
    lines = (
        *processes.evidence(facts, said, known),
        *network.evidence(facts, said, known),
        *files.evidence(facts, known),
        *benign.evidence(facts, known),
    )
    return Told(
        lasting, known, lines, network.pools(facts, said, known),
        benign.class_of_program(facts, known), benign.protection(facts, known),
    )  # fmt: skip


def _without_connections(facts: ProcessFacts) -> ProcessFacts:
    """Their age is another at every look."""

    def bare(relatives: tuple[Relative, ...]) -> tuple[Relative, ...]:
        return tuple(replace(one, connections=()) if one.connections else one for one in relatives)

    return replace(
        facts, connections=(), launchers=bare(facts.launchers), children=bare(facts.children)
    )


def evidence_of_use(facts: ProcessFacts, uses: Sequence[Use], told: Told) -> Iterator[Evidence]:
    """Of the families that look at how the GPU is used, and of connections."""
    yield from network.evidence_of_connections(facts, uses, told.pools, told.known)
    yield from telemetry.evidence(uses, told.known)
    yield from benign.evidence_of_use(facts, uses, told.known)
