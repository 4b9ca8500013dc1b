"""All holds together, on the made-up machine: who is held with whom, and that all are let go."""

from __future__ import annotations

import threading
from collections.abc import Collection
from dataclasses import dataclass, field

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gpupanel.enforcement.cell import Cell, ProcessKey
from gpupanel.enforcement.enforcer import Enforcer, Plan
from gpupanel.enforcement.group import CARRIED_S, Parts
from gpupanel.enforcement.roster import LINGER_S
from gpupanel.enforcement.target import Target, offender_from_json, target_from_json
from gpupanel.model.errors import HoldFailed
from gpupanel.model.hold import Hold
from gpupanel.policy.offender import Offender, Treatment
from tests.enforcement.worlds import ModelCell, ModelMeter, ModelUndoing, World


@dataclass
class Stage:
    """One machine with one enforcer, whose thread is the test's."""

    world: World = field(default_factory=lambda: World(batch_s=0.05))
    alive: dict[ProcessKey, float] = field(default_factory=dict)
    undoing: ModelUndoing = field(default_factory=ModelUndoing)
    cells: list[ModelCell] = field(default_factory=list)
    meters: list[ModelMeter] = field(default_factory=list)
    told: list[tuple[str, str]] = field(default_factory=list)
    refuses: str = ""
    other_terms: Treatment | None = None

    def __post_init__(self) -> None:
        self.enforcer = self.make()

    def make(self) -> Enforcer:
        parts = Parts(
            freezer=self, meter_for=self.meter_for, children=set, age_s=self.age_s,
            undoing=self.undoing, kin=None, tell=self.tell,
        )  # fmt: skip
        return Enforcer(parts, lambda: None, lambda: self.world.now_s, lambda: self.world.now_s)

    def cell(self, name: str) -> Cell:
        if self.refuses:
            raise HoldFailed(self.refuses)
        self.cells.append(ModelCell(self.world, self.alive, name))
        return self.cells[-1]

    def meter_for(self, gpus: Collection[str]) -> ModelMeter:
        self.meters.append(ModelMeter(self.world))
        return self.meters[-1]

    def age_s(self, process: ProcessKey) -> float | None:
        born_s = self.alive.get(process)
        return None if born_s is None else self.world.now_s - born_s

    def tell(self, word: str, hold: Hold, text: str) -> None:
        self.told.append((word, text))

    def target(
        self, pid: int, percent: int = 25, action: str = "throttle", grace: int = 0,
        gpus: str = "a", uid: int = 1000,
    ) -> Target:  # fmt: skip
        self.alive.setdefault((pid, 7), self.world.now_s)
        treatment = Treatment(action, percent, grace, f"because {percent}", action)
        offender = Offender("5" * 64, None, tuple((one,) for one in gpus))
        return Target((pid, 7), uid, "ann", "miner", frozenset(gpus), offender, treatment)

    def judge(self, *targets: Target, cleared: Collection[ProcessKey] = ()) -> None:
        self.enforcer.plan(Plan(targets, cleared, self.terms))

    def terms(self, target: Target) -> Treatment:
        """What policy says of somebody of whom there is no new verdict."""
        return self.other_terms or target.treatment

    def run_s(self, seconds: float) -> None:
        until_s = self.world.now_s + seconds
        while self.world.now_s < until_s:
            self.world.pass_s(max(0.001, min(0.5, self.enforcer.turn())))

    def living_cells(self) -> list[ModelCell]:
        return [cell for cell in self.cells if not cell.closed]


def test_a_verdict_is_a_cap_after_its_grace() -> None:
    stage = Stage()
    stage.judge(stage.target(10, percent=25, grace=10))
    stage.run_s(9.5)
    (cell,) = stage.living_cells()
    assert cell.members() == {(10, 7)}
    assert cell.freezes == 0
    assert stage.told == []
    stage.run_s(60)
    assert cell.freezes > 10
    assert stage.told == [("hold.applied", "because 25")]
    (hold,) = stage.enforcer.holds()
    assert hold.efficiency_percent == pytest.approx(25, abs=4)
    assert (hold.action, hold.cap_percent, hold.reason) == ("throttle", 25, "because 25")


