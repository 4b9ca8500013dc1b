"""All holds of this machine, on one thread: plans in, held processes out.

Verdicts come from other threads and wait for their turn. When this thread ends, for whatever
reason, everybody is let go: by itself, or by the dead man who hears no beat any more.
"""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

from gpupanel.enforcement.cell import ProcessKey
from gpupanel.enforcement.group import Group, Parts
from gpupanel.enforcement.target import Target
from gpupanel.model.hold import Hold
from gpupanel.policy.offender import Treatment

KIN_S = 0.25
"""Between two looks for more processes of programs that are held."""

LONGEST_WAIT_S = 0.5
"""Between two beats: of the dead man, and of who watches this thread."""

_SHOWN_S = 1.0
_RELEASE_S = 2.0

_NOT_MINING = "it does not mine"
_OTHER_TERMS = "policy wants something else now"
_STOPPED = "gpupanel stopped"
_MERGED = "its processes are held together with others of the same user"


@dataclass(frozen=True, slots=True)
class Plan:
    """What one round of detection came to.

    Attributes:
        targets: All that mine.
        cleared: All that were judged and do not.
        terms: What policy says now about any target, also one that ended or has no new verdict.
    """

    targets: Sequence[Target]
    cleared: Collection[ProcessKey]
    terms: Callable[[Target], Treatment]


