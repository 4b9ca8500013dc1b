"""What happened to a GPU at an instant, on the time axis of its readings.

Xid, ECC, clock changes, sleep and loss come from different drivers and threads; the chart, the
history and the exports know them by this one shape.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gpupanel.model.gpu import GpuId


@dataclass(frozen=True, slots=True)
class EventRecord:
    """One event.

    Attributes:
        time_unix_s: Wall clock, as in Snapshot.
        gpu_id: None for what concerns the machine, such as a driver that was loaded again.
        kind: One lower-case word, stable, for programs: ``xid``, ``ecc``, ``clock``, ``lost``,
            ``appeared``.
        text: For a person, complete.
    """

    time_unix_s: float
    gpu_id: GpuId | None
    kind: str
    text: str

    def as_json(self) -> dict[str, Any]:
        """One entry of ``events`` in the protocol and in exports."""
        return {
            "time_unix_s": self.time_unix_s,
            "gpu": self.gpu_id,
            "kind": self.kind,
            "text": self.text,
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> EventRecord:
        """Inverse of ``as_json``.

        Raises:
            KeyError: A field is missing.
        """
        return cls(document["time_unix_s"], document["gpu"], document["kind"], document["text"])
