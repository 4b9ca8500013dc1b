"""One user's mining processes that share GPUs, and what is done to them together."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from gpupanel.enforcement.cap import Cap
from gpupanel.enforcement.cell import Cell, Freezer, ProcessKey, Trace
from gpupanel.enforcement.kin import Kin
from gpupanel.enforcement.meter import Meter
from gpupanel.enforcement.roster import Roster
from gpupanel.enforcement.target import Target
from gpupanel.enforcement.trim import Trim
from gpupanel.model.errors import HoldFailed
from gpupanel.model.gpu import GpuId, Unavailable
from gpupanel.model.hold import Hold
from gpupanel.policy.offender import Treatment

CARRIED_S = 30.0
"""After a restart of ours, what an earlier daemon held stays held so long without a verdict."""

_RETRY_S = 2.0
_MEMBERS_S = 1.0
_IDLE_S = 0.5
_NOT_HELD = Unavailable("nothing is held")


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
        acts: Whether anything is done beyond telling.
        roster: Who mines.
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
        self.roster = Roster(first, parts.kin, now_s)
        self.carried_until_s = now_s
        self._parts = parts
        self._began_s, self._began_unix_s = now_s, unix_s
        self._looked_s = now_s
        self._cell: Cell | None = None
        self._meter: Meter | None = None
        self._cap: Cap | None = None
        self._metered: frozenset[GpuId] = frozenset()
        self._members: frozenset[ProcessKey] = frozenset()
        self._arrivals: set[ProcessKey] = set()
        self._admitted: set[ProcessKey] = set()
        self._is_share_noted = False
        self._share: float | None = None
        self._trim = Trim()
        self._written: tuple[Trace, Mapping[str, Any]] | None = None
        self._problem = ""
        self._is_told = False

    @property
    def acts_s(self) -> float:
        """When its period of grace ends, on the monotonic clock."""
        return self._began_s + self.roster.grace_s

    def take(self, targets: Iterable[Target], now_s: float) -> None:
        """Add these, or what is new about them."""
        before = self.roster.action, self.roster.cap_percent
        for target in targets:
            if self.roster.take(target, now_s):
                self._arrivals.add(target.process)
        self._tell_change(before)

    def drop(self, processes: Iterable[ProcessKey]) -> None:
        """Those do not mine, as it turned out; those that still do are held anew."""
        if self.roster.drop(processes) and self.roster:
            self._let_go()

    def ask_again(self, terms: Callable[[Target], Treatment]) -> list[Target]:
        """Put all targets under the terms of now; those that belong elsewhere are returned."""
        before = self.roster.action, self.roster.cap_percent
        elsewhere = []
        for target in self.roster.targets:
            treatment = terms(target)
            if treatment == target.treatment:
                continue
            changed = replace(target, treatment=treatment)
            if changed.acts == self.acts and treatment.would != "observe":
                self.roster.amend(changed)
                continue
            self.drop([target.process])
            if treatment.would != "observe" and self._parts.age_s(target.process) is not None:
                elsewhere.append(changed)
        if self.roster:
            self._tell_change(before)
        return elsewhere

    def carry_on(self, share: float | None, now_s: float) -> None:
        """Go on where an earlier daemon was: no grace, nothing to learn again."""
        self._share = share
        self._began_s = now_s - self.roster.grace_s
        self.carried_until_s = now_s + CARRIED_S
        self.roster.valid_until(self.carried_until_s)

    def told_rate(self, hash_per_s: float) -> None:
        """What one of its processes says of its own rate."""
        if self._is_told and self.roster.action == "throttle":
            self._trim.told_capped(hash_per_s, self.roster.cap_percent)
        elif not self._is_told:
            self._trim.told_uncapped(hash_per_s)

    def find_kin(self, candidates: Iterable[tuple[int, int]], now_s: float) -> None:
        """Take in more processes of the same programs, at the next step."""
        if self._cell is not None:
            known = {pid for pid, _ in self._members}
            pids = [pid for pid, uid in candidates if uid == self.uid and pid not in known]
            self._arrivals |= self.roster.kin(pids, now_s)

    @property
    def has_arrivals(self) -> bool:
        """Somebody waits to be held with the others."""
        return bool(self._arrivals)

    def step(self, now_s: float) -> float:
        """Do what is due; returns the seconds until there is more."""
        if self.roster.drop_old(now_s):
            self._let_go()
        if not self.roster:
            return _IDLE_S
        if not self.acts:
            self._tell_once()
            dead = [one for one in self.roster.processes if self._parts.age_s(one) is None]
            self.roster.drop(dead)
            return _MEMBERS_S
        try:
            due_s = self._act(now_s)
        except HoldFailed as reason:
            return self._failed(str(reason))
        self._problem = ""
        return due_s

    def close(self, why: str) -> bool:
        """Let everybody go and leave nothing; False where that must be tried again."""
        was_held = self._cell is not None
        if not self._let_go():
            return False
        if was_held and self._is_told:
            self._tell("hold.released", why)
        return True

    def hold(self) -> Hold:
        """What clients are shown."""
        roster, cap = self.roster, self._cap
        leader = roster.leader
        means = self._cell.means if self._cell is not None else None
        return Hold(
            self.name, self.uid, leader.user, leader.name, *leader.process,
            max(len(self._members), 1), tuple(sorted(roster.gpus)),
            roster.action, leader.treatment.would, roster.cap_percent,
            cap.efficiency_percent() if cap is not None else _NOT_HELD,
            cap.window_s if cap is not None else 0.0,
            self._began_unix_s, self._began_unix_s + self.acts_s - self._began_s,
            leader.treatment.reason,
            means.label if means is not None else "",
            means.is_best_effort if means is not None else False,
            leader.may_release, self._problem,
        )  # fmt: skip

    def _act(self, now_s: float) -> float:
        cell = self._cell or self._open()
        cap = self._measuring(cell, now_s)
        self._look_at_members(cell, now_s)
        if now_s < self.acts_s:
            return cap.watch(now_s)
        self._tell_once()
        cap.set_cap(self.roster.cap_percent, now_s)
        cap.trim = self._trim.factor
        if cap.share is not None and not self._is_share_noted:
            # Whoever comes after a crash need not learn it again, and holds at once.
            self._remember(cell)
        if self.roster.action == "terminate":
            cell.kill()
            return _IDLE_S
        return cap.hold(now_s) if self.roster.action == "suspend" else cap.step(now_s)

    def _open(self) -> Cell:
        """Make the cell; somebody else knows how to undo it before it is used."""
        self._cell = self._parts.freezer.cell(self.name)
        self._remember(self._cell)
        self._arrivals |= self.roster.processes
        return self._cell

    def _measuring(self, cell: Cell, now_s: float) -> Cap:
        """On the GPUs that they use now; what was learned of others does not count."""
        gpus = self.roster.gpus
        if self._cap is not None and gpus == self._metered:
            return self._cap
        if self._cap is not None:
            self._cap.let_go()
            self._share = None
        self._stop_measuring()
        self._meter = self._parts.meter_for(gpus)
        self._meter.admit(self._members, whole_life=False)
        self._admitted = set(self._members)
        self._cap, self._metered = Cap(cell, self._meter, self.roster.cap_percent, now_s), gpus
        if self._share is not None:
            self._cap.know(self._share)
        return self._cap

    def _look_at_members(self, cell: Cell, now_s: float) -> None:
        """New ones come in, and who left comes back."""
        if self._arrivals or now_s - self._looked_s >= _MEMBERS_S:
            self._looked_s = now_s
            arrivals, self._arrivals = self._parts.children(self._arrivals), set()
            before, self._members = self._members, cell.members()
            wanted = before | self.roster.processes | set(arrivals)
            self._add(cell, wanted - self._members, now_s)
            self._remember(cell)

    def _add(self, cell: Cell, processes: Collection[ProcessKey], now_s: float) -> None:
        """Who was started while others were held ran free meanwhile, and that counts."""
        ages = {one: age_s for one in processes if (age_s := self._parts.age_s(one)) is not None}
        if not ages or self._meter is None:
            return
        held_s = now_s - self.acts_s if self._is_told else 0.0
        fresh = ages.keys() - self._admitted
        late = {one for one in fresh if ages[one] < held_s}
        self._meter.admit(late, whole_life=True)
        self._meter.admit(fresh - late, whole_life=False)
        self._admitted = (self._admitted & self._members) | fresh
        cell.add(ages.keys())
        self._members = cell.members()

    def _let_go(self) -> bool:
        """Of everybody; those who still mine are held again at the next step."""
        cell = self._cell
        if cell is None:
            return True
        try:
            cell.close()
        except HoldFailed as reason:
            self._fault(str(reason))
            return False
        if self._cap is not None:
            self._share = self._cap.share
        self._cell = self._cap = None
        self._stop_measuring()
        self._members, self._written, self._is_share_noted = frozenset(), None, False
        self._parts.undoing.drop(self.name)
        return True

    def _stop_measuring(self) -> None:
        meter, self._meter = self._meter, None
        if meter is not None:
            meter.close()

    def _remember(self, cell: Cell) -> None:
        share = self._cap.share if self._cap is not None else self._share
        resume = {
            "targets": [one.as_json() for one in self.roster.targets],
            "share": None if share is None else round(share, 1),
        }
        note = cell.trace, resume
        self._is_share_noted = share is not None
        if note != self._written:
            self._parts.undoing.hold(self.name, *note)
            self._written = note

    def _failed(self, reason: str) -> float:
        """Let go of what we cannot hold properly, and try again later."""
        self._fault(reason)
        self._let_go()
        return _RETRY_S

    def _fault(self, reason: str) -> None:
        if reason != self._problem:
            self._problem = reason
            self._tell("hold.failed", reason)

    def _tell_once(self) -> None:
        if not self._is_told:
            self._is_told = True
            treatment = self.roster.leader.treatment
            only_audit = treatment.would != treatment.action
            self._tell("hold.would" if only_audit else "hold.applied", treatment.reason)

    def _tell_change(self, before: tuple[str, int]) -> None:
        if self._is_told and before != (self.roster.action, self.roster.cap_percent):
            self._tell("hold.changed", self.roster.leader.treatment.reason)

    def _tell(self, word: str, text: str) -> None:
        self._parts.tell(word, self.hold(), text)
