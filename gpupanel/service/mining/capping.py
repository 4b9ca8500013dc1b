"""Detection and the cap as one part of the daemon: who mines, and what is done about it."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from gpupanel.detection.detector import Key
from gpupanel.ipc.server import Method
from gpupanel.ipc.transport import Peer
from gpupanel.model.errors import HoldFailed
from gpupanel.model.event import EventRecord
from gpupanel.model.gpu import GpuInfo, ProcessSample, Snapshot
from gpupanel.model.hold import Hold
from gpupanel.model.verdict import Verdict
from gpupanel.policy.everyone import Policies
from gpupanel.service.chronicle import Chronicle
from gpupanel.service.mining.enforcing import Enforcing, names_of
from gpupanel.service.mining.holding import Holding
from gpupanel.service.mining.judging import Facts, Judging
from gpupanel.service.mining.rates import Rates
from gpupanel.service.mining.verdict_log import VerdictLog
from gpupanel.service.scope import Scope
from gpupanel.service.views import View

_WORDS: Mapping[str, str] = {
    "hold.applied": "is held",
    "hold.changed": "is held differently",
    "hold.released": "is not held any more",
    "hold.failed": "cannot be held",
    "hold.would": "would be held",
}


class Capping:
    """Started and stopped with the daemon.

    Attributes:
        turn: Of the thread that judges.
    """

    def __init__(
        self,
        scope: Scope,
        policies: Policies,
        chronicle: Chronicle,
        on_event: Callable[[EventRecord], None],
        gpus: Callable[[], Sequence[GpuInfo]],
    ) -> None:
        """Look at nothing and hold nobody yet.

        Args:
            scope: Where to read and write, and on whom to act.
            policies: What is in force for each user.
            chronicle: Told what is decided and done.
            on_event: Told what belongs into the history.
            gpus: Those of this machine now.
        """
        self._scope = scope
        self._policies = policies
        self._chronicle = chronicle
        self._on_event = on_event
        self._gpus = gpus
        self._judging = Judging(
            on_event, scope.objectors(),
            on_judged=self._on_judged, on_excused=self._on_excused,
        )  # fmt: skip
        self.turn = self._judging.turn
        files = scope.verdicts_files
        self._verdict_log = VerdictLog(files, lambda one: names_of(one, gpus())) if files else None
        self._holding: Holding | None = None
        self._enforcing: Enforcing | None = None
        self._rates: Rates | None = None
        self._fault = ""

    @property
    def problems(self) -> tuple[str, ...]:
        """What does not work of it, for a person."""
        log = self._verdict_log.problem if self._verdict_log else ""
        is_dead = self._holding is not None and not self._holding.enforcer.is_alive
        ended = "the thread that holds has ended: start gpupanel again" if is_dead else ""
        found = (
            self._judging.objectors.problem,
            log,
            ended or self._fault,
            self._chronicle.problem,
        )
        return tuple(one for one in found if one)

    @property
    def is_holding(self) -> bool:
        """Whether the thread that holds lives."""
        return self._holding is not None

    def start(self, beat: Callable[[], None]) -> None:
        """Go on with what an earlier daemon held, and begin to judge.

        Args:
            beat: Called at every turn of the thread that holds.
        """
        self.obey()
        if self._scope.journal_file is not None:
            self._begin_to_hold(beat)
        self._judging.start()

    def obey(self) -> None:
        """Policy has changed."""
        self._judging.obey(self._policies.general, self._policies.of)

    def stop(self) -> None:
        """Let everybody go; returns when the threads have ended."""
        self._judging.stop()
        if self._verdict_log is not None:
            self._verdict_log.close()
        if self._holding is not None and self._rates is not None:
            self._rates.stop()
            self._holding.stop()

    def is_due(self, now_s: float, slack_s: float) -> bool:
        """Whether to look at processes for this alone."""
        return self._judging.is_due(now_s, slack_s)

    def offer(self, samples: Sequence[ProcessSample], snapshot: Snapshot) -> None:
        """Who uses the GPUs now."""
        self._judging.offer(samples, snapshot)

    def wait_until_judged(self) -> None:
        """Returns when what was offered last was judged, or all was stopped."""
        self._judging.wait_until_judged()

    def judged(self, samples: Sequence[ProcessSample]) -> tuple[ProcessSample, ...]:
        """The same with what is thought of each."""
        return self._judging.judged(samples)

    def holds(self) -> tuple[Hold, ...]:
        """What is done, as of a second ago at most."""
        return self._holding.enforcer.holds() if self._holding is not None else ()

    def methods_for(self, peer: Peer, view: Callable[[], View]) -> Mapping[str, Method]:
        """What one client may ask, who sees what ``view`` gives at that time."""

        def holds(params: Mapping[str, Any]) -> Mapping[str, Any]:
            del params
            return {"holds": [one.as_json() for one in view().holds(self.holds())]}

        return {"holds": holds, **self._judging.methods_for(peer, view)}

    def _begin_to_hold(self, beat: Callable[[], None]) -> None:
        assert self._scope.journal_file is not None
        try:
            self._holding = Holding(
                self._scope.journal_file, self._scope.cells, self._gpus, self._on_hold,
                self._on_fault, beat,
            )  # fmt: skip
        except HoldFailed as reason:
            self._on_fault(str(reason))
            return
        enforcer = self._holding.enforcer
        policy_for, only = self._policies.of, self._scope.acts_on_uid
        self._enforcing = Enforcing(enforcer, self._gpus, policy_for, only)
        carried = [self._enforcing.carry_on(one) for one in self._holding.resumes]
        self._chronicle.carried_on(sum(carried))
        enforcer.start()
        self._rates = Rates(enforcer.told_rate)
        self._rates.start()

    def _on_judged(
        self, samples: Sequence[ProcessSample], verdicts: Mapping[Key, Verdict], facts: Facts
    ) -> None:
        """On the detection thread."""
        if self._enforcing is not None and self._rates is not None:
            held = self._enforcing.judged(samples, verdicts, facts)
            self._rates.ask({one: known.listening_ports for one in held if (known := facts(one))})
        if self._verdict_log is not None:
            self._verdict_log.judged(samples, verdicts, facts)
        self._chronicle.verdicts(samples, verdicts)

    def _on_excused(self, uid: int | None, content_sha256: str, processes: Collection[Key]) -> None:
        """On the thread of the client who said so."""
        if self._holding is not None:
            self._holding.enforcer.release(processes)
        self._chronicle.objection(uid, content_sha256)

    def _on_hold(self, word: str, hold: Hold, text: str) -> None:
        """On the enforcer's thread."""
        self._chronicle.hold(word, hold)
        said = f"{hold.name} (pid {hold.pid}) {_WORDS[word]}: {text}"
        gpu_id = hold.gpus[0] if len(hold.gpus) == 1 else None
        self._on_event(EventRecord(time.time(), gpu_id, "mining", said))

    def _on_fault(self, text: str) -> None:
        self._fault = text
        self._on_event(EventRecord(time.time(), None, "mining", text))
