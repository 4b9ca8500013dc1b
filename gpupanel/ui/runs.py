"""The run that the window drives: a worker's events, brought over to Qt's thread and kept.

The runner calls from its reader thread; a queued signal is the only bridge. One run at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Protocol

from PySide6.QtCore import QObject, Qt, Signal

from gpupanel.model.decision import Decision, Verb
from gpupanel.model.errors import GpupanelError
from gpupanel.model.gpu import GpuInfo, Sample
from gpupanel.model.workload import (
    Event,
    Failed,
    Family,
    Finished,
    Preparing,
    Progress,
    Run,
    Started,
)
from gpupanel.policy.decide import carry_out
from gpupanel.stress.catalog import WORKLOAD_BY_NAME

Frame = tuple[int, int, int, bytes]
"""Sequence number, width, height, RGBX bytes."""


class Frames(Protocol):
    """What a run's shared picture memory can do."""

    def read(self) -> Frame | None:
        """The latest whole picture; None before the first."""


class Runner(Protocol):
    """The part of ``stress.runner.Runner`` that the window uses."""

    @property
    def frames(self) -> Frames | None:
        """The picture memory, if one was asked for."""

    def start(self) -> None:
        """Spawn the worker."""

    def stop(self, reason: str = "stopped") -> None:
        """Ask it to end; returns at once."""

    def set_cap(self, percent: int) -> None:
        """A new cap from policy."""

    def close(self) -> None:
        """End it now and wait."""

    def observe(self, sample: Sample) -> None:
        """Feed the temperature guard."""


MakeRunner = Callable[[Run, Callable[[Event], None], "GpuInfo"], Runner]


def make_runner(run: Run, on_event: Callable[[Event], None], gpu: GpuInfo) -> Runner:
    """The real one; pictures only for loads that make them."""
    from gpupanel.stress import runner

    family = WORKLOAD_BY_NAME[run.workload].family
    return runner.Runner(run, on_event, gpu=gpu, frames=family is Family.GAMING)


class Phase(StrEnum):
    """Where a run is in its life."""

    IDLE = "idle"
    PREPARING = "preparing"
    RUNNING = "running"
    STOPPING = "stopping"
    FINISHED = "finished"
    FAILED = "failed"


ACTIVE = (Phase.PREPARING, Phase.RUNNING, Phase.STOPPING)


class LiveRun(QObject):
    """The current run, or the last one with its result.

    Attributes:
        phase: Where it is.
        run: What was asked, policy applied; None before the first.
        gpu: The GPU of ``run``.
        preparing, started, progress, finished, failed: Its latest event of each kind.
        rates: (seconds, work per second) of each progress event, oldest first.

    Signals:
        changed(): Any of it is new.
    """

    changed = Signal()
    _arrived = Signal(object, object)

    def __init__(self, make: MakeRunner = make_runner, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._make = make
        self._runner: Runner | None = None
        self._arrived.connect(self._receive, Qt.ConnectionType.QueuedConnection)
        self.run: Run | None = None
        self.gpu: GpuInfo | None = None
        self._forget()

    @property
    def active(self) -> bool:
        """A worker is at work."""
        return self.phase in ACTIVE

    def start(self, run: Run, decision: Decision, gpu: GpuInfo) -> None:
        """Begin ``run`` as ``decision`` lets it; call only when nothing is active.

        Raises:
            RunDenied: Policy does not let it start.
        """
        assert not self.active
        self.close()
        self._forget()
        allowed = self.run = carry_out(decision, run)
        self.gpu = gpu
        self.phase = Phase.PREPARING
        try:
            runner = self._make(allowed, lambda event: self._arrived.emit(allowed, event), gpu)
            runner.start()
            self._runner = runner
        except (GpupanelError, OSError) as reason:
            self._end(Failed(run.workload, run.gpu, type(reason).__name__, str(reason)))
        self.changed.emit()

    def stop(self) -> None:
        """Ask the run to end; its result follows as an event."""
        if self.active and self._runner is not None:
            self.phase = Phase.STOPPING
            self._runner.stop()
            self.changed.emit()

    def obey(self, decision: Decision) -> None:
        """Policy changed while the load runs; what it was started under stays the ceiling."""
        if not self.active or self._runner is None or self.run is None:
            return
        if decision.verb is Verb.DENY:
            self.phase = Phase.STOPPING
            self._runner.stop("policy")
        else:
            self._runner.set_cap(min(self.run.cap_percent, decision.values["cap_percent"]))

    def close(self) -> None:
        """End the worker now; after its last event this only frees what it left behind."""
        runner, self._runner = self._runner, None
        if runner is not None:
            runner.close()

    def observe(self, sample: Sample) -> None:
        """Hand a sample of any GPU to the temperature guard of the run on it."""
        run, runner = self.run, self._runner
        if self.active and run is not None and runner is not None and sample.gpu_id == run.gpu:
            runner.observe(sample)

    def frame(self) -> Frame | None:
        """The latest picture; None for loads without one."""
        frames = self._runner.frames if self._runner is not None else None
        return frames.read() if frames is not None else None

    def _forget(self) -> None:
        self.phase = Phase.IDLE
        self.run = None
        self.preparing: Preparing | None = None
        self.started: Started | None = None
        self.progress: Progress | None = None
        self.finished: Finished | None = None
        self.failed: Failed | None = None
        self.rates: list[tuple[float, float]] = []

    def _receive(self, run: Run, event: Event) -> None:
        if run is not self.run or not self.active:
            return
        match event:
            case Preparing():
                self.preparing = event
            case Started():
                self.started = event
                self._advance(Phase.RUNNING)
            case Progress():
                self.progress = event
                self.rates.append((event.seconds, event.work_per_s))
                self._advance(Phase.RUNNING)
            case Finished() | Failed():
                self._end(event)
        self.changed.emit()

    def _advance(self, phase: Phase) -> None:
        if self.phase is not Phase.STOPPING:
            self.phase = phase

    def _end(self, event: Finished | Failed) -> None:
        if isinstance(event, Finished):
            self.finished, self.phase = event, Phase.FINISHED
        else:
            self.failed, self.phase = event, Phase.FAILED
