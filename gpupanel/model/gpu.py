"""GPUs and their readings as values.

A reading is a number, or ``Unavailable`` with the reason that a person reads: never 0 for
unknown, never the last value that happened to be seen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from gpupanel.model.verdict import Verdict

GpuId = str
"""Stable over restarts: ``GPU-<uuid>`` from NVML, ``cpu`` for the processor."""

CPU_ID: GpuId = "cpu"


@dataclass(frozen=True, slots=True)
class Unavailable:
    """A value that is not known, and why."""

    reason: str


Reading = float | Unavailable
"""One metric of one GPU at one instant, in the unit of its key."""


class GpuKind(StrEnum):
    """What the card is; the processor is listed because OpenCL runs on it too."""

    GPU = "gpu"
    CPU = "cpu"


@dataclass(frozen=True, slots=True)
class GpuInfo:
    """What does not change while a GPU is there.

    Attributes:
        pci_bus_id: ``dddddddd:bb:dd.f`` in lower case; None for the processor.
        driver_version: None where the driver does not tell.
        memory_total_bytes: None where the driver does not tell.
        limits: Bounds of metrics that this GPU states, by metric key (power_limit_w and so on),
            for the limit line of a chart.
        details: What else a person may want to know: VBIOS version, ECC and MIG mode, the
            greatest PCIe link; label to text.
        drives_display: Whether a screen shows what it draws; None where that is not told. Loads
            launch shorter work there, so that the desktop stays smooth.
    """

    id: GpuId
    name: str
    vendor: str
    kind: GpuKind
    backend: str
    driver_version: str | None = None
    pci_bus_id: str | None = None
    memory_total_bytes: int | None = None
    limits: Mapping[str, float] = field(default_factory=dict)
    details: Mapping[str, str] = field(default_factory=dict)
    drives_display: bool | None = None

    def as_json(self) -> dict[str, Any]:
        """The contract of ``gpupanelctl gpus --json``."""
        return {
            "id": self.id,
            "name": self.name,
            "vendor": self.vendor,
            "kind": self.kind.value,
            "backend": self.backend,
            "driver_version": self.driver_version,
            "pci_bus_id": self.pci_bus_id,
            "memory_total_bytes": self.memory_total_bytes,
            "limits": dict(self.limits),
            "details": dict(self.details),
            "drives_display": self.drives_display,
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> GpuInfo:
        """Inverse of ``as_json``.

        Raises:
            KeyError, ValueError: A field is missing or the kind is unknown.
        """
        return cls(
            id=document["id"],
            name=document["name"],
            vendor=document["vendor"],
            kind=GpuKind(document["kind"]),
            backend=document["backend"],
            driver_version=document["driver_version"],
            pci_bus_id=document["pci_bus_id"],
            memory_total_bytes=document["memory_total_bytes"],
            limits=document["limits"],
            details=document["details"],
            drives_display=document.get("drives_display"),
        )


class GpuState(StrEnum):
    """Whether a GPU can be read at all."""

    ACTIVE = "active"
    ASLEEP = "asleep"
    """Powered down to save energy; left alone."""
    LOST = "lost"
    """Fell off the bus, is being reset, or its driver is gone."""


NOT_TOLD = Unavailable("not reported by this GPU")


@dataclass(frozen=True, slots=True)
class Sample:
    """One GPU at one instant.

    Attributes:
        readings: By metric key; all Unavailable while the GPU is not active.
        state_since_unix_s: Since when it has been in this state; None if that is not known.
        limited_by: What holds the clocks down now, names of LIMITS; empty for nothing.
        limited_s: How long each of LIMITS has held them down since the driver was loaded, where
            the driver counts it.
    """

    gpu_id: GpuId
    readings: Mapping[str, Reading]
    state: GpuState = GpuState.ACTIVE
    state_since_unix_s: float | None = None
    limited_by: tuple[str, ...] | Unavailable = NOT_TOLD
    limited_s: Mapping[str, float] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """The contract of ``gpupanelctl sample --json``, one entry of its ``gpus``."""
        limits = self.limited_by
        return {
            "id": self.gpu_id,
            "state": self.state.value,
            "state_since_unix_s": self.state_since_unix_s,
            "limited_by": None if isinstance(limits, Unavailable) else list(limits),
            "limited_by_unavailable": limits.reason if isinstance(limits, Unavailable) else None,
            "limited_s": dict(self.limited_s),
            "metrics": {
                key: reading
                for key, reading in self.readings.items()
                if not isinstance(reading, Unavailable)
            },
            "unavailable": {
                key: reading.reason
                for key, reading in self.readings.items()
                if isinstance(reading, Unavailable)
            },
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Sample:
        """Inverse of ``as_json``."""
        readings: dict[str, Reading] = dict(document["metrics"])
        readings.update({key: Unavailable(why) for key, why in document["unavailable"].items()})
        limits = document["limited_by"]
        why_no_limits = document["limited_by_unavailable"]
        return cls(
            gpu_id=document["id"],
            readings=readings,
            state=GpuState(document["state"]),
            state_since_unix_s=document["state_since_unix_s"],
            limited_by=Unavailable(why_no_limits) if limits is None else tuple(limits),
            limited_s=document["limited_s"],
        )


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All GPUs at one tick.

    Attributes:
        time_unix_s: Wall clock, for people and exports; may jump.
        time_monotonic_s: For differences; shared by all processes of one boot.
    """

    time_unix_s: float
    time_monotonic_s: float
    samples: tuple[Sample, ...]

    def as_json(self) -> dict[str, Any]:
        """One line of ``gpupanelctl sample --json``."""
        return {
            "time_unix_s": self.time_unix_s,
            "time_monotonic_s": self.time_monotonic_s,
            "gpus": [sample.as_json() for sample in self.samples],
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Snapshot:
        """Inverse of ``as_json``."""
        return cls(
            time_unix_s=document["time_unix_s"],
            time_monotonic_s=document["time_monotonic_s"],
            samples=tuple(Sample.from_json(entry) for entry in document["gpus"]),
        )


class ProcessKind(StrEnum):
    """What a process uses a GPU for, as the driver tells it."""

    COMPUTE = "compute"
    GRAPHICS = "graphics"
    BOTH = "both"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class ProcessSample:
    """One process on one GPU at one instant.

    Attributes:
        started: What tells it from a later process of the same pid: clock ticks since boot on
            Linux, FILETIME on Windows; 0 where it cannot be read.
        user: None where the system does not tell.
        uid: The user's number; None on Windows.
        utilization_percent: Of the engine that it uses most.
        engines: Utilization by the driver's own name of the engine: gfx, compute, dec.
        started_unix_s: ``started`` on the wall clock; None where it is not known.
        verdict: Whether it mines, without the evidence; None while nobody looked, or where it
            never worked on a GPU.
    """

    gpu_id: GpuId
    pid: int
    started: int
    name: str
    user: str | None
    kind: ProcessKind
    memory_used_bytes: Reading
    utilization_percent: Reading
    engines: Mapping[str, float] = field(default_factory=dict)
    started_unix_s: float | None = None
    verdict: Verdict | None = None
    uid: int | None = None

    def as_json(self) -> dict[str, Any]:
        """One entry of ``gpupanelctl processes --json``; a value that is not known is null."""
        judged = self.verdict
        return {
            "gpu": self.gpu_id,
            "pid": self.pid,
            "started": self.started,
            "started_unix_s": self.started_unix_s,
            "name": self.name,
            "user": self.user,
            "uid": self.uid,
            "kind": self.kind.value,
            "memory_used_bytes": _or_none(self.memory_used_bytes),
            "utilization_percent": _or_none(self.utilization_percent),
            "engines": dict(self.engines),
            "class": judged and judged.process_class.value,
            "verdict": judged and judged.standing.value,
            "posterior": judged and judged.posterior,
            "judgement": judged and judged.as_json(),
            "unavailable": {
                key: reading.reason
                for key, reading in (
                    ("memory_used_bytes", self.memory_used_bytes),
                    ("utilization_percent", self.utilization_percent),
                )
                if isinstance(reading, Unavailable)
            },
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> ProcessSample:
        """Inverse of ``as_json``."""
        why = document["unavailable"]
        judged = document["judgement"]

        def reading(key: str) -> Reading:
            value: float | None = document[key]
            return Unavailable(why[key]) if value is None else value

        return cls(
            gpu_id=document["gpu"],
            pid=document["pid"],
            started=document["started"],
            name=document["name"],
            user=document["user"],
            uid=document.get("uid"),
            kind=ProcessKind(document["kind"]),
            memory_used_bytes=reading("memory_used_bytes"),
            utilization_percent=reading("utilization_percent"),
            engines=document["engines"],
            started_unix_s=document["started_unix_s"],
            verdict=None if judged is None else Verdict.from_json(judged),
        )


def _or_none(reading: Reading) -> float | None:
    return None if isinstance(reading, Unavailable) else reading
