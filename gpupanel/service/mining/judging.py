"""Detection in the daemon: a thread that judges who uses the GPUs, and what clients ask of it.

The sampler's thread hands over what it saw and goes on; only the newest waits.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from gpupanel.detection.detector import Detector, Key, Reader
from gpupanel.detection.own import OwnLoads
from gpupanel.detection.reading.facts import ProcessFacts
from gpupanel.detection.reading.proc_reader import ProcReader
from gpupanel.detection.reading.psutil_reader import PsutilReader
from gpupanel.detection.signatures import built_in
from gpupanel.ipc.server import Method
from gpupanel.ipc.transport import Peer
from gpupanel.model.errors import ObjectionRefused
from gpupanel.model.event import EventRecord
from gpupanel.model.gpu import GpuId, ProcessSample, Snapshot, Unavailable
from gpupanel.model.verdict import Standing, Verdict
from gpupanel.policy.resolve import EffectivePolicy
from gpupanel.policy.sources import own_uid
from gpupanel.service.objections import Objectors
from gpupanel.service.overseer.watchdog import Turn
from gpupanel.service.views import View
from gpupanel.stress.catalog import WORKLOAD_BY_NAME

INTERVAL_S = 3.0
"""Between two looks; a miner that is known is found at the second."""

PolicyOf = Callable[[int | None], EffectivePolicy]
"""What is in force for one user."""

Facts = Callable[[Key], ProcessFacts | None]
OnJudged = Callable[[Sequence[ProcessSample], Mapping[Key, Verdict], Facts], None]
"""Takes who uses the GPUs, what is thought of each, and the way to what was read of them."""

OnExcused = Callable[[int | None, str, Collection[Key]], None]
"""Takes the user, the program's content, and that user's processes of it."""

LIMIT_S = 60.0
"""Between two looks on a machine that is well, whatever its disks do."""

_BUS = ("pcie_rx_bytes_per_s", "pcie_tx_bytes_per_s")
_TOLD: Mapping[Standing, str] = {
    Standing.SUSPECTED: "may be mining",
    Standing.MINING: "is mining",
}


@dataclass(frozen=True, slots=True)
class _Seen:
    """What the sampler's thread saw at one look."""

    samples: tuple[ProcessSample, ...]
    bus_bytes_per_s: Mapping[GpuId, float]
    time_monotonic_s: float


