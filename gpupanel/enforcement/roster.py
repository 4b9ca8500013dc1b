"""Who mines in one group, for how long that counts, and the terms that follow from it."""

from __future__ import annotations

from collections.abc import Iterable

from gpupanel.enforcement.cell import ProcessKey
from gpupanel.enforcement.kin import Kin, Likeness
from gpupanel.enforcement.target import ACTIONS, Target
from gpupanel.model.gpu import GpuId

LINGER_S = 600.0
"""A verdict counts so long where no other comes, also of a process that ended: who starts the same
program again is held at once."""


class Roster:
    """The targets of one group; never told of nobody until the group is over.

    Attributes:
        leader: The target that the group is shown by: the one under the hardest terms.
    """

    def __init__(self, first: Target, kin: Kin | None, now_s: float) -> None:
        self._kin = kin
        self._targets: dict[ProcessKey, Target] = {}
        self._valid_until_s: dict[ProcessKey, float] = {}
        self._likenesses: dict[ProcessKey, Likeness] = {}
        self._cleared: set[ProcessKey] = set()
        self.leader = first
        self.take(first, now_s)

    def __contains__(self, process: ProcessKey) -> bool:
        return process in self._targets

    def __bool__(self) -> bool:
        return bool(self._targets)

    @property
    def targets(self) -> tuple[Target, ...]:
        """Those with a verdict, dead or alive."""
        return tuple(self._targets.values())

    @property
    def processes(self) -> frozenset[ProcessKey]:
        """Of the targets."""
        return frozenset(self._targets)

    @property
    def gpus(self) -> frozenset[GpuId]:
        """That they use together."""
        return frozenset(gpu for one in self._targets.values() for gpu in one.gpus)

    @property
    def action(self) -> str:
        """The hardest of those that policy wants."""
        return self.leader.treatment.action

    @property
    def cap_percent(self) -> int:
        """The lowest; of the leader once the group is over."""
        caps = [one.treatment.cap_percent for one in self._targets.values()]
        return min(caps, default=self.leader.treatment.cap_percent)

    @property
    def grace_s(self) -> float:
        """The shortest."""
        graces = [one.treatment.grace_seconds for one in self._targets.values()]
        return min(graces, default=0)

    def take(self, target: Target, now_s: float) -> bool:
        """Add it, or what is new about it; whether it was unknown."""
        process = target.process
        is_new = process not in self._targets
        self._targets[process] = target
        self._valid_until_s[process] = now_s + LINGER_S
        self._cleared.discard(process)
        if is_new and self._kin is not None:
            likeness = self._kin.likeness(process[0], target.by_arguments)
            if likeness is not None:
                self._likenesses[process] = likeness
        self._lead()
        return is_new

    def amend(self, target: Target) -> None:
        """Other terms for one that is known; its verdict is not newer for that."""
        self._targets[target.process] = target
        self._lead()

    def drop(self, processes: Iterable[ProcessKey]) -> bool:
        """Those do not mine, as it turned out; whether there was one of them."""
        gone = self._targets.keys() & set(processes)
        for process in gone:
            del self._targets[process], self._valid_until_s[process]
            self._likenesses.pop(process, None)
        self._cleared |= gone
        self._lead()
        return bool(gone)

    def drop_old(self, now_s: float) -> bool:
        """Those whose verdict is too old; whether there was one."""
        return self.drop([one for one, end_s in self._valid_until_s.items() if now_s >= end_s])

    def valid_until(self, until_s: float) -> None:
        """All verdicts of now end then, if no others come."""
        self._valid_until_s = dict.fromkeys(self._targets, until_s)

    def kin(self, pids: Iterable[int], now_s: float) -> set[ProcessKey]:
        """Those of ``pids`` that run the program of a target; they keep its verdict alive."""
        if self._kin is None:
            return set()
        found = self._kin.alike(self._likenesses.values(), pids) - self._cleared
        if found and self._targets:
            self._valid_until_s[self.leader.process] = now_s + LINGER_S
        return found

    def _lead(self) -> None:
        self.leader = max(
            self._targets.values(),
            key=lambda one: (ACTIONS.index(one.treatment.action), -one.treatment.cap_percent),
            default=self.leader,
        )
