"""The wiring: backends to sampler, sampler to readings, detection and clients; files to policy.

In user scope it is the agent of one window or command line, in system scope the service. Nothing
here draws, computes on a GPU, or writes policy.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gpupanel import __version__
from gpupanel.backends.base import ProbeResult, ProbeState
from gpupanel.backends.registry import Opened, open_backends
from gpupanel.ipc import protocol
from gpupanel.ipc.limits import Account
from gpupanel.ipc.server import Connection, Method
from gpupanel.ipc.transport import Peer, Stream
from gpupanel.model.errors import ProtocolError
from gpupanel.model.event import EventRecord
from gpupanel.model.gpu import GpuInfo, ProcessSample, Snapshot
from gpupanel.model.hold import Hold
from gpupanel.policy.everyone import Policies
from gpupanel.sampling.sampler import Sampler
from gpupanel.sampling.store import Store
from gpupanel.sampling.transitions import Transitions
from gpupanel.service.audit.log import Audit
from gpupanel.service.authorization import offered
from gpupanel.service.chronicle import Chronicle
from gpupanel.service.mining.capping import Capping
from gpupanel.service.overseer.watchdog import Turn
from gpupanel.service.readings import INTERVAL_S, SLACK_S, Readings
from gpupanel.service.scope import Scope
from gpupanel.service.views import View, view_of
from gpupanel.service.wishes import Wishes

TOPICS = {"snapshots", "gpus", "policy", "processes", "events", "holds"}

SHORTEST_INTERVAL_S = 0.1
PROCESS_INTERVAL_S = 1.0

SAMPLER_LIMIT_S = 20.0
"""A driver that resets its card may keep one reading this long, not longer."""

LONGEST_NOTE = 200

PRIMING_S = 0.1
"""Utilization is a difference: the first tick waits for something to subtract from."""


class Daemon:
    """One machine's GPUs and policy, offered over the protocol.

    The sampler's thread reads, remembers and tells; each connection's thread answers.
    """

    def __init__(
        self,
        scope: Scope,
        store: Store | None = None,
        find_gpus: Callable[[], Opened] = open_backends,
        audit: Audit | None = None,
    ) -> None:
        """Open nothing yet.

        Args:
            scope: Where to read and write, and on whom to act.
            store: Remembers on disk; None forgets at the end.
            find_gpus: Opens the driver stacks, or a recording in their place.
            audit: The log of what is decided and done; None keeps none.
        """
        self._scope = scope
        self._policies = Policies(scope.sources, scope.users_dir)
        self._wishes = Wishes(self._policies, self._on_wish) if scope.users_dir else None
        self._chronicle = Chronicle(audit)
        self._find_gpus = find_gpus
        self._transitions = Transitions()
        self._readings = Readings(store, self._gpus_now)
        self._capping = Capping(
            scope, self._policies, self._chronicle, self._on_event, self._gpus_now
        )
        self._holds: tuple[Hold, ...] = ()
        self._next_process_look_s = 0.0
        self._sampler_turn = Turn("sampler", SAMPLER_LIMIT_S)
        self.turns = (self._sampler_turn, self._capping.turn)
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._connections: list[Connection] = []
        self._methods: Mapping[str, Method] = {
            "hello": self._hello,
            "gpus": self._gpus,
            "note": self._note,
            "sleep": self._sleep,
            **self._readings.methods,
        }

    def start(self, beat: Callable[[], None] = lambda: None) -> None:
        """Look for GPUs, read the policy, begin to sample, to judge and to hold.

        Args:
            beat: Called at every turn of the thread that holds.
        """
        self._beat = beat
        self._chronicle.began(self._scope.name, __version__)
        self._policies.load()
        self._chronicle.policy(self._policies.general, None)
        self._sampler = Sampler(self._find_gpus())
        self._told_gpus = self._gpus({})
        self._capping.start(beat)
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
        before = self._policies.general
        self._policies.load()
        now = self._policies.general
        self._capping.obey()
        self._chronicle.policy(now, before)
        self._tell_policy(self._clients())
        text = f"the policy was read anew: {now.state.value}"
        self._on_event(EventRecord(time.time(), None, "policy", text))

    def summary(self) -> str:
        """What it does now, in one line."""
        state, count = self._policies.general.state.value, len(self._sampler.gpus())
        return f"policy {state}, {count} GPU{'' if count == 1 else 's'}"

    def stop(self) -> None:
        """End everything, and let everybody go; returns when the threads have ended."""
        self._stop.set()
        self._thread.join()
        self._capping.stop()
        self._chronicle.ended()

    def _clients(self) -> tuple[Connection, ...]:
        with self._lock:
            return tuple(self._connections)

    def _gpus_now(self) -> tuple[GpuInfo, ...]:
        return self._sampler.gpus()

    def _sample(self) -> None:
        self._stop.wait(PRIMING_S)
        self._readings.restore()
        self._sampler.watch(self._on_event)
        self._sampler.run(self._stop, INTERVAL_S, self._on_snapshot)
        self._sampler.close()
        self._readings.close()

    def _on_snapshot(self, snapshot: Snapshot) -> None:
        clients = self._clients()
        for client in clients:
            client.publish("snapshots", "snapshot", {"snapshot": snapshot.as_json()})
        self._readings.append(snapshot)
        for event in self._transitions.events(snapshot):
            self._on_event(event)
        self._look_at_processes(clients, snapshot)
        self._tell_holds(clients)
        self._tell_news(clients)
        self._sampler.set_interval_s(_pace_s(clients))
        self._sampler_turn.take()
        if not self._capping.is_holding:
            self._beat()

    def _on_event(self, event: EventRecord) -> None:
        self._readings.add_event(event)
        for client in self._clients():
            if self._view(client.peer).shows_event(event.kind):
                client.publish("events", "event", {"event": event.as_json()})

    def _look_at_processes(self, clients: Sequence[Connection], snapshot: Snapshot) -> None:
        """Looking at every process costs something: once a second while asked, else seldom."""
        now_s = snapshot.time_monotonic_s
        wanted = any(each.shortest_interval_s("processes") is not None for each in clients)
        to_judge = self._capping.is_due(now_s, SLACK_S)
        if not to_judge and (not wanted or now_s < self._next_process_look_s):
            return
        self._next_process_look_s = now_s + PROCESS_INTERVAL_S - SLACK_S
        processes, hidden = self._sampler.processes()
        if to_judge:
            self._capping.offer(processes, snapshot)
        if wanted:
            self._tell_processes(clients, self._capping.judged(processes), hidden)

    def _tell_processes(
        self,
        clients: Sequence[Connection],
        processes: Sequence[ProcessSample],
        hidden: Sequence[str],
    ) -> None:
        why = (*hidden, *self._capping.problems)
        for client in clients:
            if client.shortest_interval_s("processes") is not None:
                shown, others = self._view(client.peer).processes(processes)
                told = {"processes": [one.as_json() for one in shown], "hidden": [*why, *others]}
                client.publish("processes", "processes", told)

    def _tell_holds(self, clients: Sequence[Connection]) -> None:
        """What is done to miners, while something is, and when that ended."""
        before, self._holds = self._holds, self._capping.holds()
        if self._holds != before:
            for client in clients:
                shown = self._view(client.peer).holds(self._holds)
                client.publish("holds", "holds", {"holds": [one.as_json() for one in shown]})

    def _view(self, peer: Peer) -> View:
        return view_of(peer, self._policies.imposed_on)

    def _methods_for(self, peer: Peer) -> Mapping[str, Method]:
        """All methods as one client may call them."""
        personal: dict[str, Method] = {
            "policy": lambda params: self._policies.of(peer.uid).as_json(),
            "events": lambda params: self._events(self._view(peer), params),
            **self._capping.methods_for(peer, lambda: self._view(peer)),
            **(self._wishes.methods_for(peer) if self._wishes else {}),
        }
        return offered({**self._methods, **personal}, peer, self._chronicle.denied)

    def _events(self, view: View, params: Mapping[str, Any]) -> Mapping[str, Any]:
        answer = self._methods["events"](params)
        shown = [one for one in answer["events"] if view.shows_event(one["kind"])]
        return {**answer, "events": shown}

    def _on_wish(self, uid: int) -> None:
        """A user wishes something else: it is in force, and told to him."""
        self._capping.obey()
        self._tell_policy([one for one in self._clients() if one.peer.uid == uid])

    def _tell_policy(self, clients: Sequence[Connection]) -> None:
        for client in clients:
            policy = self._policies.of(client.peer.uid).as_json()
            client.publish("policy", "policy", {"policy": policy})

    def _tell_news(self, clients: Sequence[Connection]) -> None:
        """GPUs that came or went, and policy that changed."""
        gpus = self._gpus({})
        if gpus != self._told_gpus:
            self._told_gpus = gpus
            for client in clients:
                client.publish("gpus", "gpus", gpus)
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
        if self._readings.problem:
            results.append(ProbeResult("history", ProbeState.FAILED, self._readings.problem))
        return {
            "gpus": [gpu.as_json() for gpu in self._sampler.gpus()],
            "backends": [result.as_json() for result in results],
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


def _pace_s(clients: Sequence[Connection]) -> float:
    """As fast as the most eager client wants, and never slower than history needs."""
    wanted = [client.shortest_interval_s("snapshots") for client in clients]
    fastest = min((s for s in wanted if s is not None), default=INTERVAL_S)
    return min(INTERVAL_S, max(SHORTEST_INTERVAL_S, fastest))
