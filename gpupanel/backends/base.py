"""What every driver stack offers to the sampler, and the few rules that they all obey.

A backend reads; it keeps no history and knows no schedule. Rights, sleep and absence are answers
in words, not exceptions: the machine without an NVIDIA card is the usual machine.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol, runtime_checkable

from gpupanel.model.event import EventRecord
from gpupanel.model.gpu import GpuId, GpuInfo, GpuState, ProcessSample, Reading, Sample, Unavailable
from gpupanel.model.metrics import METRIC_BY_KEY


class ProbeState(StrEnum):
    """What looking for a driver stack found."""

    OK = "ok"
    ABSENT = "absent"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """What looking for one driver stack found.

    Attributes:
        name: The backend's.
        reason: For a person; empty when all is well. Not empty with ``ok`` when something
            is missing all the same, such as one GPU of eight that does not answer.
    """

    name: str
    state: ProbeState
    reason: str = ""

    def as_json(self) -> dict[str, Any]:
        """One entry of ``backends`` in ``gpupanelctl gpus --json``."""
        return {"name": self.name, "state": self.state.value, "reason": self.reason}


class Backend(Protocol):
    """One driver stack. Used by one thread at a time; no call sleeps."""

    @property
    def name(self) -> str:
        """As in the ``sources`` of METRICS."""

    def probe(self) -> ProbeResult:
        """Look for the driver and its GPUs; may be called again while it is not ok.

        Asked again of an absent driver, it wakes no GPU and loads nothing into the kernel.

        Raises:
            BackendError: The driver is there and does not work.
        """

    def gpus(self) -> tuple[GpuInfo, ...]:
        """What the last probe found; asks no driver. Empty unless it was ok."""

    def sample(self, gpu_id: GpuId) -> Sample:
        """Read every key of METRICS from one of ``gpus()``, in the unit of its key.

        Raises:
            BackendError: Nothing of this GPU could be read.
        """

    def processes(self) -> tuple[ProcessSample, ...]:
        """Who uses ``gpus()`` now; rates are over the time since the last call.

        Empty where the driver does not tell of processes. Wakes no GPU.
        """

    @property
    def hidden_processes_reason(self) -> str:
        """How many processes the last ``processes`` could not look into, and why; empty: none."""

    def close(self) -> None:
        """Let go of the driver; ``probe`` opens it again."""


@runtime_checkable
class HotPlug(Protocol):
    """A backend whose GPUs may come and go while it is open."""

    def look_again(self) -> ProbeResult:
        """Add GPUs that came to ``gpus()`` and drop those that were removed; those that stay, stay.

        Called every half minute, and when the system's list of devices changed. Wakes no GPU and
        raises nothing. When nothing is left, the answer is not ok and ``probe`` is next.
        """


@runtime_checkable
class EventSource(Protocol):
    """A backend whose driver tells of events between ticks: Xid, ECC, clocks."""

    def watch(self, on_event: Callable[[EventRecord], None]) -> None:
        """Call ``on_event`` on a thread of its own, also after the driver comes back."""


def checked(key: str, value: float) -> Reading:
    """``value``, unless it lies outside the bounds of METRICS: drivers report garbage at times."""
    metric = METRIC_BY_KEY[key]
    if metric.low <= value <= metric.high:
        return value
    return Unavailable(f"implausible: {value:.6g} {metric.unit}")


def unavailable_sample(gpu_id: GpuId, reason: str, state: GpuState = GpuState.ACTIVE) -> Sample:
    """A sample that says for every key of METRICS why it is not known."""
    nothing = Unavailable(reason)
    return Sample(gpu_id, dict.fromkeys(METRIC_BY_KEY, nothing), state, limited_by=nothing)
