"""The runs that the window drives: workers' events, brought over to Qt's thread and kept.

A runner calls from its reader thread; a queued signal is the only bridge.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from PySide6.QtCore import QObject, Qt, Signal

from gpupanel.model.decision import Decision, Verb
from gpupanel.model.errors import GpupanelError
from gpupanel.model.gpu import GpuId, GpuInfo, Sample
from gpupanel.model.workload import (
    Event,
    Failed,
    Family,
    Finished,
    Preparing,
    Progress,
    Run,
    Started,
    WorkloadInfo,
)

if TYPE_CHECKING:
    from gpupanel.stress.report.record import Recorder, RunRecord

MOST_RUNS = 8
"""Side by side; each is a process of its own."""

Frame = tuple[int, int, int, bytes]
"""Sequence number, width, height, RGBX bytes."""


def info_of(workload: str) -> WorkloadInfo:
    """A load's entry in the catalog, which the first frame can do without."""
    from gpupanel.stress.catalog import WORKLOAD_BY_NAME

    return WORKLOAD_BY_NAME[workload]


class Frames(Protocol):
    """What a run's shared picture memory can do."""

    def read(self) -> Frame | None:
        """The latest whole picture; None before the first."""


class Runner(Protocol):
    """The part of ``stress.runner.Runner`` that the window uses."""

    @property
    def frames(self) -> Frames | None:
        """The picture memory, if one was asked for."""

    @property
    def pid(self) -> int:
        """Of the worker, once it was started."""

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

    family = info_of(run.workload).family
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
    """One run from its start on, with its result when it is over.

    Attributes:
        phase: Where it is.
        run: What was asked, policy applied; None before it starts.
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
        self._recorder: Recorder | None = None
        self.phase = Phase.IDLE
        self.run: Run | None = None
        self.gpu: GpuInfo | None = None
        self.preparing: Preparing | None = None
        self.started: Started | None = None
        self.progress: Progress | None = None
        self.finished: Finished | None = None
        self.failed: Failed | None = None
        self.rates: list[tuple[float, float]] = []

    @property
    def active(self) -> bool:
        """A worker is at work."""
        return self.phase in ACTIVE

    def start(self, run: Run, decision: Decision, gpu: GpuInfo) -> None:
        """Begin ``run`` as ``decision`` lets it; call once.

        Raises:
            RunDenied: Policy does not let it start.
        """
        # Not above: the first frame does without policy, catalog and reports.
        from gpupanel.policy.decide import carry_out
        from gpupanel.stress.report.record import Recorder

        allowed = self.run = carry_out(decision, run)
        self.gpu = gpu
        self._recorder = Recorder(allowed, gpu, time.time())
        self.phase = Phase.PREPARING
        try:
            runner = self._make(allowed, lambda event: self._arrived.emit(allowed, event), gpu)
            runner.start()
            self._runner = runner
        except (GpupanelError, OSError) as reason:
            failed = Failed(run.workload, run.gpu, type(reason).__name__, str(reason))
            self._recorder.event(failed, time.monotonic(), time.time())
            self._end(failed)
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
            assert self._recorder is not None
            self._recorder.sample(sample, time.monotonic())

    def frame(self) -> Frame | None:
        """The latest picture; None for loads without one."""
        frames = self._runner.frames if self._runner is not None else None
        return frames.read() if frames is not None else None

    @property
    def worker_pid(self) -> int | None:
        """Of the worker; None before it was started and when it could not be."""
        return None if self._runner is None else self._runner.pid

    @property
    def record(self) -> RunRecord | None:
        """All of it, to be kept; None before its end."""
        over = self.phase in (Phase.FINISHED, Phase.FAILED)
        return self._recorder.record() if over and self._recorder else None

    def _receive(self, run: Run, event: Event) -> None:
        if run is not self.run or not self.active:
            return
        assert self._recorder is not None
        self._recorder.event(event, time.monotonic(), time.time())
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


class Runs(QObject):
    """The runs of this session: those at work, side by side, or the last ones with their results.

    Attributes:
        all: Oldest first.

    Signals:
        changed(): Any of them is new.
    """

    changed = Signal()

    def __init__(self, make: MakeRunner = make_runner, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._make = make
        self.all: list[LiveRun] = []

    @property
    def active(self) -> bool:
        """Some worker is at work."""
        return any(live.active for live in self.all)

    @property
    def latest(self) -> LiveRun | None:
        """The one that was started last; None before the first."""
        return self.all[-1] if self.all else None

    def on(self, gpu_id: GpuId) -> list[LiveRun]:
        """Those at work on one GPU."""
        return [live for live in self.all if live.active and live.run and live.run.gpu == gpu_id]

    def has_room(self, run: Run) -> bool:
        """Whether ``run`` may start beside the others: not the same load twice on one GPU."""
        beside = [live.run for live in self.all if live.active and live.run is not None]
        taken = {(one.workload, one.gpu) for one in beside}
        return len(beside) < MOST_RUNS and (run.workload, run.gpu) not in taken

    def start(self, run: Run, decision: Decision, gpu: GpuInfo) -> LiveRun:
        """Begin ``run`` beside those at work; results of a session that is over go.

        Raises:
            RunDenied: Policy does not let it start.
        """
        if not self.active:
            self._clear()
        live = LiveRun(self._make, self)
        live.changed.connect(self.changed)
        self.all.append(live)
        try:
            live.start(run, decision, gpu)
        except GpupanelError:
            self.all.remove(live)
            raise
        return live

    def stop(self) -> None:
        """Ask all of them to end."""
        for live in self.all:
            live.stop()

    def observe(self, sample: Sample) -> None:
        """Hand a sample of any GPU to the guards of the runs on it."""
        for live in self.all:
            live.observe(sample)

    def obey(self, decide: Callable[[Run], Decision | None]) -> None:
        """Policy changed: each run is judged anew."""
        for live in self.all:
            decision = decide(live.run) if live.run is not None else None
            if decision is not None:
                live.obey(decision)

    def close(self) -> None:
        """End all workers now."""
        for live in self.all:
            live.close()

    def _clear(self) -> None:
        self.close()
        for live in self.all:
            live.deleteLater()
        self.all.clear()
