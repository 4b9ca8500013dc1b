from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import pytest

from gpupanel.detection.detector import Detector
from gpupanel.detection.own import OwnLoads
from gpupanel.detection.reading.facts import ProcessFacts, Program
from gpupanel.detection.reading.uses import use_of
from gpupanel.detection.signatures import Signatures, built_in
from gpupanel.model.gpu import ProcessKind, ProcessSample, Unavailable
from gpupanel.model.verdict import Standing
from tests.detection.harness import miners

IDLE = ProcessSample("GPU-1", 2, 1, "x", "mara", ProcessKind.COMPUTE, 0.0, 0.0)
UNTOLD = replace(IDLE, utilization_percent=Unavailable("the driver does not count it"))
MINER = next(iter(miners())).facts


@dataclass
class Reader:
    """Counts what it is asked."""

    facts: ProcessFacts | None = MINER
    known: Signatures = field(default_factory=built_in)
    asked: list[int] = field(default_factory=list)
    cost_s: float = 0.0
    now_s: float = 0.0

    def begin_look(self, now_s: float, pids: Sequence[int]) -> None:
        del now_s, pids

    def read(self, pid: int, started: int) -> ProcessFacts | None:
        self.asked.append(pid)
        self.now_s += self.cost_s
        return replace(self.facts, pid=pid, started=started) if self.facts else None

    def glance(self, pid: int, started: int) -> ProcessFacts | None:
        return replace(self.facts, pid=pid, started=started) if self.facts else None

    def read_on(self, is_over: Callable[[], bool]) -> None:
        del is_over

    def has_foreign_code(self, pid: int) -> bool:
        del pid
        return False

    def environment(self, pid: int) -> Mapping[str, str] | None:
        del pid
        return None

    def parent(self, pid: int) -> tuple[int, int] | None:
        del pid
        return None


def detector(reader: Reader) -> Detector:
    own = OwnLoads(1, reader.parent, reader.environment)
    return Detector(reader, built_in(), own, clock_s=lambda: reader.now_s)


def test_who_never_worked_on_a_gpu_is_not_looked_into() -> None:
    reader = Reader()
    looked = detector(reader)
    assert looked.look([IDLE], {}, 1.0, 1.0) == {}
    assert reader.asked == []
    busy = replace(IDLE, utilization_percent=2.0)
    assert set(looked.look([busy], {}, 2.0, 2.0)) == {(2, 1)}
    assert set(looked.look([IDLE], {}, 3.0, 3.0)) == {(2, 1)}


def test_where_the_driver_does_not_count_a_context_that_computes_is_enough() -> None:
    assert detector(Reader()).look([UNTOLD], {}, 1.0, 1.0)
    draws = replace(UNTOLD, kind=ProcessKind.GRAPHICS)
    assert detector(Reader()).look([draws], {}, 1.0, 1.0) == {}


def test_the_quiet_are_read_seldom_and_the_suspected_each_time() -> None:
    calm, wild = Reader(ProcessFacts(1, 1, "x")), Reader()
    busy = replace(IDLE, utilization_percent=50.0)
    for reader in (calm, wild):
        looked = detector(reader)
        for now_s in range(0, 300, 3):
            looked.look([busy], {}, float(now_s), float(now_s))
    assert len(wild.asked) == 100
    assert len(calm.asked) < 40


def test_a_look_that_takes_too_long_goes_on_at_the_next() -> None:
    reader = Reader(cost_s=0.002)
    crowd = [replace(IDLE, pid=pid, utilization_percent=5.0 + pid) for pid in range(2, 12)]
    looked = detector(reader)
    first = looked.look(crowd, {}, 1.0, 1.0)
    assert len(first) == len(reader.asked) == 2
    assert set(reader.asked) == {10, 11}  # the busiest
    for now_s in range(2, 7):
        last = looked.look(crowd, {}, float(now_s), float(now_s))
    assert len(last) == 10


def test_what_cannot_be_read_any_more_keeps_its_facts() -> None:
    reader = Reader()
    looked = detector(reader)
    busy = replace(IDLE, utilization_percent=50.0)
    looked.look([busy], {}, 1.0, 1.0)
    reader.facts = None
    (verdict,) = looked.look([busy], {}, 4.0, 4.0).values()
    assert verdict.standing is Standing.MINING


def test_an_objection_excuses_the_program_while_policy_lets_users_object() -> None:
    program = Program("/home/mara/x", "ab" * 32)
    reader = Reader(replace(MINER, program=program, uid=1000))
    looked = detector(reader)
    busy = replace(IDLE, utilization_percent=50.0)
    (strict,) = looked.look([busy], {}, 1.0, 1.0).values()
    assert not strict.may_object
    looked.may_object = lambda uid: uid == 1000
    (mine,) = looked.look([busy], {}, 4.0, 4.0).values()
    assert mine.may_object
    looked.excused = {(1000, "ab" * 32)}
    (excused,) = looked.look([busy], {}, 7.0, 7.0).values()
    assert excused.standing is Standing.EXCUSED
    assert excused.posterior > 0.99
    looked.excused = ()
    (again,) = looked.look([busy], {}, 10.0, 10.0).values()
    assert again.standing is Standing.MINING


@pytest.mark.parametrize("changed", [{"uid": 0}, {"program": Program("/x")}])
def test_another_users_program_and_an_unread_one_cannot_be_excused(changed: object) -> None:
    program = Program("/home/mara/x", "ab" * 32)
    facts = replace(MINER, program=program, uid=1000)
    looked = detector(Reader(replace(facts, **changed)))  # type: ignore[arg-type]
    looked.may_object = lambda uid: uid == 1000
    (verdict,) = looked.look([replace(IDLE, utilization_percent=50.0)], {}, 1.0, 1.0).values()
    assert not verdict.may_object


def test_since_when_stands_until_the_standing_changes() -> None:
    reader = Reader(ProcessFacts(1, 1, "x"))
    looked = detector(reader)
    busy = replace(IDLE, utilization_percent=50.0)
    since = [
        looked.look([busy], {}, now_s, 1000 + now_s)[2, 1].since_unix_s for now_s in (1.0, 4.0)
    ]
    reader.facts = MINER
    since.append(looked.look([busy], {}, 7.0, 1007.0)[2, 1].since_unix_s)
    assert since == [1001.0, 1001.0, 1007.0]


def test_use_of_several_gpus_is_that_of_the_busiest() -> None:
    one = replace(IDLE, utilization_percent=20.0, memory_used_bytes=5.0, engines={"sm": 20.0})
    other = replace(one, gpu_id="GPU-2", utilization_percent=70.0, engines={"sm": 70.0, "enc": 3.0})
    use = use_of([one, other], {"GPU-2": 9.0}, 1.0)
    assert (use.utilization_percent, use.memory_bytes, use.bus_bytes_per_s) == (70.0, 10.0, 9.0)
    assert (use.graphics_percent, use.codec_percent) == (0.0, 3.0)
    drawing = replace(other, kind=ProcessKind.BOTH)
    assert use_of([drawing], {}, 1.0).graphics_percent == 70.0
    amd = replace(other, engines={"gfx": 4.0, "dec": 2.0}, kind=ProcessKind.GRAPHICS)
    assert use_of([amd], {}, 1.0).graphics_percent == 4.0
