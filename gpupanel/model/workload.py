"""Loads and their runs as values: what exists, what was asked, what happens.

A run is a stream of events that ends with exactly one Finished or Failed. The JSON of the
events is the contract of ``gpupanelctl stress run --json`` and of the worker's stdout.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, Field, asdict, dataclass, field, fields
from enum import StrEnum
from typing import Any, ClassVar

from gpupanel.model.gpu import GpuId


class Family(StrEnum):
    """What kind of program a load stands for; policy speaks of families."""

    MINING = "mining"
    AI = "ai"
    GAMING = "gaming"
    DIAGNOSTICS = "diagnostics"


@dataclass(frozen=True, slots=True)
class Knob:
    """One integer that shapes a load.

    Attributes:
        default: Used on a GPU.
        default_cpu: Used on the processor's OpenCL device, which is some hundred times slower.
        choices: The only values, where not every one from ``low`` to ``high`` makes sense.
    """

    name: str
    default: int
    default_cpu: int
    low: int
    high: int
    help: str
    choices: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Reading:
    """A number that a load tells beside its rate, such as the loss of a training.

    Attributes:
        key: In the events of the run; ends with the unit where there is one.
        unit: As a person reads it; empty for a bare number.
    """

    key: str
    title: str
    unit: str
    help: str


@dataclass(frozen=True, slots=True)
class WorkloadInfo:
    """A load as the window and the command line list it.

    Attributes:
        name: ``family.algorithm``.
        unit: Unit of work: ``hash``, ``flop``, ``frame``; rates are per second.
        kernel: File name in ``kernels/``.
        host: ``module:Class`` of the host side, imported by the worker alone.
        probe_knobs: Values of knobs with which its variants are compared instead of the run's, so
            that a large table is not made for each.
    """

    name: str
    family: Family
    title: str
    summary: str
    unit: str
    kernel: str
    host: str
    knobs: tuple[Knob, ...] = ()
    readings: tuple[Reading, ...] = ()
    probe_knobs: Mapping[str, int] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class Run:
    """One execution of a load that was asked for.

    Attributes:
        seconds: Time limit, always on; counted from the first measured chunk.
        cap_percent: Most mining efficiency that policy allows; 100 is uncapped.
        knobs: Only those that differ from the default.
        temperature_stop_c: Policy's, where it is below the guard's own; None: the guard's own.
        profile: ``steady``, or ``steps``: 20 to 100 % of the device's time in steps, since cards
            that survive full load fail at the clocks of a half one.
    """

    workload: str
    gpu: GpuId
    seconds: float
    cap_percent: int = 100
    knobs: Mapping[str, int] = field(default_factory=dict)
    profile: str = "steady"
    temperature_stop_c: int | None = None


@dataclass(frozen=True, slots=True)
class Preparing:
    """The run builds kernels and fills memory; ``fraction`` of ``step`` is done, 0 to 1."""

    event: ClassVar[str] = "preparing"
    workload: str
    gpu: GpuId
    step: str
    fraction: float


@dataclass(frozen=True, slots=True)
class Started:
    """Measuring begins.

    Attributes:
        device: The OpenCL device's own name.
        chunk_ms: Device time of one launch after tuning.
        knobs: All of them, as used.
        variant: The way its kernels were compiled.
        ceilings: Measured just now, by name (``model.roofline.Ceiling``), per second.
        cost: What one unit of work needs of each ceiling.
        limit_per_s: What the device could do at most; None if no ceiling was measured.
        limited_by: Name of the ceiling that ``limit_per_s`` comes from.
        notes: What a person should know of this run: reduced sizes, variants, fallbacks.
    """

    event: ClassVar[str] = "started"
    workload: str
    gpu: GpuId
    device: str
    platform: str
    unit: str
    cap_percent: int
    chunk_ms: float
    knobs: Mapping[str, int]
    variant: str = ""
    ceilings: Mapping[str, float] = field(default_factory=dict)
    cost: Mapping[str, float] = field(default_factory=dict)
    limit_per_s: float | None = None
    limited_by: str | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Progress:
    """Once a second while measuring.

    Attributes:
        work: Units since the start.
        work_per_s: Over the last second or so, pauses of the cap included.
        uncapped_work_per_s: Over device time, pauses excluded.
        verified: Results compared with the oracle so far.
        errors: Comparisons that failed so far.
        faults: What the first of them found, in words.
        readings: What this load tells beside its rate.
    """

    event: ClassVar[str] = "progress"
    workload: str
    gpu: GpuId
    seconds: float
    work: float
    work_per_s: float
    uncapped_work_per_s: float
    unit: str
    verified: int
    errors: int
    faults: tuple[str, ...] = ()
    readings: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Finished:
    """The run ended, well or not; the last event.

    Attributes:
        seconds: Measured wall time.
        work_per_s: Mean over the run, pauses of the cap included.
        limit_per_s: What the device could do at most, in the same unit; None if not measured.
        limit_share: uncapped_work_per_s over limit_per_s; None if not measured.
        verified: True when something was compared with the oracle and all of it agreed.
        errors: Comparisons that failed.
        checks: Comparisons made.
        efficiency_percent: work_per_s as a percentage of uncapped_work_per_s.
        energy_j: Over the run; None without a power sensor.
        stability_percent: The uncapped rate of the worst five seconds as a percentage of the best
            five; None for a run too short to have two of them.
        faults: What the first failed comparisons found, in words.
        readings: What this load tells beside its rate.
        stop_reason: ``time``, ``stopped``, ``policy``, ``error``; of the guard ``temperature``,
            ``power``, ``fan``, ``sensor_lost``.
    """

    event: ClassVar[str] = "finished"
    workload: str
    gpu: GpuId
    seconds: float
    work: float
    work_per_s: float
    unit: str
    limit_per_s: float | None
    limit_share: float | None
    verified: bool
    errors: int
    checks: int
    cap_percent: int
    uncapped_work_per_s: float
    efficiency_percent: float
    energy_j: float | None
    stop_reason: str
    limited_by: str | None = None
    stability_percent: float | None = None
    faults: tuple[str, ...] = ()
    readings: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Failed:
    """The run could not be carried out; the last event.

    Attributes:
        kind: Name of the error class, for programs.
        reason: What happened and what to do, for a person.
    """

    event: ClassVar[str] = "failed"
    workload: str
    gpu: GpuId
    kind: str
    reason: str


Event = Preparing | Started | Progress | Finished | Failed

_EVENT_CLASSES: Mapping[str, type[Any]] = {
    cls.event: cls for cls in (Preparing, Started, Progress, Finished, Failed)
}


def event_as_json(event: Event) -> dict[str, Any]:
    """One line of the worker's stdout and of ``stress run --json``."""
    return {"event": event.event, **asdict(event)}


def event_from_json(document: Mapping[str, Any]) -> Event:
    """Inverse of ``event_as_json``.

    Raises:
        ValueError: The event is unknown or a field without a default is missing.
    """
    try:
        cls = _EVENT_CLASSES[document["event"]]
        values = {
            item.name: document[item.name]
            for item in fields(cls)
            if _is_required(item) or item.name in document
        }
    except KeyError as missing:
        raise ValueError(f"not an event of a run: {missing} is missing or unknown") from None
    for name in ("notes", "faults"):
        if name in values:
            values[name] = tuple(values[name])
    event: Event = cls(**values)
    return event


def _is_required(item: Field[Any]) -> bool:
    return item.default is MISSING and item.default_factory is MISSING
