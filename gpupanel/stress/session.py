"""One run in its worker, from opening the device to the last event."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from gpupanel.model.errors import VerificationFailed
from gpupanel.model.roofline import Ceiling, Cost, Limit, limit_of
from gpupanel.model.workload import Event, Finished, Preparing, Started
from gpupanel.stress.catalog import WORKLOAD_BY_NAME, choose_knobs
from gpupanel.stress.frames import FrameMemory
from gpupanel.stress.meter import Meter
from gpupanel.stress.orders import Assignment, Orders
from gpupanel.stress.pipeline import Pipeline
from gpupanel.stress.profile import STEADY, load_percent, ramp_percent
from gpupanel.stress.variants import Choice, Question, choose

if TYPE_CHECKING:
    from gpupanel.stress.workload import Check, Chunk, Device

FRAME_INTERVAL_S = 1 / 30

RAMP_S = 5.0
"""From little load to all of it before measuring begins: power supplies dislike steps."""

RAMP_CPU_S = 0.5
"""A processor only has to leave its idle clocks."""


class Listener(Protocol):
    """Where a session tells what happens.

    Attributes:
        meter: Set when measuring begins, for whoever must end the run in between.
    """

    meter: Meter | None

    def send(self, event: Event) -> None:
        """Hand an event to the parent."""


@dataclass(frozen=True, slots=True)
class _Bounds:
    """What a load needs, what the device gives at most, and the least roof over it."""

    cost: Cost
    per_s: Mapping[Ceiling, float]
    limit: Limit | None
    notes: tuple[str, ...]


class Session:
    """Prepare, check, tune, measure: one load on one device."""

    def __init__(self, assignment: Assignment, orders: Orders, listener: Listener) -> None:
        self._assignment = assignment
        self._run = assignment.run
        self._info = WORKLOAD_BY_NAME[assignment.run.workload]
        self._orders = orders
        self._listener = listener
        self._frames = FrameMemory.attach(assignment.frames) if assignment.frames else None
        self._next_frame_s = 0.0
        self._shown: tuple[int, int, bytes] | None = None

    def execute(self) -> Finished:
        """All of it; the caller sends what is returned.

        Raises:
            WorkloadError: The run could not be carried out.
        """
        self._prepare_step("device", 0.0)
        from gpupanel.stress.device import open_device

        device = open_device(self._run.gpu, self._assignment.pci_bus_id)
        knobs = choose_knobs(self._info, self._run.knobs, is_cpu=device.is_cpu)
        choice = self._make_workload(device, knobs)
        self._workload.prepare(self._prepare_step)
        self._require_known_answers()
        bounds = self._measure_bounds(device)
        self._prepare_step("tuning", 0.0)
        self._pipeline = Pipeline(self._workload, self._orders, self._assignment.chunk_s)
        self._pipeline.tune()
        self._ramp_up(RAMP_CPU_S if device.is_cpu else RAMP_S)
        self._announce(device, knobs, bounds, choice)
        return self._measure(bounds)

    def _make_workload(self, device: Device, knobs: Mapping[str, int]) -> Choice:
        """The load, compiled in the way that is fastest here."""
        from gpupanel.stress.workload import host_class

        host = host_class(self._info)
        question = Question(self._info, self._run.gpu, self._assignment.pci_bus_id, knobs)
        choice = choose(question, host.variants(device), device, self._prepare_step)
        self._workload = host(device.with_variant(choice.variant), knobs, self._assignment.seed)
        return choice

    def _prepare_step(self, step: str, fraction: float) -> None:
        self._listener.send(Preparing(self._run.workload, self._run.gpu, step, fraction))

    def _require_known_answers(self) -> None:
        self._prepare_step("self-test", 0.0)
        failed = [check for check in self._workload.self_test() if not check.passed]
        if failed:
            raise VerificationFailed(
                f"{self._info.name} gives wrong known answers on this device: "
                + "; ".join(map(_fault, failed))
            )

    def _measure_bounds(self, device: Device) -> _Bounds:
        """The ceilings that this load touches, measured just now."""
        from gpupanel.stress.ceilings import measure

        self._prepare_step("ceilings", 0.0)
        cost = self._workload.cost()
        measured = measure(device, cost.amounts, cost.footprint_bytes)
        return _Bounds(cost, measured.per_s, limit_of(cost, measured.per_s), measured.notes)

    def _ramp_up(self, seconds: float) -> None:
        self._prepare_step("ramp-up", 0.0)
        start_s = time.monotonic()
        self._pipeline.run(
            seconds,
            percent_at=lambda at_s: min(self._orders.cap_percent, ramp_percent(at_s, seconds)),
            on_done=lambda chunk, device_s: None,
            on_tick=lambda now_s: self._prepare_step("ramp-up", (now_s - start_s) / seconds),
        )

    def _announce(
        self, device: Device, knobs: Mapping[str, int], bounds: _Bounds, choice: Choice
    ) -> None:
        notes = self._workload.notes + choice.notes + bounds.notes
        if self._run.profile != STEADY:
            notes += (f"load profile: {self._run.profile}",)
        self._listener.send(
            Started(
                workload=self._run.workload,
                gpu=self._run.gpu,
                device=device.queue.device.name,
                platform=device.queue.device.platform.version,
                unit=self._info.unit,
                cap_percent=self._orders.cap_percent,
                chunk_ms=1000 * self._pipeline.chunk_s,
                knobs=knobs,
                variant=choice.variant.name,
                ceilings={ceiling.value: rate for ceiling, rate in bounds.per_s.items()},
                cost={ceiling.value: amount for ceiling, amount in bounds.cost.amounts.items()},
                limit_per_s=bounds.limit.per_s if bounds.limit else None,
                limited_by=bounds.limit.ceiling.value if bounds.limit else None,
                notes=notes,
            )
        )

    def _measure(self, bounds: _Bounds) -> Finished:
        meter = self._listener.meter = Meter(self._run, self._info.unit, time.monotonic())
        meter.limit = bounds.limit
        profile = self._run.profile
        self._pipeline.run(
            self._run.seconds,
            percent_at=lambda at_s: min(self._orders.cap_percent, load_percent(profile, at_s)),
            on_done=lambda chunk, device_s: self._count(meter, chunk, device_s),
            on_tick=lambda now_s: self._report(meter, now_s),
        )
        now_s = time.monotonic()
        if not self._orders.stop_reason:
            self._verify(meter)
        return meter.finished(now_s, self._orders.cap_percent, self._orders.stop_reason or "time")

    def _count(self, meter: Meter, chunk: Chunk, device_s: float) -> None:
        meter.add(chunk.work, device_s)
        self._show_frame()

    def _report(self, meter: Meter, now_s: float) -> None:
        self._verify(meter)
        self._listener.send(meter.progress(now_s))

    def _verify(self, meter: Meter) -> None:
        meter.check(None if check.passed else _fault(check) for check in self._workload.verify())
        meter.readings = self._workload.readings()

    def _show_frame(self) -> None:
        now_s = time.monotonic()
        if self._frames is None or now_s < self._next_frame_s:
            return
        self._next_frame_s = now_s + FRAME_INTERVAL_S
        picture = self._workload.frame()
        if picture is not None and picture is not self._shown:
            self._frames.write(*picture)
            self._shown = picture


def _fault(check: Check) -> str:
    return f"{check.name}: {check.detail}"
