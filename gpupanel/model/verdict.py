"""Who mines, as values: the lines of evidence, and what they come to for one process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

CERTAIN = 0.999
"""The posterior from which a process may be held, with two families of evidence besides."""

LIKELY = 0.9
"""The posterior from which somebody is told."""


class EvidenceFamily(StrEnum):
    """What kind of fact a line of evidence is."""

    PROCESS = "process"
    NETWORK = "network"
    FILES = "files"
    TELEMETRY = "telemetry"
    BENIGN = "benign"


class EvidenceSource(StrEnum):
    """Where it was read: two lines from one place are not two witnesses."""

    ARGUMENTS = "command line"
    EXECUTABLE = "executable"
    SOCKETS = "connections"
    CONFIG = "configuration file"
    FILES = "open files"
    USE = "use of the GPU"
    STARTED = "started by gpupanel"
    USER = "the user"


class ProcessClass(StrEnum):
    """What a process uses a GPU for, as far as that shows."""

    MINING = "mining"
    AI = "ai"
    GAMING = "gaming"
    RENDERING = "rendering"
    MEDIA = "media"
    COMPUTE = "compute"
    HASHING = "hashing"
    GRAPHICS = "graphics"
    DESKTOP = "desktop"
    TEST = "test"
    UNKNOWN = "unknown"


class Standing(StrEnum):
    """What follows from the evidence."""

    CLEAR = "clear"
    """Nothing."""
    SUSPECTED = "suspected"
    """Somebody is told; nothing is done."""
    MINING = "mining"
    """The policy's cap applies."""
    EXCUSED = "excused"
    """Its user said that it does not mine, and policy lets users say so."""
    OWN = "own load"
    """A load of gpupanel, which obeys the policy itself."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """One line of evidence.

    Attributes:
        kind: What was seen, as a word that stays the same while its text changes.
        weight_nats: Log-likelihood ratio; positive speaks for mining.
        text: For a person; holds no address, wallet or other secret of the process.
    """

    family: EvidenceFamily
    kind: str
    weight_nats: float
    text: str
    source: EvidenceSource

    def as_json(self) -> dict[str, Any]:
        """One entry of a verdict's ``evidence``."""
        return {
            "family": self.family.value,
            "kind": self.kind,
            "weight_nats": self.weight_nats,
            "text": self.text,
            "source": self.source.value,
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Evidence:
        """Inverse of ``as_json``.

        Raises:
            KeyError, ValueError: A field is missing or a word is unknown.
        """
        return cls(
            EvidenceFamily(document["family"]),
            document["kind"],
            document["weight_nats"],
            document["text"],
            EvidenceSource(document["source"]),
        )


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is thought of one process.

    Attributes:
        posterior: The probability that it mines, 0 to 1.
        since_unix_s: Since when it stands so.
        evidence: Strongest first; empty where a verdict is told without its reasons.
        protected: Why it is never held, whatever it does; empty for others.
        content_sha256: Of the program: its file, or its script for an interpreter; None where it
            was not read.
        may_object: Whether its user may say that it does not mine.
    """

    process_class: ProcessClass
    standing: Standing
    posterior: float
    since_unix_s: float
    evidence: tuple[Evidence, ...] = ()
    protected: str = ""
    content_sha256: str | None = None
    may_object: bool = False

    def without_evidence(self) -> Verdict:
        """The same, for a list of many."""
        return replace(self, evidence=())

    def as_json(self) -> dict[str, Any]:
        """The fields of a verdict in ``processes`` and ``explain``."""
        return {
            "class": self.process_class.value,
            "verdict": self.standing.value,
            "posterior": self.posterior,
            "verdict_since_unix_s": self.since_unix_s,
            "protected": self.protected,
            "content_sha256": self.content_sha256,
            "may_object": self.may_object,
            "evidence": [line.as_json() for line in self.evidence],
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Verdict:
        """Inverse of ``as_json``; other fields of ``document`` are left alone.

        Raises:
            KeyError, ValueError: A field is missing or a word is unknown.
        """
        return cls(
            process_class=ProcessClass(document["class"]),
            standing=Standing(document["verdict"]),
            posterior=document["posterior"],
            since_unix_s=document["verdict_since_unix_s"],
            evidence=tuple(Evidence.from_json(line) for line in document["evidence"]),
            protected=document["protected"],
            content_sha256=document["content_sha256"],
            may_object=document["may_object"],
        )
