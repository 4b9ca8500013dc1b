"""GPUs and their readings as values.

A reading is a number, or ``Unavailable`` with the reason that a person reads: never 0 for
unknown, never the last value that happened to be seen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

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
        )


@dataclass(frozen=True, slots=True)
class Sample:
    """All readings of one GPU at one instant, by metric key."""

    gpu_id: GpuId
    readings: Mapping[str, Reading]

    def as_json(self) -> dict[str, Any]:
        """The contract of ``gpupanelctl sample --json``, one entry of its ``gpus``."""
        return {
            "id": self.gpu_id,
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
        return cls(gpu_id=document["id"], readings=readings)


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
