"""The wiring: backends to sampler, sampler to history and clients; policy files to policy.

In user scope it is the agent of one window or command line; in system scope it will be the
service. Nothing here draws, computes on a GPU, or writes policy.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from gpupanel import __version__
from gpupanel.backends.base import ProbeResult, ProbeState
from gpupanel.backends.registry import Opened, open_backends
from gpupanel.detection.detector import Key
from gpupanel.ipc import protocol
from gpupanel.ipc.limits import Account
from gpupanel.ipc.server import Connection, Method
from gpupanel.ipc.transport import Peer, Stream
from gpupanel.model.errors import HoldFailed, ProtocolError
from gpupanel.model.event import EventRecord
from gpupanel.model.gpu import GpuId, GpuInfo, ProcessSample, Reading, Sample, Snapshot, Unavailable
from gpupanel.model.hold import Hold
from gpupanel.model.metrics import METRICS
from gpupanel.model.verdict import Verdict
from gpupanel.policy.everyone import Policies
from gpupanel.sampling.history import History
from gpupanel.sampling.ledger import HeldMinute, Ledger, set_by
from gpupanel.sampling.sampler import Sampler
from gpupanel.sampling.store import Store
from gpupanel.sampling.transitions import Transitions
from gpupanel.service.authorization import offered
from gpupanel.service.enforcing import Enforcing
from gpupanel.service.holding import Holding
from gpupanel.service.judging import Facts, Judging
from gpupanel.service.memory import Memory
from gpupanel.service.scope import Scope
from gpupanel.service.verdict_log import VerdictLog
from gpupanel.service.views import View, view_of
from gpupanel.service.watchdog import Turn
from gpupanel.service.wishes import Wishes

TOPICS = {"snapshots", "gpus", "policy", "processes", "events", "holds"}

HISTORY_INTERVAL_S = 1.0
"""The pace when nobody asks for a faster one; history has one point per second."""

SHORTEST_INTERVAL_S = 0.1
PROCESS_INTERVAL_S = 1.0
LEDGER_INTERVAL_S = 10.0
"""Between two writes of the ledger; a crash loses so much of it."""

SAMPLER_LIMIT_S = 20.0
"""A driver that resets its card may keep one reading this long, not longer."""

LONGEST_NOTE = 200
SLACK_S = 0.05
"""A tick that comes this much early is the tick of its second."""

PRIMING_S = 0.1
"""Utilization is a difference: the first tick waits for something to subtract from."""

GAP = Unavailable("no reading then")

_HOLD_WORDS: Mapping[str, str] = {
    "hold.applied": "is held",
    "hold.changed": "is held differently",
    "hold.released": "is not held any more",
    "hold.failed": "cannot be held",
    "hold.would": "would be held",
}


class Daemon:
    """One machine's GPUs and policy, offered over the protocol.

    The sampler's thread reads, remembers and tells; each connection's thread answers.
    """

    def __init__(
        self,
        scope: Scope,
        store: Store | None = None,
        find_gpus: Callable[[], Opened] = open_backends,
    ) -> None:
        """Open nothing yet.

        Args:
            scope: Where to read and write, and on whom to act.
            store: Remembers on disk; None forgets at the end.
            find_gpus: Opens the driver stacks, or a recording in their place.
        """
        self._scope = scope
        self._policies = Policies(scope.sources, scope.users_dir)
        self._wishes = Wishes(self._policies, self._on_wish) if scope.users_dir else None
        self._holds: tuple[Hold, ...] = ()
        self._store = store
        self._find_gpus = find_gpus
        self._transitions = Transitions()
        self._ledger = Ledger()
        self._next_process_look_s = 0.0
        self._next_memory_s = 0.0
        self._next_ledger_s = 0.0
        self._memory = Memory(store.path if store else None)
        self._judging = Judging(
            self._on_event, scope.objectors(),
            on_judged=self._on_judged, on_excused=self._on_excused,
        )  # fmt: skip
        self._holding: Holding | None = None
        self._enforcing: Enforcing | None = None
        self._hold_problem = ""
        files = scope.verdicts_files
        self._verdict_log = VerdictLog(files, self._gpu_names) if files else None
        self._sampler_turn = Turn("sampler", SAMPLER_LIMIT_S)
        self.turns = (self._sampler_turn, self._judging.turn)
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._history = History()
        self._unix_offset_s = 0.0
        self._connections: list[Connection] = []
        self._methods: Mapping[str, Method] = {
            "hello": self._hello,
            "gpus": self._gpus,
            "history": self._history_of,
            "limits": self._limits,
            "note": self._note,
            **self._memory.methods,
            "sleep": self._sleep,
        }

    def start(self, beat: Callable[[], None] = lambda: None) -> None:
        """Look for GPUs, read the policy, begin to sample, to judge and to hold.

        Args:
            beat: Called at every turn of the thread that holds.
        """
        self._beat = beat
        self._policies.load()
        self._judging.obey(self._policies.general, self._policies.of)
        self._sampler = Sampler(self._find_gpus())
        self._told_gpus = self._gpus({})
        if self._scope.journal_file is not None:
            self._begin_to_hold(self._scope.journal_file)
        self._judging.start()
        self._thread = threading.Thread(target=self._sample, name="sampler")
        self._thread.start()

    def serve(self, stream: Stream, peer: Peer, account: Account | None = None) -> None:
        """Answer one client until it leaves; ``account`` is None for our parent."""
        connection = Connection(stream, peer, self._methods_for(peer), TOPICS, account)
        with self._lock:
            self._connections.append(connection)
        connection.serve()
        with self._lock:
            self._connections.remove(connection)

    def read_policy(self) -> None:
        """Read every source anew and tell who watches; any thread may call."""
        self._policies.load()
        self._judging.obey(self._policies.general, self._policies.of)
        with self._lock:
            connections = tuple(self._connections)
        self._tell_policy(connections)
        text = f"the policy was read anew: {self._policies.general.state.value}"
        self._on_event(EventRecord(time.time(), None, "policy", text))

    def summary(self) -> str:
        """What it does now, in one line."""
        state, count = self._policies.general.state.value, len(self._sampler.gpus())
        return f"policy {state}, {count} GPU{'' if count == 1 else 's'}"

    def stop(self) -> None:
        """End sampling and judging; returns when the threads have."""
        self._stop.set()
        self._thread.join()
        self._judging.stop()
        if self._verdict_log is not None:
            self._verdict_log.close()
        if self._holding is not None:
            self._holding.stop()

    def _begin_to_hold(self, journal_file: Path) -> None:
        """Go on with what an earlier daemon held, as policy says now."""
        try:
            self._holding = Holding(
                journal_file, self._sampler.gpus, self._on_hold, self._on_hold_fault, self._beat
            )
        except HoldFailed as reason:
            self._on_hold_fault(str(reason))
            return
        enforcer, gpus = self._holding.enforcer, self._sampler.gpus
        self._enforcing = Enforcing(enforcer, gpus, self._policies.of, self._scope.acts_on_uid)
        for resume in self._holding.resumes:
            self._enforcing.carry_on(resume)
        enforcer.start()

    def _on_judged(
        self, samples: Sequence[ProcessSample], verdicts: Mapping[Key, Verdict], facts: Facts
    ) -> None:
        if self._enforcing is not None:
            self._enforcing.judged(samples, verdicts, facts)
        if self._verdict_log is not None:
            self._verdict_log.judged(samples, verdicts, facts)

    def _on_excused(self, processes: Collection[Key]) -> None:
        if self._holding is not None:
            self._holding.enforcer.release(processes)

    def _on_hold(self, word: str, hold: Hold, text: str) -> None:
        """On the enforcer's thread."""
        said = f"{hold.name} (pid {hold.pid}) {_HOLD_WORDS[word]}: {text}"
        gpu_id = hold.gpus[0] if len(hold.gpus) == 1 else None
        self._on_event(EventRecord(time.time(), gpu_id, "mining", said))

    def _on_hold_fault(self, text: str) -> None:
        self._hold_problem = text
        self._on_event(EventRecord(time.time(), None, "fault", text))

    def _sample(self) -> None:
        self._stop.wait(PRIMING_S)
        self._restore_ledger()
        self._sampler.watch(self._on_event)
        self._sampler.run(self._stop, HISTORY_INTERVAL_S, self._on_snapshot)
        self._sampler.close()
        if self._store:
            self._store.close(self._ledger.drain())

    def _restore_ledger(self) -> None:
        """What held the cards before this daemon was started is still true of the last day."""
        unix_s, monotonic_s = time.time(), time.monotonic()
        kept = self._memory.held_minutes(unix_s) if self._store else []
        with self._lock:
            self._ledger.restore(kept, unix_s, monotonic_s)

    def _on_snapshot(self, snapshot: Snapshot) -> None:
        with self._lock:
            self._history.append(snapshot)
            self._ledger.append(snapshot, set_by(snapshot))
            self._unix_offset_s = snapshot.time_unix_s - snapshot.time_monotonic_s
            connections = tuple(self._connections)
        for connection in connections:
            connection.publish("snapshots", "snapshot", {"snapshot": snapshot.as_json()})
        self._remember(snapshot)
        for event in self._transitions.events(snapshot):
            self._on_event(event)
        self._look_at_processes(connections, snapshot)
        self._tell_holds(connections)
        self._tell_news(connections)
        self._sampler.set_interval_s(_pace_s(connections))
        self._sampler_turn.take()
        if self._holding is None:
            self._beat()

    def _remember(self, snapshot: Snapshot) -> None:
        """On disk, one snapshot a second however fast somebody watches."""
        now_s = snapshot.time_monotonic_s
        if not self._store or now_s < self._next_memory_s:
            return
        self._next_memory_s = now_s + HISTORY_INTERVAL_S - SLACK_S
        held: Sequence[HeldMinute] = ()
        if now_s >= self._next_ledger_s:
            self._next_ledger_s = now_s + LEDGER_INTERVAL_S - SLACK_S
            held = self._ledger.drain()
        self._store.append(snapshot, held)

    def _on_event(self, event: EventRecord) -> None:
        if self._store:
            self._store.add_event(event)
        with self._lock:
            connections = tuple(self._connections)
        for connection in connections:
            if self._view(connection.peer).shows_event(event.kind):
                connection.publish("events", "event", {"event": event.as_json()})

    def _look_at_processes(self, connections: tuple[Connection, ...], snapshot: Snapshot) -> None:
        """Looking at every process costs something: once a second while asked, else seldom."""
        now_s = snapshot.time_monotonic_s
        wanted = any(each.shortest_interval_s("processes") is not None for each in connections)
        to_judge = self._judging.is_due(now_s, SLACK_S)
        if not to_judge and (not wanted or now_s < self._next_process_look_s):
            return
        self._next_process_look_s = now_s + PROCESS_INTERVAL_S - SLACK_S
        processes, hidden = self._sampler.processes()
        if to_judge:
            self._judging.offer(processes, snapshot)
        if wanted:
            self._tell_processes(connections, self._judging.judged(processes), hidden)

    def _tell_processes(
        self,
        connections: tuple[Connection, ...],
        processes: Sequence[ProcessSample],
        hidden: Sequence[str],
    ) -> None:
        problem = self._verdict_log.problem if self._verdict_log else ""
        problems = self._judging.objectors.problem, problem, self._hold_problem
        why = [*hidden, *filter(None, problems)]
        for connection in connections:
            if connection.shortest_interval_s("processes") is not None:
                shown, others = self._view(connection.peer).processes(processes)
                told = {"processes": [one.as_json() for one in shown], "hidden": [*why, *others]}
                connection.publish("processes", "processes", told)

    def _tell_holds(self, connections: Sequence[Connection]) -> None:
        """What is done to miners, while something is, and when that ended."""
        holds = self._holding.enforcer.holds() if self._holding is not None else ()
        before, self._holds = self._holds, holds
        if holds != before:
            for connection in connections:
                connection.publish("holds", "holds", self._holds_for(connection.peer))

    def _holds_for(self, peer: Peer) -> Mapping[str, Any]:
        return {"holds": [one.as_json() for one in self._view(peer).holds(self._holds)]}

    def _view(self, peer: Peer) -> View:
        return view_of(peer, self._policies.imposed_on)

    def _methods_for(self, peer: Peer) -> Mapping[str, Method]:
        """All methods as one client may call them."""
        personal: dict[str, Method] = {
            "policy": lambda params: self._policies.of(peer.uid).as_json(),
            "events": lambda params: self._events(self._view(peer), params),
            "holds": lambda params: self._holds_for(peer),
            **self._judging.methods_for(peer, lambda: self._view(peer)),
            **(self._wishes.methods_for(peer) if self._wishes else {}),
        }
        return offered({**self._methods, **personal}, peer)

    def _events(self, view: View, params: Mapping[str, Any]) -> Mapping[str, Any]:
        answer = self._methods["events"](params)
        shown = [one for one in answer["events"] if view.shows_event(one["kind"])]
        return {**answer, "events": shown}

    def _on_wish(self, uid: int) -> None:
        """A user wishes something else: it is in force, and told to him."""
        self._judging.obey(self._policies.general, self._policies.of)
        with self._lock:
            connections = [one for one in self._connections if one.peer.uid == uid]
        self._tell_policy(connections)

    def _tell_policy(self, connections: Sequence[Connection]) -> None:
        for connection in connections:
            policy = self._policies.of(connection.peer.uid).as_json()
            connection.publish("policy", "policy", {"policy": policy})

    def _tell_news(self, connections: tuple[Connection, ...]) -> None:
        """GPUs that came or went, and policy that changed."""
        gpus = self._gpus({})
        if gpus != self._told_gpus:
            self._told_gpus = gpus
            for connection in connections:
                connection.publish("gpus", "gpus", gpus)
        if self._policies.changed():
            self.read_policy()

    def _hello(self, params: Mapping[str, Any]) -> Mapping[str, Any]:
        if params["protocol"] != protocol.PROTOCOL_VERSION:
            raise ProtocolError(
                f"this daemon speaks protocol {protocol.PROTOCOL_VERSION}, the client "
                f"{params['protocol']}: install the same version of both"
            )
        return {
            "protocol": protocol.PROTOCOL_VERSION,
            "version": __version__,
            "scope": self._scope.name,
        }

    def _gpus(self, params: Mapping[str, Any]) -> Mapping[str, Any]:
        del params
        results = list(self._sampler.probe_results())
        if self._store and self._store.problem:
            results.append(ProbeResult("history", ProbeState.FAILED, self._store.problem))
        return {
            "gpus": [gpu.as_json() for gpu in self._sampler.gpus()],
            "backends": [result.as_json() for result in results],
        }

    def _gpu_names(self, gpu_id: GpuId) -> tuple[str, ...]:
        """What policy may call a GPU."""
        address = next((one.pci_bus_id for one in self._sampler.gpus() if one.id == gpu_id), None)
        return (gpu_id, address) if address else (gpu_id,)

    def _history_of(self, params: Mapping[str, Any]) -> Mapping[str, Any]:
        seconds = float(params["seconds"])
        if not 0 < seconds <= 3600:
            raise ValueError("seconds is more than 0, at most 3600")
        with self._lock:
            snapshots = _recent(self._history, self._sampler.gpus(), seconds, self._unix_offset_s)
        return {"snapshots": [snapshot.as_json() for snapshot in snapshots]}

    def _limits(self, params: Mapping[str, Any]) -> Mapping[str, Any]:
        """What held each GPU's clocks down in the last minute, hour and day."""
        del params
        with self._lock:
            return {
                "limits": {
                    gpu.id: {
                        span: account.as_json()
                        for span, account in self._ledger.accounts(gpu.id).items()
                    }
                    for gpu in self._sampler.gpus()
                }
            }

    def _note(self, params: Mapping[str, Any]) -> Mapping[str, Any]:
        """A run of the client's began or ended; on the time axis it explains the readings."""
        gpu_id, text = params["gpu"], str(params["text"])
        if len(text) > LONGEST_NOTE or not text.isprintable():
            raise ValueError(f"text is one line of at most {LONGEST_NOTE} characters")
        if gpu_id not in {gpu.id for gpu in self._sampler.gpus()}:
            raise ValueError(f"there is no GPU {gpu_id}")
        self._on_event(EventRecord(time.time(), gpu_id, "run", text))
        return {}

    def _sleep(self, params: Mapping[str, Any]) -> Mapping[str, Any]:
        """How each GPU sleeps, and how often we woke it: never, or we have a fault."""
        del params
        records = self._sampler.sleep_records()
        return {"sleep": {gpu_id: record.as_json() for gpu_id, record in records.items()}}