class Judging:
    """One thread, started and stopped with the daemon's."""

    def __init__(
        self,
        on_event: Callable[[EventRecord], None],
        objectors: Objectors | None = None,
        spawner: int | None = None,
        reader: Reader | None = None,
        on_judged: OnJudged | None = None,
        on_excused: OnExcused | None = None,
    ) -> None:
        """Look at nothing yet.

        Args:
            on_event: Told when a process is suspected, and when it is certain.
            objectors: Whose word counts and is kept; None for this user's, until the end.
            spawner: Whose children may be declared; None for this process's parent.
            reader: The way to the facts; None for that of this system.
            on_judged: Given each round of verdicts, on the detection thread.
            on_excused: Told what a user has just excused, on the client's thread.
        """
        known = built_in()
        self._reader = reader or _reader_here()
        self._own = OwnLoads(
            os.getppid() if spawner is None else spawner,
            self._reader.parent,
            self._reader.environment,
        )
        self._detector = Detector(self._reader, known, self._own)
        self._on_event = on_event
        self._on_judged = on_judged
        self._on_excused = on_excused
        self.objectors = objectors or Objectors.only(own_uid(), None)
        self._verdicts: Mapping[Key, Verdict] = {}
        self._uids: Mapping[Key, int | None] = {}
        self._waiting: _Seen | None = None
        self._policy: EffectivePolicy | None = None
        self._policy_of: PolicyOf | None = None
        self._turn = threading.Condition()
        self._is_judging = self._stopped = False
        self._next_look_s = 0.0
        self.turn = Turn("detection", LIMIT_S)

    def methods_for(self, peer: Peer, view: Callable[[], View]) -> Mapping[str, Method]:
        """What one client may ask, who sees what ``view`` gives at that time."""
        return {
            "explain": lambda params: self._explain(view(), params),
            "object": lambda params: self._object(peer, params),
            "declare": self._declare,
        }

    def start(self) -> None:
        """Begin to judge."""
        self._thread = threading.Thread(target=self._run, name="detection")
        self._thread.start()

    def stop(self) -> None:
        """Returns when the thread has ended."""
        with self._turn:
            self._stopped = True
            self._turn.notify_all()
        self._thread.join()

    def obey(self, policy: EffectivePolicy, policy_of: PolicyOf | None = None) -> None:
        """Take the administrator's signatures, and whether users may object.

        Args:
            policy: For the machine.
            policy_of: For one user; None where it is the same for all.
        """
        self._policy_of = policy_of or (lambda uid: policy)
        self._policy = policy

    def is_due(self, now_s: float, slack_s: float) -> bool:
        """Whether to look at processes for this alone."""
        return now_s >= self._next_look_s - slack_s

    def offer(self, samples: Sequence[ProcessSample], snapshot: Snapshot) -> None:
        """Who uses the GPUs now; judged if it is time to, on the other thread."""
        now_s = snapshot.time_monotonic_s
        self._next_look_s = now_s + INTERVAL_S
        seen = _Seen(tuple(samples), _bus(snapshot), now_s)
        with self._turn:
            self._waiting = seen
            self._turn.notify_all()

    def wait_until_judged(self) -> None:
        """Returns when what was offered last was judged, or the thread was stopped."""
        with self._turn:
            while (self._waiting is not None or self._is_judging) and not self._stopped:
                self._turn.wait()

    def judged(self, samples: Sequence[ProcessSample]) -> tuple[ProcessSample, ...]:
        """The same with what is thought of each, without the evidence."""
        verdicts = self._verdicts
        return tuple(
            replace(one, verdict=verdict.without_evidence()) if verdict else one
            for one in samples
            for verdict in (verdicts.get((one.pid, one.started)),)
        )

    def _run(self) -> None:
        while True:
            with self._turn:
                while self._waiting is None and not self._stopped:
                    self._turn.wait()
                seen, self._waiting = self._waiting, None
                if self._stopped or seen is None:
                    return
                self._is_judging = True
            self._judge(seen)
            self.turn.take()
            with self._turn:
                self._is_judging = False
                self._turn.notify_all()

    def _judge(self, seen: _Seen) -> None:
        self._take_policy()
        before = self._verdicts
        now_unix_s = time.time()
        samples = {(one.pid, one.started): one for one in seen.samples}
        self._uids = {key: one.uid for key, one in samples.items()}
        self._verdicts = self._detector.look(
            seen.samples, seen.bus_bytes_per_s, seen.time_monotonic_s, now_unix_s
        )
        for key, verdict in self._verdicts.items():
            told = _TOLD.get(verdict.standing)
            if told and (key not in before or before[key].standing is not verdict.standing):
                sample = samples[key]
                name = "".join(letter if letter.isprintable() else "?" for letter in sample.name)
                text = f"{name} (pid {sample.pid}) {told}: {_strongest(verdict)}"
                self._on_event(EventRecord(now_unix_s, sample.gpu_id, "mining", text))
        if self._on_judged is not None:
            self._on_judged(seen.samples, self._verdicts, self._detector.facts)
        self._detector.read_on()

    def _take_policy(self) -> None:
        policy, self._policy = self._policy, None
        if policy is not None:
            self._detector.learn(
                policy.choices("detection.miner_executables"),
                policy.choices("detection.pool_hosts"),
            )
            self._detector.may_object = self._may_object
        self._detector.excused = {
            (uid, program) for uid, program in self.objectors.programs if self._may_object(uid)
        }

    def _may_object(self, uid: int | None) -> bool:
        policy = self._policy_of(uid) if self._policy_of else None
        return (
            policy is not None
            and self.objectors.hears(uid)
            and policy.is_true("mining.allow_user_verdicts")
        )

    def _explain(self, view: View, params: Mapping[str, Any]) -> Mapping[str, Any]:
        key = _key(params)
        verdict, uid = self._verdicts.get(key), self._uids.get(key)
        if verdict is None or not view.sees(uid):
            return {"judgement": None}
        return {"judgement": view.verdict(verdict, uid).as_json()}

    def _object(self, peer: Peer, params: Mapping[str, Any]) -> Mapping[str, Any]:
        """By content: what the user means is this program, not this pid."""
        key = _key(params)
        verdict = self._verdicts.get(key)
        if verdict is None or self._uids.get(key) != peer.uid:
            raise ObjectionRefused(
                "there is no such process of yours, or nobody says that it mines"
            )
        if not verdict.may_object or verdict.content_sha256 is None:
            raise ObjectionRefused(
                "it is not suspected, policy does not let users object "
                "(mining.allow_user_verdicts), or its file could not be read"
            )
        self.objectors.add(peer.uid, verdict.content_sha256)
        if self._on_excused is not None:
            program = verdict.content_sha256
            self._on_excused(peer.uid, program, self._running(peer.uid, program))
        return {}

    def _running(self, uid: int | None, content_sha256: str) -> set[Key]:
        """A user's processes of one program."""
        return {
            key
            for key, verdict in self._verdicts.items()
            if verdict.content_sha256 == content_sha256 and self._uids.get(key) == uid
        }

    def _declare(self, params: Mapping[str, Any]) -> Mapping[str, Any]:
        workload = WORKLOAD_BY_NAME.get(str(params["workload"]))
        if workload is None:
            raise ValueError(f"there is no load {params['workload']}")
        self._own.declare(int(params["pid"]), workload.family, time.time())
        return {}


def _strongest(verdict: Verdict) -> str:
    return next((line.text for line in verdict.evidence if line.weight_nats > 0), "")


def _key(params: Mapping[str, Any]) -> Key:
    return int(params["pid"]), int(params["started"])


def _bus(snapshot: Snapshot) -> dict[GpuId, float]:
    """Both ways together, of the GPUs that tell both."""
    both: dict[GpuId, float] = {}
    for sample in snapshot.samples:
        readings = [sample.readings.get(key) for key in _BUS]
        known = [one for one in readings if one is not None and not isinstance(one, Unavailable)]
        if len(known) == len(_BUS):
            both[sample.gpu_id] = sum(known)
    return both


if sys.platform == "win32":

    def _reader_here() -> Reader:
        return PsutilReader(built_in())

else:

    def _reader_here() -> Reader:
        return ProcReader(built_in())
