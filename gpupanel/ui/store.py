"""Everything that the window shows, in one place: pages read it and call its methods.

One signal tells that something is new; a page that is not visible does not listen.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from time import time
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QObject, Signal

from gpupanel.model.decision import Decision, Verb
from gpupanel.model.gpu import (
    GpuId,
    GpuInfo,
    ProcessSample,
    Reading,
    Sample,
    Snapshot,
    Unavailable,
)
from gpupanel.model.metrics import METRICS
from gpupanel.model.verdict import Verdict
from gpupanel.model.workload import Run
from gpupanel.ui import format as fmt
from gpupanel.ui.holds import Holds, ProcessKey
from gpupanel.ui.link import HISTORY_S, INTERVAL_S, LinkState
from gpupanel.ui.notes import RunNotes
from gpupanel.ui.past import Agent, Past
from gpupanel.ui.runs import LiveRun, Runs, info_of

if TYPE_CHECKING:
    from gpupanel.policy.resolve import EffectivePolicy

POINTS = round(HISTORY_S / INTERVAL_S)
_DECISIONS = 50
_SLACK_S = 0.1
"""A tick that comes this much early is still the tick of its second."""

Series = deque["float | None"]
"""One value per tick, oldest first; None where there was no tick or no value."""


@dataclass(frozen=True, slots=True)
class DecisionRecord:
    """A decision that this window met.

    Attributes:
        subject: What was asked, with the names that the window shows.
    """

    time_unix_s: float
    subject: str
    decision: Decision


@dataclass(frozen=True, slots=True)
class Backend:
    """A way to reach GPUs that the agent tried."""

    name: str
    state: str
    reason: str


class Store(QObject):
    """The window's knowledge.

    Attributes:
        gpus: In the agent's order; None until the agent told.
        backends: What the agent tried.
        policy: The effective policy; None until the agent told.
        runs: Those that this window drives.
        past: What the agent remembers.
        holds: What is done to programs that mine.
        processes: Who uses the GPUs; None while nobody asked or the agent did not tell yet.
        hidden_processes: How many could not be looked into, and why.
        explained: The process that somebody asked about and its verdict with the evidence; a
            reason in the verdict's place while or where there is none.
        decisions: Newest first, at most 50.
        link_state: How it stands with the agent.
        link_reason: Why the agent was lost; or, while it runs, why it is not the service.
        link_is_service: Whether it is the service.

    Signals:
        changed(): Anything is new; at most once per message or tick.
    """

    changed = Signal()

    def __init__(
        self, runs: Runs, parent: QObject | None = None, agent: Agent | None = None
    ) -> None:
        """``agent`` is whom to ask; without one, only what is set is known."""
        super().__init__(parent)
        self._agent = agent
        self.past = Past(agent, self)
        self.holds = Holds(agent, POINTS, self.changed.emit, self.explain)
        self.processes: tuple[ProcessSample, ...] | None = None
        self.hidden_processes: tuple[str, ...] = ()
        self.explained: tuple[ProcessKey, Verdict | str] | None = None
        self.gpus: tuple[GpuInfo, ...] | None = None
        self.backends: tuple[Backend, ...] = ()
        self.policy: EffectivePolicy | None = None
        self.runs = runs
        self.decisions: deque[DecisionRecord] = deque(maxlen=_DECISIONS)
        self.link_state = LinkState.STARTING
        self.link_reason = ""
        self.link_is_service = False
        self._samples: dict[GpuId, Sample] = {}
        self._series: dict[tuple[GpuId, str], Series] = {}
        self._last_tick_s: float | None = None
        self._next_tick_s = 0.0
        if agent is not None:
            self._notes = RunNotes(runs, agent, self)
        runs.changed.connect(self.changed)
        self.past.changed.connect(self.changed)

    def reading(self, gpu_id: GpuId, key: str) -> Reading:
        """The latest value of one metric; never an old one."""
        sample = self._samples.get(gpu_id)
        if sample is None:
            return Unavailable(self._why_no_sample())
        return sample.readings.get(key, Unavailable(self.tr("not reported")))

    def sample(self, gpu_id: GpuId) -> Sample | None:
        """The latest sample; None while there is none."""
        return self._samples.get(gpu_id)

    def series(self, gpu_id: GpuId, key: str) -> Sequence[float | None]:
        """The last two minutes of one metric."""
        return self._series.get((gpu_id, key), ())

    @property
    def ticks(self) -> int:
        """Points in the longest series."""
        return max((len(series) for series in self._series.values()), default=0)

    def set_link(self, state: LinkState, reason: str, is_service: bool = False) -> None:
        """The agent or the service came or went; with it go the readings."""
        self.link_state, self.link_reason = state, reason
        self.link_is_service = is_service
        if state is not LinkState.RUNNING:
            self._samples.clear()
            self.processes = self.explained = None
            self.past.forget()
            self.holds.forget()
        self.changed.emit()

    def set_gpus(self, gpus: Sequence[GpuInfo], backends: Sequence[Mapping[str, Any]]) -> None:
        """All GPUs there are now; what is remembered of others is dropped."""
        self.gpus = tuple(gpus)
        self.backends = tuple(
            Backend(entry["name"], entry["state"], entry["reason"] or "") for entry in backends
        )
        present = {gpu.id for gpu in gpus}
        self._series = {key: kept for key, kept in self._series.items() if key[0] in present}
        self.changed.emit()

    def set_history(self, snapshots: Sequence[Snapshot]) -> None:
        """What the agent remembers from before the window came; only fills an empty past."""
        if self._last_tick_s is None:
            for snapshot in snapshots:
                self._remember(snapshot)
        self.changed.emit()

    def add_snapshot(self, snapshot: Snapshot) -> None:
        """One tick; while runs are guarded more come, and only one a second is shown."""
        for sample in snapshot.samples:
            self.runs.observe(sample)
        now_s = snapshot.time_monotonic_s
        if self._last_tick_s is not None and self._last_tick_s <= now_s < self._next_tick_s:
            return
        self._next_tick_s += INTERVAL_S
        if not now_s < self._next_tick_s <= now_s + INTERVAL_S:  # the first, or some were missed
            self._next_tick_s = now_s + INTERVAL_S - _SLACK_S
        self._remember(snapshot)
        self._samples = {sample.gpu_id: sample for sample in snapshot.samples}
        self.holds.tick()
        self.changed.emit()

    def want_processes(self, wanted: bool) -> None:
        """A page that lists processes is seen, or not any more."""
        if self._agent is not None:
            self._agent.want_processes(wanted)
        if not wanted:
            self.processes = None

    def set_processes(self, processes: Sequence[ProcessSample], hidden: Sequence[str]) -> None:
        """Who uses the GPUs now."""
        self.processes, self.hidden_processes = tuple(processes), tuple(hidden)
        self.changed.emit()

    def explain(self, key: ProcessKey) -> None:
        """Ask for the evidence on one process; ``explained`` tells when it is there."""
        if self._agent is None:
            return
        if self.explained is None or self.explained[0] != key:
            self.explained = key, self.tr("asking the agent")

        def take(result: Mapping[str, Any]) -> None:
            document = result["judgement"]
            none_yet = self.tr("it did no work on a GPU yet, so nobody looked into it")
            self._explain(key, none_yet if document is None else Verdict.from_json(document))

        params = {"pid": key[0], "started": key[1]}
        self._agent.ask("explain", params, take, lambda reason: self._explain(key, reason))

    def _explain(self, key: ProcessKey, verdict: Verdict | str) -> None:
        """Of a process that nobody asks about any more, nothing."""
        if self.explained is not None and self.explained[0] == key:
            self.explained = key, verdict
            self.changed.emit()

    def set_policy(self, document: Mapping[str, Any]) -> None:
        """The policy in force as the agent resolved it."""
        from gpupanel.policy.resolve import EffectivePolicy  # after the first frame

        self.policy = EffectivePolicy.from_json(document)
        self.runs.obey(self.decide)
        self.changed.emit()

    def decide(self, run: Run) -> Decision | None:
        """What policy says about ``run``; None while no policy is known."""
        if self.policy is None:
            return None
        from gpupanel.policy.decide import decide_run

        return decide_run(self.policy, run, info_of(run.workload).family)

    def start_run(self, run: Run) -> LiveRun | None:
        """Ask policy, write the decision down, and start what it allows beside what runs."""
        gpu = self.gpu(run.gpu)
        decision = self.decide(run)
        if gpu is None or decision is None or not self.runs.has_room(run):
            return None
        subject = self.tr("{0} on {1} for {2}").format(
            info_of(run.workload).title, gpu.name, fmt.duration(run.seconds)
        )
        self.decisions.appendleft(DecisionRecord(time(), subject, decision))
        if decision.verb is Verb.DENY:
            self.changed.emit()
            return None
        return self.runs.start(run, decision, gpu)

    def gpu(self, gpu_id: GpuId) -> GpuInfo | None:
        """The GPU of that id, if it is there."""
        return next((gpu for gpu in self.gpus or () if gpu.id == gpu_id), None)

    def _why_no_sample(self) -> str:
        if self.link_state is LinkState.RUNNING:
            return self.tr("waiting for the first reading")
        if self.link_state is LinkState.RESTARTING:
            return self.tr("agent restarting")
        return self.tr("agent starting")

    def _remember(self, snapshot: Snapshot) -> None:
        """Append one point per series, and a gap for every tick that was missed."""
        now_s = snapshot.time_monotonic_s
        missed = 0
        if self._last_tick_s is not None:
            missed = round((now_s - self._last_tick_s) / INTERVAL_S) - 1
        self._last_tick_s = now_s
        gap = [None] * min(max(missed, 0), POINTS)
        for sample in snapshot.samples:
            for metric in METRICS:
                value = sample.readings.get(metric.key)
                known = value if isinstance(value, (int, float)) else None
                series = self._series.setdefault((sample.gpu_id, metric.key), deque(maxlen=POINTS))
                series.extend(gap)
                series.append(known)
