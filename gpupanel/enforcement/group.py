"""One user's mining processes that share GPUs, and what is done to them together."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from gpupanel.enforcement.cap import Cap, Meter
from gpupanel.enforcement.cell import Cell, Freezer, ProcessKey, Trace
from gpupanel.enforcement.kin import Kin, Likeness
from gpupanel.enforcement.target import ACTIONS, Target
from gpupanel.model.errors import HoldFailed
from gpupanel.model.gpu import GpuId, Unavailable
from gpupanel.model.hold import Hold

LINGER_S = 600.0
"""A verdict counts so long where no other comes, also of a process that ended: who starts the same
program again is held at once."""

CARRIED_S = 30.0
"""After a restart of ours, what an earlier daemon held stays held so long without a verdict."""

_RETRY_S = 2.0
_MEMBERS_S = 1.0
_IDLE_S = 0.5
_NOT_ACTING = Unavailable("nothing is held")


class Undoing(Protocol):
    """Who lets go when we cannot: the journal and the dead man as one."""

    def hold(self, name: str, trace: Trace, resume: Mapping[str, Any]) -> None:
        """Remember, before anything is held; returns when it is safe.

        Raises:
            HoldFailed: It cannot be remembered.
        """

    def drop(self, name: str) -> None:
        """All was let go."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What a group is built from.

    Attributes:
        meter_for: A meter of these GPUs.
        children: The processes and all that they started.
        age_s: How long ago a process was started; None where it lives no more.
        tell: Told what happens: a word of ``hold.*``, the hold, and a sentence.
    """

    freezer: Freezer
    meter_for: Callable[[Collection[GpuId]], Meter]
    children: Callable[[Collection[ProcessKey]], Collection[ProcessKey]]
    age_s: Callable[[ProcessKey], float | None]
    undoing: Undoing
    kin: Kin | None
    tell: Callable[[str, Hold, str], None]


class Group:
    """Belongs to the enforcer's thread.

    Attributes:
        targets: Those with a verdict, dead or alive.
        gpus: That they use together.
        carried_until_s: Until then nobody is dropped for want of evidence.
    """

    def __init__(self, name: str, parts: Parts, first: Target, now_s: float, unix_s: float) -> None:
        """Do nothing yet.

        Args:
            name: Ours alone among all groups of this boot.
            parts: What to build with.
            first: Whom it begins with.
            now_s: Monotonic.
            unix_s: The same instant on the wall clock.
        """
        self.name = name
        self.uid = first.uid
        self.acts = first.acts
        self.targets: dict[ProcessKey, Target] = {}
        self.gpus: frozenset[GpuId] = frozenset()
        self.carried_until_s = now_s
        self.likeness = Likeness()
        self._parts = parts
        self._began_s, self._began_unix_s = now_s, unix_s
        self._cell: Cell | None = None
        self._cap: Cap | None = None
        self._meter: Meter | None = None
        self._members: frozenset[ProcessKey] = frozenset()
        self._looked_s = now_s
        self._valid_until_s: dict[ProcessKey, float] = {}
        self._share: float | None = None
        self._written: Mapping[str, Any] = {}
        self._problem = ""
        self._is_told = False
        self._leader = first
        self.take([first], now_s)

    @property
    def action(self) -> str:
        """The hardest of those that policy wants."""
        return max((one.treatment.action for one in self.targets.values()), key=ACTIONS.index)

    @property
    def cap_percent(self) -> int:
        """The lowest."""
        return min(one.treatment.cap_percent for one in self.targets.values())

    @property
    def acts_s(self) -> float:
        """When its period of grace ends, on the monotonic clock."""
        return self._began_s + min(one.treatment.grace_seconds for one in self.targets.values())

    @property
    def is_over(self) -> bool:
        """Nobody in it mines any more."""
        return not self.targets

    def take(self, targets: Iterable[Target], now_s: float) -> None:
        """Add these, or what is new about them."""
        before = self._terms() if self.targets else None
        for target in targets:
            is_new = target.process not in self.targets
            self.targets[target.process] = target
            self._valid_until_s[target.process] = now_s + LINGER_S
            if is_new and self._parts.kin is not None:
                self._parts.kin.learn(self.likeness, target.process[0], target.by_arguments)
            if is_new and self._cell is not None:
                self._add(self._parts.children([target.process]), now_s)
        gpus = frozenset(gpu for one in self.targets.values() for gpu in one.gpus)
        if gpus != self.gpus:
            self.gpus = gpus
            self._measure_anew(now_s)
        self._lead()
        if before is not None and before != self._terms() and self._is_told:
            self._tell("hold.changed", self.hold().reason)

    def drop(self, processes: Iterable[ProcessKey]) -> None:
        """Those do not mine, as it turned out."""
        for process in processes:
            self.targets.pop(process, None)
            self._valid_until_s.pop(process, None)
        if self.targets:
            self._lead()

    def carry_on(self, share: float | None, now_s: float) -> None:
        """Go on where an earlier daemon was: no grace, nothing to learn again."""
        self._share = share
        self._began_s = now_s - max(one.treatment.grace_seconds for one in self.targets.values())
        self.carried_until_s = now_s + CARRIED_S
        self._valid_until_s = dict.fromkeys(self.targets, self.carried_until_s)

    def find_kin(self, candidates: Iterable[tuple[int, int]], now_s: float) -> None:
        """Take in more processes of the same programs."""
        if self._cell is None or self._parts.kin is None:
            return
        known = {pid for pid, _ in self._members}
        pids = [pid for pid, uid in candidates if uid == self.uid and pid not in known]
        found = self._parts.kin.alike(self.likeness, pids)
        if found:
            self._add(self._parts.children(found), now_s)
            self._valid_until_s[self._leader.process] = now_s + LINGER_S

    def step(self, now_s: float) -> float:
        """Do what is due; returns the seconds until there is more."""
        self.drop([one for one, until_s in self._valid_until_s.items() if now_s >= until_s])
        if self.is_over:
            return _IDLE_S
        if not self.acts:
            self._tell_once()
            self.drop([one for one in self.targets if self._parts.age_s(one) is None])
            return _MEMBERS_S
        try:
            due_s = self._act(now_s)
        except HoldFailed as reason:
            return self._failed(str(reason))
        self._problem = ""
        return due_s

    def close(self, why: str) -> None:
        """Let everybody go; nothing of ours is left."""
        cell, self._cell, self._cap = self._cell, None, None
        if cell is None:
            return
        try:
            cell.close()
        except HoldFailed as reason:
            # The dead man and the journal still know of it, and try again.
            self._tell("hold.failed", str(reason))
            return
        self._parts.undoing.drop(self.name)
        if self._is_told:
            self._tell("hold.released", why)

    def hold(self) -> Hold:
        """What clients are shown."""
        leader, cap = self._leader, self._cap
        means = self._cell.means if self._cell is not None else None
        return Hold(
            self.name, self.uid, leader.user, leader.name, *leader.process,
            max(len(self._members), 1), tuple(sorted(self.gpus)),
            leader.treatment.action if not self.targets else self.action,
            leader.treatment.would,
            leader.treatment.cap_percent if not self.targets else self.cap_percent,
            cap.efficiency_percent() if cap is not None else _NOT_ACTING,
            cap.window_s if cap is not None else 0.0,
            self._began_unix_s,
            self._began_unix_s + (self.acts_s - self._began_s if self.targets else 0.0),
            self._problem or leader.treatment.reason,
            means.label if means is not None else "",
            means.is_best_effort if means is not None else False,
            leader.may_release,
        )  # fmt: skip

    def _act(self, now_s: float) -> float:
        cap = self._cap or self._open(now_s)
        self._look_at_members(now_s)
        if now_s < self.acts_s:
            return cap.watch(now_s)
        self._tell_once()
        cap.set_cap(self.cap_percent, now_s)
        if self.action == "terminate" and self._cell is not None:
            self._cell.kill()
            return _IDLE_S
        return cap.hold(now_s) if self.action == "suspend" else cap.step(now_s)

    def _open(self, now_s: float) -> Cap:
        """Make the cell; somebody else knows how to undo it before it is used."""
        cell = self._cell = self._parts.freezer.cell(self.name)
        self._remember()
        meter = self._meter = self._parts.meter_for(self.gpus)
        self._add(self._parts.children(list(self.targets)), now_s)
        cap = self._cap = Cap(cell, meter, self.cap_percent, now_s)
        if self._share is not None:
            cap.know(self._share)
        return cap

    def _measure_anew(self, now_s: float) -> None:
        """Other GPUs, another meter: what was learned of the old ones does not count."""
        if self._cell is None or self._cap is None:
            return
        self._cap.let_go()
        self._meter = self._parts.meter_for(self.gpus)
        self._meter.admit(self._members, whole_life=False)
        self._cap = Cap(self._cell, self._meter, self.cap_percent, now_s)

    def _add(self, processes: Collection[ProcessKey], now_s: float) -> None:
        """Who was started while others were held ran free meanwhile, and that counts."""
        assert self._cell is not None
        if self._meter is not None:
            held_s = now_s - self.acts_s if self._is_told else 0.0
            late = {one for one in processes if self._is_younger(one, held_s)}
            self._meter.admit(late, whole_life=True)
            self._meter.admit(set(processes) - late, whole_life=False)
        self._cell.add(processes)
        self._members = self._cell.members()

    def _look_at_members(self, now_s: float) -> None:
        """Who left the cell comes back; who is dead is forgotten after a while."""
        if now_s - self._looked_s < _MEMBERS_S or self._cell is None:
            return
        self._looked_s = now_s
        before, self._members = self._members, self._cell.members()
        gone = (before | frozenset(self.targets)) - self._members
        alive = [one for one in gone if self._parts.age_s(one) is not None]
        if alive:
            self._add(alive, now_s)
        self._remember()

    def _is_younger(self, process: ProcessKey, seconds: float) -> bool:
        age_s = self._parts.age_s(process)
        return age_s is not None and age_s < seconds

    def _remember(self) -> None:
        assert self._cell is not None
        share = self._cap.share if self._cap is not None else self._share
        resume = {
            "targets": [one.as_json() for one in self.targets.values()],
            "members": sorted(list(one) for one in self._members),
            "share": None if share is None else round(share, 1),
        }
        if resume != self._written:
            self._parts.undoing.hold(self.name, self._cell.trace, resume)
            self._written = resume

    def _terms(self) -> tuple[str, int]:
        return self.action, self.cap_percent

    def _lead(self) -> None:
        """The target that the group is shown by: the one under the hardest terms."""
        self._leader = max(
            self.targets.values(),
            key=lambda one: (ACTIONS.index(one.treatment.action), -one.treatment.cap_percent),
        )

    def _failed(self, reason: str) -> float:
        """Let go of what we cannot hold properly, and try again later."""
        if reason != self._problem:
            self._problem = reason
            self._tell("hold.failed", reason)
        cap, self._cap = self._cap, None
        if cap is not None and self._cell is not None:
            self._share = cap.share
            self.close(reason)
        return _RETRY_S

    def _tell_once(self) -> None:
        if not self._is_told:
            self._is_told = True
            treatment = self._leader.treatment
            only_audit = treatment.would != treatment.action
            self._tell("hold.would" if only_audit else "hold.applied", treatment.reason)

    def _tell(self, word: str, text: str) -> None:
        self._parts.tell(word, self.hold(), text)