def test_processes_of_one_user_on_one_gpu_share_one_budget_and_others_do_not() -> None:
    stage = Stage()
    stage.judge(
        stage.target(10), stage.target(11), stage.target(12, uid=1001), stage.target(13, gpus="b")
    )
    stage.run_s(1)
    assert sorted(sorted(cell.members()) for cell in stage.living_cells()) == [
        [(10, 7), (11, 7)], [(12, 7)], [(13, 7)],
    ]  # fmt: skip


def test_who_uses_both_gpus_joins_the_budgets_of_both() -> None:
    stage = Stage()
    stage.judge(stage.target(10), stage.target(11, gpus="b"))
    stage.run_s(1)
    stage.judge(stage.target(10), stage.target(11, gpus="b"), stage.target(12, gpus="ab"))
    stage.run_s(1)
    (cell,) = stage.living_cells()
    assert cell.members() == {(10, 7), (11, 7), (12, 7)}
    (hold,) = stage.enforcer.holds()
    assert hold.gpus == ("a", "b")


def test_the_lowest_cap_of_a_budget_counts() -> None:
    stage = Stage()
    stage.judge(stage.target(10, percent=50), stage.target(11, percent=10))
    stage.run_s(1)
    assert [one.cap_percent for one in stage.enforcer.holds()] == [10]
    stage.judge(stage.target(10, percent=50), cleared=[(11, 7)])
    stage.run_s(1)
    assert [one.cap_percent for one in stage.enforcer.holds()] == [50]


@pytest.mark.parametrize("why", ["cleared", "released", "allowed"])
def test_who_does_not_mine_after_all_is_let_go(why: str) -> None:
    stage = Stage()
    stage.judge(stage.target(10))
    stage.run_s(30)
    if why == "cleared":
        stage.judge(cleared=[(10, 7)])
    elif why == "released":
        stage.enforcer._released.append((frozenset({(10, 7)}), threading.Event()))
    else:
        stage.judge(stage.target(10, action="observe"))
    stage.run_s(0.1)
    assert stage.living_cells() == []
    assert stage.world.is_running
    assert stage.undoing.known == {}
    assert "hold.released" in [word for word, _ in stage.told]


def test_nothing_is_frozen_that_nobody_else_could_let_go() -> None:
    stage = Stage()

    def refuse(name: str, trace: object, resume: object) -> None:
        raise HoldFailed("the disk is full")

    stage.undoing.hold = refuse  # type: ignore[method-assign]
    stage.judge(stage.target(10))
    stage.run_s(30)
    assert all(cell.freezes == 0 for cell in stage.cells)
    assert ("hold.failed", "the disk is full") in stage.told
    assert [one.problem for one in stage.enforcer.holds()] == ["the disk is full"]


def test_a_machine_that_cannot_hold_says_so_once_and_tries_again() -> None:
    stage = Stage(refuses="there is no cgroup")
    stage.judge(stage.target(10))
    stage.run_s(20)
    assert stage.told == [("hold.failed", "there is no cgroup")]
    stage.refuses = ""
    stage.run_s(20)
    assert [cell.freezes > 0 for cell in stage.living_cells()] == [True]


def test_whom_the_kernel_does_not_let_go_is_let_go_later() -> None:
    stage = Stage()
    stage.judge(stage.target(10, action="suspend"))
    stage.run_s(10)
    stage.world.sticks = True
    stage.judge(cleared=[(10, 7)])
    stage.run_s(5)
    assert [cell.frozen for cell in stage.cells] == [True]
    assert stage.undoing.known
    assert ("hold.failed", "the kernel does not let go") in stage.told
    stage.world.sticks = False
    stage.run_s(1)
    assert [cell.frozen for cell in stage.cells] == [False]


