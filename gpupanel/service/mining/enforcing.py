"""What detection found, what policy says about it, and the enforcer that makes it true."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gpupanel.detection.detector import Key
from gpupanel.detection.reading.facts import ProcessFacts
from gpupanel.enforcement.enforcer import Enforcer, Plan
from gpupanel.enforcement.target import Target, offender_from_json, target_from_json
from gpupanel.model.gpu import GpuId, GpuInfo, ProcessSample, Unavailable
from gpupanel.model.verdict import ProcessClass, Standing, Verdict
from gpupanel.policy.offender import Offender, Treatment, treat
from gpupanel.service.mining.judging import Facts, PolicyOf

_GUESTS = frozenset({ProcessClass.GAMING, ProcessClass.AI, ProcessClass.RENDERING})
_AT_WORK_PERCENT = 5.0


class Enforcing:
    """Belongs to the detection thread."""

    def __init__(
        self,
        enforcer: Enforcer,
        gpus: Callable[[], Sequence[GpuInfo]],
        policy_for: PolicyOf,
        own_uid: int | None,
    ) -> None:
        """Hold nobody yet.

        Args:
            enforcer: Makes plans true.
            gpus: Those of this machine now.
            policy_for: What holds for the processes of a user.
            own_uid: The only user whose processes may be held; None for everybody's.
        """
        self._enforcer = enforcer
        self._gpus = gpus
        self._policy_for = policy_for
        self._own_uid = own_uid

    def judged(
        self, samples: Sequence[ProcessSample], verdicts: Mapping[Key, Verdict], facts: Facts
    ) -> list[Key]:
        """Hand a round of verdicts to the enforcer, with what policy says about each.

        Returns:
            Those that something is done about, or would be.
        """
        users = by_process(samples)
        beside = guests(samples, verdicts)
        targets, cleared = [], []
        for key, verdict in verdicts.items():
            known = facts(key) if verdict.standing is Standing.MINING else None
            if known is None:
                cleared.append(key)
            elif self._may_hold(known):
                own = users[key]
                targets.append(self._target(own, verdict, known, beside))
        wanted = [one for one in targets if one.treatment.would != "observe"]
        cleared += [one.process for one in targets if one.treatment.would == "observe"]
        self._enforcer.plan(Plan(wanted, cleared, self._terms))
        return [one.process for one in wanted]

    def carry_on(self, resume: Mapping[str, Any]) -> int:
        """Hold again what an earlier daemon held, if policy still says so; before the start.

        What is damaged in ``resume`` is left to detection.

        Returns:
            How many processes.
        """
        targets = []
        try:
            for document in resume["targets"]:
                offender = offender_from_json(document)
                treatment = treat(self._policy_for(document["uid"]), offender)
                targets.append(target_from_json(document, offender, treatment))
            share = resume["share"]
        except (KeyError, TypeError, ValueError):
            return 0
        wanted = [one for one in targets if one.acts]
        if wanted:
            self._enforcer.carry_on(wanted, share)
        return len(wanted)

    def _terms(self, target: Target) -> Treatment:
        """On the enforcer's thread."""
        return treat(self._policy_for(target.uid), target.offender)

    def _may_hold(self, facts: ProcessFacts) -> bool:
        """Never the first process, nor ourselves and what we started."""
        if facts.pid <= 1 or os.getpid() in (facts.pid, facts.parent):
            return False
        return self._own_uid is None or facts.uid == self._own_uid

    def _target(
        self,
        samples: Sequence[ProcessSample],
        verdict: Verdict,
        facts: ProcessFacts,
        guests: frozenset[GpuId],
    ) -> Target:
        gpus = frozenset(one.gpu_id for one in samples)
        program = facts.program
        offender = Offender(
            executable_sha256=facts.content_sha256,
            trusted_path=program.path if program.is_trusted and facts.script is None else None,
            gpus=tuple(names_of(one, self._gpus()) for one in sorted(gpus)),
            beside_guest=not gpus.isdisjoint(guests),
        )
        first = samples[0]
        return Target(
            (facts.pid, facts.started), facts.uid, first.user, first.name, gpus, offender,
            treat(self._policy_for(facts.uid), offender),
            by_arguments=facts.script is not None, may_release=verdict.may_object,
        )  # fmt: skip


def names_of(gpu_id: GpuId, gpus: Sequence[GpuInfo]) -> tuple[str, ...]:
    """What policy may call a GPU: its id, its PCI address."""
    address = next((one.pci_bus_id for one in gpus if one.id == gpu_id), None)
    return (gpu_id, address) if address else (gpu_id,)


def by_process(samples: Sequence[ProcessSample]) -> dict[Key, list[ProcessSample]]:
    """One process uses several GPUs, and has a sample for each."""
    found: dict[Key, list[ProcessSample]] = {}
    for sample in samples:
        found.setdefault((sample.pid, sample.started), []).append(sample)
    return found


def guests(samples: Sequence[ProcessSample], verdicts: Mapping[Key, Verdict]) -> frozenset[GpuId]:
    """GPUs on which somebody plays, trains or renders now."""
    return frozenset(
        one.gpu_id
        for one in samples
        if (verdict := verdicts.get((one.pid, one.started))) is not None
        and verdict.process_class in _GUESTS
        and not isinstance(one.utilization_percent, Unavailable)
        and one.utilization_percent >= _AT_WORK_PERCENT
    )