class Enforcer:
    """``plan``, ``release``, ``holds`` and ``stop`` may be called from any thread."""

    def __init__(
        self,
        parts: Parts,
        beat: Callable[[], None],
        clock_s: Callable[[], float] = time.monotonic,
        unix_s: Callable[[], float] = time.time,
        prefix: str = "hold",
    ) -> None:
        """Hold nobody yet.

        Args:
            parts: What groups are built from.
            beat: Called at least twice a second while all is well.
            prefix: Of the names of cells.
            clock_s: Monotonic.
            unix_s: The wall clock.
        """
        self._parts = parts
        self._beat = beat
        self._clock_s = clock_s
        self._unix_s = unix_s
        self._prefix = prefix
        self._groups: dict[str, Group] = {}
        self._due_s: dict[str, float] = {}
        self._numbers = itertools.count(1)
        self._holds: tuple[Hold, ...] = ()
        self._shown_at_s = self._kin_at_s = 0.0
        self._turn = threading.Condition()
        self._plan: Plan | None = None
        self._released: list[tuple[frozenset[ProcessKey], threading.Event]] = []
        self._told_rates: dict[ProcessKey, float] = {}
        self._stopped = False

    def start(self) -> None:
        """Begin to hold."""
        self._thread = threading.Thread(target=self._run, name="enforcement")
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """Whether it still takes its turns; when it does not, nobody is held."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """Let everybody go; returns when that is done."""
        with self._turn:
            self._stopped = True
            self._turn.notify_all()
        self._thread.join()

    def plan(self, plan: Plan) -> None:
        """Take the newest verdicts; those before that had no turn yet are forgotten."""
        with self._turn:
            self._plan = plan
            self._turn.notify_all()

    def release(self, processes: Iterable[ProcessKey]) -> bool:
        """Let these go now; whether it was done in time."""
        done = threading.Event()
        with self._turn:
            self._released.append((frozenset(processes), done))
            self._turn.notify_all()
        return done.wait(_RELEASE_S)

    def told_rate(self, process: ProcessKey, hash_per_s: float) -> None:
        """What a process that is held says of its own rate; takes its turn like all else."""
        with self._turn:
            self._told_rates[process] = hash_per_s

    def holds(self) -> tuple[Hold, ...]:
        """What is done, as of a second ago at most."""
        return self._holds

    def carry_on(self, targets: Sequence[Target], share: float | None) -> None:
        """Hold again what an earlier daemon held; before ``start``."""
        now_s = self._clock_s()
        self._take(targets, now_s)
        for group in {self._group_of(one) for one in targets} - {None}:
            if group is not None:
                group.carry_on(share, now_s)

    def turn(self) -> float:
        """Do all that is due; returns the seconds until there is more. The thread's own."""
        now_s = self._clock_s()
        self._take_orders(now_s)
        self._find_kin(now_s)
        for name, group in list(self._groups.items()):
            if now_s >= self._due_s.get(name, 0.0):
                self._due_s[name] = now_s + group.step(now_s)
            if not group.roster:
                self._close(name, _NOT_MINING)
        if now_s >= self._shown_at_s:
            self._show(now_s)
        self._beat()
        return max(0.0, min(self._due_s.values(), default=now_s + LONGEST_WAIT_S) - self._clock_s())

    def _run(self) -> None:
        try:
            while self._wait(self.turn()):
                pass
        finally:
            for name in list(self._groups):
                self._close(name, _STOPPED)

    def _wait(self, due_in_s: float) -> bool:
        """Until something is due or ordered; False when it is time to end."""
        with self._turn:
            if not (self._stopped or self._plan or self._released):
                self._turn.wait(min(due_in_s, LONGEST_WAIT_S))
            return not self._stopped

    def _take_orders(self, now_s: float) -> None:
        with self._turn:
            plan, self._plan = self._plan, None
            released, self._released = self._released, []
            rates, self._told_rates = self._told_rates, {}
        for process, hash_per_s in rates.items():
            for group in self._groups.values():
                if process in group.roster:
                    group.told_rate(hash_per_s)
        for processes, done in released:
            self._clear(processes, now_s, even_carried=True)
            done.set()
        if plan is not None:
            self._clear(plan.cleared, now_s)
            self._ask_again(plan.terms, now_s)
            self._take(plan.targets, now_s)
        if plan is not None or released:
            self._show(now_s)

    def _clear(
        self, processes: Collection[ProcessKey], now_s: float, even_carried: bool = False
    ) -> None:
        for name, group in list(self._groups.items()):
            if even_carried or now_s >= group.carried_until_s:
                group.drop(processes)
            if not group.roster:
                self._close(name, _NOT_MINING)

    def _ask_again(self, terms: Callable[[Target], Treatment], now_s: float) -> None:
        """Policy may have changed for those too of whom there is no new verdict."""
        for group in list(self._groups.values()):
            if changed := group.ask_again(terms):
                self._take(changed, now_s)
            if not group.roster:
                self._close(group.name, _OTHER_TERMS)

    def _take(self, targets: Sequence[Target], now_s: float) -> None:
        for target in targets:
            self._part_from_others(target)
            fitting = [group for group in self._groups.values() if _fits(group, target)]
            if fitting:
                first, *others = fitting
                self._merge(first, others, now_s)
                first.take([target], now_s)
            else:
                name = f"{self._prefix}-{os.getpid()}-{next(self._numbers)}"
                group = Group(name, self._parts, target, now_s, self._unix_s())
                self._groups[name] = group
            self._due_s.clear()

    def _part_from_others(self, target: Target) -> None:
        """Policy may want something else of it now, or it uses other GPUs."""
        for name, group in list(self._groups.items()):
            if target.process in group.roster and not _fits(group, target):
                group.drop([target.process])
                if not group.roster:
                    self._close(name, target.treatment.reason)

    def _merge(self, first: Group, others: Sequence[Group], now_s: float) -> None:
        """One user has one budget a GPU, in however many processes."""
        for other in others:
            targets = other.roster.targets
            other.roster.drop(other.roster.processes)
            self._close(other.name, _MERGED)
            first.take(targets, now_s)

    def _group_of(self, target: Target) -> Group | None:
        return next((one for one in self._groups.values() if target.process in one.roster), None)

    def _find_kin(self, now_s: float) -> None:
        kin = self._parts.kin
        acting = [group for group in self._groups.values() if group.acts]
        if kin is None or not acting or now_s < self._kin_at_s:
            return
        self._kin_at_s = now_s + KIN_S
        candidates = kin.candidates({group.uid for group in acting}, now_s)
        for group in acting:
            group.find_kin(candidates, now_s)
            if group.has_arrivals:
                self._due_s.pop(group.name, None)

    def _close(self, name: str, why: str) -> None:
        """Where somebody cannot be let go, it is tried again at each turn."""
        if self._groups[name].close(why):
            del self._groups[name]
            self._due_s.pop(name, None)

    def _show(self, now_s: float) -> None:
        self._shown_at_s = now_s + _SHOWN_S
        self._holds = tuple(group.hold() for group in self._groups.values())


def _fits(group: Group, target: Target) -> bool:
    return (
        group.uid == target.uid
        and group.acts == target.acts
        and not group.roster.gpus.isdisjoint(target.gpus)
    )