def test_a_dead_miner_leaves_its_group_for_a_while_and_then_nothing() -> None:
    stage = Stage()
    stage.judge(stage.target(10))
    stage.run_s(10)
    stage.alive.clear()
    stage.cells[0].inside.clear()
    stage.run_s(LINGER_S - 20)
    assert stage.living_cells()
    stage.run_s(40)
    assert stage.living_cells() == []
    assert stage.enforcer.holds() == ()


def test_who_leaves_the_cell_is_put_back() -> None:
    stage = Stage()
    stage.judge(stage.target(10))
    stage.run_s(5)
    stage.cells[0].inside.clear()
    stage.run_s(2)
    assert stage.cells[0].members() == {(10, 7)}


def test_who_came_while_others_were_held_pays_for_its_whole_life() -> None:
    stage = Stage()
    stage.judge(stage.target(10))
    stage.run_s(10)
    stage.judge(stage.target(10), stage.target(11))
    stage.run_s(1)
    assert (frozenset({(11, 7)}), True) in stage.meters[-1].admitted
    assert (frozenset({(10, 7)}), False) in stage.meters[-1].admitted


def test_an_audit_tells_and_does_nothing() -> None:
    stage = Stage()
    treatment = Treatment("observe", 100, 0, "audit only", "throttle")
    target = Target(
        (10, 7), 1000, "ann", "miner", frozenset("a"), Offender(None, None, ()), treatment
    )
    stage.alive[10, 7] = 0
    stage.judge(target)
    stage.run_s(30)
    assert stage.cells == []
    assert stage.told == [("hold.would", "audit only")]


def test_what_was_learned_is_noted_before_the_first_freeze() -> None:
    stage = Stage()
    stage.judge(stage.target(10))
    while not (stage.cells and stage.cells[0].freezes):
        stage.run_s(0.02)
    (resume,) = stage.undoing.known.values()
    assert resume["share"] == 1.0


def test_a_later_daemon_goes_on_at_once_and_needs_no_verdict_for_a_while() -> None:
    stage = Stage()
    stage.judge(stage.target(10, grace=5))
    stage.run_s(30)
    (resume,) = stage.undoing.known.values()
    stage.world.is_running = True  # the dead man did it
    stage.enforcer = stage.make()
    (document,) = resume["targets"]
    terms = stage.target(10, grace=5).treatment
    target = target_from_json(document, offender_from_json(document), terms)
    assert target == stage.target(10, grace=5)
    stage.enforcer.carry_on([target], resume["share"])
    stage.judge(cleared=[(10, 7)])  # a detector that has seen too little yet
    stage.run_s(3)
    assert stage.cells[-1].freezes > 0
    stage.run_s(CARRIED_S)
    stage.judge(cleared=[(10, 7)])
    stage.run_s(1)
    assert stage.cells[-1].closed


def test_policy_counts_for_the_dead_too_whose_kin_are_held() -> None:
    stage = Stage()
    stage.judge(stage.target(10, percent=25))
    stage.run_s(10)
    del stage.alive[10, 7]
    stage.other_terms = Treatment("throttle", 60, 0, "because 60", "throttle")
    stage.judge()
    stage.run_s(1)
    assert [one.cap_percent for one in stage.enforcer.holds()] == [60]
    assert stage.told[-1] == ("hold.changed", "because 60")
    stage.other_terms = Treatment("observe", 100, 0, "allowed", "observe")
    stage.judge()
    stage.run_s(1)
    assert stage.living_cells() == []
    assert stage.enforcer.holds() == ()


def test_an_audit_instead_of_a_cap_goes_on_telling() -> None:
    stage = Stage()
    stage.judge(stage.target(10))
    stage.run_s(10)
    stage.other_terms = Treatment("observe", 100, 0, "audit only", "throttle")
    stage.judge()
    stage.run_s(2)
    assert stage.living_cells() == []
    assert stage.told[-1] == ("hold.would", "audit only")


