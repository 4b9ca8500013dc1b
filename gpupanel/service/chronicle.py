"""What the audit log is told: values of the daemon's rooms as the fields of records.

Never a command line, a wallet or the address of a pool: those are not among the fields.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gpupanel.detection.detector import Key
from gpupanel.ipc.transport import Peer
from gpupanel.model.gpu import ProcessSample
from gpupanel.model.hold import Hold
from gpupanel.model.verdict import Standing, Verdict
from gpupanel.policy.faults import Fault
from gpupanel.policy.resolve import EffectivePolicy, PolicyState
from gpupanel.service.audit.log import Audit

_STATE_EVENTS: Mapping[PolicyState, str] = {
    PolicyState.STALE: "policy.stale",
    PolicyState.CLOSED: "policy.closed",
}
_PLACED: Mapping[str, str] = {Fault.INSECURE: "policy.insecure_file"}
_NEWS = frozenset({Fault.LOOSENED, Fault.REMOVED})
"""They are no faults of a source."""


class Chronicle:
    """Any thread may tell; without a log nothing is kept."""

    def __init__(self, audit: Audit | None) -> None:
        self._audit = audit
        self._verdicts: Mapping[Key, Verdict] = {}

    @property
    def problem(self) -> str:
        """Why something is not written down; empty while all is well."""
        return self._audit.problem if self._audit else ""

    def began(self, scope: str, version: str) -> None:
        """The daemon has started."""
        if self._audit:
            self._audit.record("service.started", scope=scope, version=version)

    def ended(self) -> None:
        """The daemon ends; nothing is told after it."""
        if self._audit:
            self._audit.record("service.stopped")
            self._audit.close()

    def carried_on(self, processes: int) -> None:
        """What an earlier daemon held when it died is held again."""
        if self._audit and processes:
            self._audit.record("service.crash_restored", processes=processes)

    def policy(self, now: EffectivePolicy, before: EffectivePolicy | None) -> None:
        """A policy came into force."""
        audit = self._audit
        if audit is None:
            return
        audit.record(
            "policy.loaded",
            state=now.state.value,
            before=before.state.value if before else "",
        )
        if now.state in _STATE_EVENTS and (before is None or before.state is not now.state):
            audit.record(_STATE_EVENTS[now.state])
        if now.loosened:
            audit.record("policy.loosened", keys=now.loosened)
        codes = {one.code for one in now.diagnostics}
        if Fault.REMOVED in codes:
            audit.record("policy.removed")
        for one in now.diagnostics:
            if one.severity == "error" and one.code not in _NEWS:
                # Never its text, which may quote a pool.
                event = _PLACED.get(one.code, "policy.rejected")
                audit.record(event, sources=(f"{one.path}:{one.line}",), faults=(one.code,))

    def verdicts(self, samples: Sequence[ProcessSample], verdicts: Mapping[Key, Verdict]) -> None:
        """One round of detection; what changed is written down. On the detection thread."""
        before, self._verdicts = self._verdicts, verdicts
        if self._audit is None:
            return
        known = {(one.pid, one.started): one for one in samples}
        for key, verdict in verdicts.items():
            stood = before[key].standing if key in before else Standing.CLEAR
            if verdict.standing is not stood and key in known:
                self._verdict(known[key], verdict, stood)

    def objection(self, uid: int | None, content_sha256: str) -> None:
        """A user said that a program does not mine."""
        if self._audit:
            self._audit.record("objection.added", uid=uid, sha256=content_sha256)

    def hold(self, word: str, hold: Hold) -> None:
        """Something happened to a hold: ``word`` is ``hold.*``."""
        if self._audit:
            self._audit.record(
                word, hold=hold.id, uid=hold.uid, user=hold.user, pid=hold.pid,
                started=hold.started, name=hold.name, processes=hold.processes, gpus=hold.gpus,
                action=hold.action, would=hold.would, cap_percent=hold.cap_percent,
                window_s=hold.window_s, efficiency_percent=hold.efficiency_percent,
                means=hold.means, is_best_effort=hold.is_best_effort, reason=hold.reason,
            )  # fmt: skip

    def denied(self, peer: Peer, method: str) -> None:
        """A client asked for what it may not."""
        if self._audit:
            self._audit.record(
                "auth.denied", uid=peer.uid, endpoint=peer.endpoint.value, method=method
            )

    def _verdict(self, sample: ProcessSample, verdict: Verdict, before: Standing) -> None:
        assert self._audit is not None
        families = dict.fromkeys(
            line.family.value for line in verdict.evidence if line.weight_nats > 0
        )
        self._audit.record(
            "verdict.changed", pid=sample.pid, started=sample.started, name=sample.name,
            uid=sample.uid, sha256=verdict.content_sha256, verdict=verdict.standing.value,
            before=before.value, process_class=verdict.process_class.value,
            posterior=verdict.posterior, families=tuple(families),
        )  # fmt: skip
