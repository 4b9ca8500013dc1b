"""The protocol between the worker and the host side of one load.

Imported by worker processes only. A load owns its buffers and kernels on the device that it is
given; the worker owns time: it asks for chunks of a tuned length, keeps two in flight, measures
them by their events, and asks for verification about once a second.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol, Self

from gpupanel.model.roofline import Cost
from gpupanel.model.workload import WorkloadInfo

if TYPE_CHECKING:
    import pyopencl as cl

Report = Callable[[str, float], None]
"""Called with (step, fraction 0 to 1) while a load prepares."""


@dataclass(frozen=True, slots=True)
class Variant:
    """One way to compile a load; the fastest that gives right answers is used on a device.

    Attributes:
        name: What a person calls it.
        lanes: As in ``Device``.
        macros: Knobs of the kernel file that differ from its defaults.
    """

    name: str
    lanes: int
    macros: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Device:
    """One OpenCL device as a load sees it.

    Attributes:
        queue: In-order, with profiling on.
        is_cpu: The processor: lane-width kernels (``lanes`` wide) instead of one item per lane.
        lanes: 32-bit vector lanes of a kernel's inner loop: 1 on a GPU, 8 or 16 on a processor.
        memory_bytes: What a load may allocate in all, headroom already taken off.
        macros: Those of the variant that was chosen; a load hands them to its kernels.
    """

    context: cl.Context
    queue: cl.CommandQueue
    is_cpu: bool
    lanes: int
    memory_bytes: int
    macros: Mapping[str, int] = field(default_factory=dict)

    def with_variant(self, variant: Variant) -> Self:
        """The same device for kernels compiled that way."""
        return replace(self, lanes=variant.lanes, macros=variant.macros)


def lane_variants(device: Device) -> tuple[Variant, ...]:
    """The kernels of a load that differ in their vector width alone."""
    if not device.is_cpu:
        return (Variant("one result per work-item", 1),)
    widths = (device.lanes, 8) if device.lanes > 8 else (device.lanes,)
    return tuple(Variant(f"vectors of {width}", width) for width in widths)


@dataclass(frozen=True, slots=True)
class Check:
    """One comparison with something that the kernel did not compute."""

    name: str
    passed: bool
    detail: str = ""


@dataclass(slots=True)
class Chunk:
    """One launch in flight.

    Attributes:
        work: Units of work that it will have done.
        first: Its first event; the chunk's device time starts where this starts.
        last: Its last event; the chunk is done when this is.
        state: Whatever the load needs to look at the result.
    """

    work: float
    first: cl.Event
    last: cl.Event
    state: Any = field(default=None)


class Workload(Protocol):
    """The host side of one load. Errors are those of ``model.errors.WorkloadError``."""

    notes: tuple[str, ...]
    """What a person should know of this run: reduced sizes, variants, fallbacks."""

    def __init__(self, device: Device, knobs: Mapping[str, int], seed: int) -> None:
        """Allocate nothing yet; ``device`` is already that of one of ``variants``."""

    @classmethod
    def variants(cls, device: Device) -> tuple[Variant, ...]:
        """Ways to compile it that may be fastest on this device, the safest first."""

    def prepare(self, report: Report) -> None:
        """Build the program, allocate, generate the data; may take seconds."""

    def self_test(self, vectors: Mapping[str, Any] | None = None) -> list[Check]:
        """Known answers on this device; ``vectors`` replaces the built-in ones.

        ``vectors`` is this load's section of a file in the form of the public test vectors.
        """

    def cost(self) -> Cost:
        """What one unit of work needs at least; asked after prepare()."""

    def launch(self, steps: int) -> Chunk:
        """Enqueue ``steps`` of the load's smallest launch and flush; does not wait."""

    def complete(self, chunk: Chunk) -> None:
        """Called once, in order, when ``chunk`` is done; keeps what verify() will look at."""

    def verify(self) -> list[Check]:
        """Compare some of what completed since the last call with the oracle; <= 100 ms CPU."""

    def readings(self) -> Mapping[str, float]:
        """What this load tells beside its rate, by the keys of its catalog entry's readings."""

    def frame(self) -> tuple[int, int, bytes] | None:
        """Width, height and RGBX bytes of the latest picture; None for loads without one."""


def host_class(info: WorkloadInfo) -> type[Workload]:
    """The class that the catalog names; its import is the first touch of a load's libraries."""
    module, name = info.host.split(":")
    host: type[Workload] = getattr(importlib.import_module(module), name)
    return host