def test_the_thread_lets_everybody_go_when_it_ends() -> None:
    stage = Stage()
    parts = stage.enforcer._parts
    enforcer = Enforcer(parts, lambda: None)
    enforcer.start()
    enforcer.plan(Plan([stage.target(10, action="suspend")], (), stage.terms))
    enforcer.release([(99, 1)])  # a turn that ended after the plan was taken
    enforcer.stop()
    assert all(cell.closed and not cell.frozen for cell in stage.cells)
    assert stage.undoing.known == {}


class AnySequence(RuleBasedStateMachine):
    """Verdicts, policy, deaths, faults, crashes and restarts in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.stage = Stage(World(batch_s=0.1))
        self.next_pid = 1
        self.mining: dict[int, Target] = {}
        self.innocent: set[ProcessKey] = set()

    @rule(
        percent=st.integers(1, 99), grace=st.sampled_from([0, 3]), uid=st.sampled_from([1, 2]),
        action=st.sampled_from(["observe", "notify", "throttle", "suspend", "terminate"]),
        gpus=st.sampled_from(["a", "b", "ab"]),
    )  # fmt: skip
    def a_miner_comes(self, percent: int, grace: int, uid: int, action: str, gpus: str) -> None:
        target = self.stage.target(self.next_pid, percent, action, grace, gpus, uid)
        self.mining[self.next_pid] = target
        self.next_pid += 1

    @precondition(lambda self: self.mining)
    @rule(dies=st.booleans())
    def a_miner_goes(self, dies: bool) -> None:
        pid = max(self.mining)
        target = self.mining.pop(pid)
        if dies:
            self.stage.alive.pop(target.process, None)
            for cell in self.stage.cells:
                cell.inside.discard(target.process)
        else:
            self.innocent.add(target.process)

    @rule()
    def detection_has_a_turn(self) -> None:
        self.stage.judge(*self.mining.values(), cleared=self.innocent)

    @rule(seconds=st.floats(0.05, 8))
    def time_passes(self, seconds: float) -> None:
        self.stage.run_s(seconds)

    @rule()
    def the_system_refuses(self) -> None:
        self.stage.refuses = "" if self.stage.refuses else "no"

    @rule()
    def the_kernel_does_not_let_go(self) -> None:
        self.stage.world.sticks = not self.stage.world.sticks

    @rule()
    def the_daemon_dies_and_another_comes(self) -> None:
        """The dead man knows what ``undoing`` knows, and no more."""
        for cell in self.stage.living_cells():
            if cell.name in self.stage.undoing.known:
                cell.undo()
        assert not any(cell.frozen for cell in self.stage.cells)
        known, self.stage.undoing.known = self.stage.undoing.known, {}
        self.stage.enforcer = self.stage.make()
        for resume in known.values():
            targets = [
                self.mining[one["process"][0]]
                for one in resume["targets"]
                if one["process"][0] in self.mining
            ]
            if targets:
                self.stage.enforcer.carry_on(targets, resume["share"])

    @invariant()
    def whoever_is_frozen_can_be_let_go_by_somebody_else(self) -> None:
        for cell in self.stage.cells:
            assert not cell.frozen or cell.name in self.stage.undoing.known

    def teardown(self) -> None:
        self.stage.world.sticks = False
        self.innocent |= {target.process for target in self.mining.values()}
        for seconds in (CARRIED_S + 1, 1):
            self.stage.judge(cleared=self.innocent)
            self.stage.run_s(seconds)
        assert not any(cell.frozen for cell in self.stage.cells if cell.members())
        self.stage.run_s(LINGER_S)
        assert not any(cell.frozen for cell in self.stage.cells)


TestAnySequence = AnySequence.TestCase
TestAnySequence.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)