def _pace_s(connections: tuple[Connection, ...]) -> float:
    """As fast as the most eager client wants, and never slower than history needs."""
    wanted = [connection.shortest_interval_s("snapshots") for connection in connections]
    fastest = min((s for s in wanted if s is not None), default=HISTORY_INTERVAL_S)
    return min(HISTORY_INTERVAL_S, max(SHORTEST_INTERVAL_S, fastest))


def _recent(
    history: History, gpus: Sequence[GpuInfo], seconds: float, unix_offset_s: float
) -> list[Snapshot]:
    """The history of all GPUs as snapshots, oldest first; a gap says that it is one."""
    samples: dict[float, list[Sample]] = {}
    for gpu in gpus:
        readings: dict[float, dict[str, Reading]] = {}
        for metric in METRICS:
            for point in history.series(gpu.id, metric.key, seconds):
                at = readings.setdefault(point.time_monotonic_s, {})
                at[metric.key] = GAP if point.mean is None else point.mean
        for time_s, by_key in readings.items():
            complete = {metric.key: by_key.get(metric.key, GAP) for metric in METRICS}
            samples.setdefault(time_s, []).append(Sample(gpu.id, complete))
    return [
        Snapshot(time_s + unix_offset_s, time_s, tuple(samples[time_s]))
        for time_s in sorted(samples)
    ]
