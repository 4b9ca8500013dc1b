"""The record of who mined: what is written, how much at most, and that a replay reads it."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpupanel.detection.detector import Key
from gpupanel.detection.reading.facts import ProcessFacts, Program
from gpupanel.model.gpu import ProcessKind, ProcessSample, Unavailable
from gpupanel.model.verdict import ProcessClass, Standing, Verdict
from gpupanel.policy.replay import Recorded, read_verdicts
from gpupanel.service.mining import verdict_log
from gpupanel.service.mining.verdict_log import LONGEST_S, VerdictLog

MINER = ProcessSample("GPU-1", 42, 7, "t-rex", "mara", ProcessKind.COMPUTE, 9.0, 98.0)
GAME = replace(MINER, pid=43, name="game")
FACTS = ProcessFacts(42, 7, "t-rex", Program("/home/mara/t-rex", "ab" * 32))
MINES = Verdict(ProcessClass.MINING, Standing.MINING, 0.9999, 0.0, ())
PLAYS = Verdict(ProcessClass.GAMING, Standing.CLEAR, 0.0, 0.0, ())


@dataclass
class Bench:
    """A record on a clock of its own."""

    folder: Path
    now_s: float = 1.7e9
    facts: ProcessFacts = FACTS
    log: VerdictLog = field(init=False)

    def __post_init__(self) -> None:
        def names(gpu_id: str) -> tuple[str, ...]:
            return gpu_id, "0000:01:00.0"

        self.log = VerdictLog(self.files, names, lambda: self.now_s)

    @property
    def files(self) -> tuple[Path, Path]:
        return self.folder / "state/v.1.jsonl", self.folder / "state/v.jsonl"

    def look(
        self, samples: Sequence[ProcessSample] = (MINER,), after_s: float = 3.0,
        verdict: Verdict = MINES,
    ) -> None:  # fmt: skip
        self.now_s += after_s
        verdicts: dict[Key, Verdict] = {(42, 7): verdict, (43, 7): PLAYS}
        self.log.judged(samples, verdicts, lambda key: self.facts if key == (42, 7) else None)

    def written(self) -> list[Recorded]:
        return [
            one
            for path in self.files
            if path.exists()
            for one in read_verdicts(path.read_bytes().splitlines(), str(path))
        ]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_a_minute_of_a_miner_is_one_line_that_a_replay_reads(bench: Bench) -> None:
    for _ in range(21):
        bench.look()
    (record,) = bench.written()
    assert record == Recorded(
        1.7e9 + 3, LONGEST_S, 42, "/home/mara/t-rex", "ab" * 32, False,
        (("GPU-1", "0000:01:00.0"),), 0.98 * LONGEST_S, False,
    )  # fmt: skip
    assert bench.files[1].stat().st_mode & 0o777 == 0o600


def test_what_changes_and_what_ends_is_written_at_once(bench: Bench) -> None:
    for _ in range(3):
        bench.look()
    bench.look([MINER, GAME])  # a game came beside it
    assert [one.beside_guest for one in bench.written()] == [False]
    bench.look([MINER, GAME])
    bench.look([GAME])
    assert [(one.beside_guest, one.interval_s) for one in bench.written()] == [
        (False, 9.0), (True, 3.0),
    ]  # fmt: skip


@pytest.mark.parametrize("standing", [one for one in Standing if one is not Standing.MINING])
def test_who_is_not_certain_to_mine_and_our_own_load_are_not_in_it(
    bench: Bench, standing: Standing
) -> None:
    for _ in range(30):
        bench.look(verdict=replace(MINES, standing=standing))
    bench.log.close()
    assert not bench.files[1].exists()


def test_time_that_nobody_counted_is_not_made_up(bench: Bench) -> None:
    bench.look([replace(MINER, utilization_percent=Unavailable("not counted"))])
    bench.look()
    bench.look(after_s=8000.0)  # the machine slept
    bench.look()
    bench.log.close()
    assert [one.interval_s for one in bench.written()] == [3.0]


def test_several_gpus_are_one_process(bench: Bench) -> None:
    both = [MINER, replace(MINER, gpu_id="GPU-2", utilization_percent=50.0)]
    for _ in range(3):
        bench.look(both)
    bench.log.close()
    (record,) = bench.written()
    assert len(record.gpus) == 2
    assert record.gpu_seconds == pytest.approx(6 * 1.48)


def test_an_interpreters_path_excuses_no_script(bench: Bench) -> None:
    program = Program("/usr/bin/python3", "cd" * 32, is_trusted=True)
    bench.facts = replace(FACTS, program=program, script=Program("m.py", "ab" * 32))
    for _ in range(2):
        bench.look()
    bench.log.close()
    (record,) = bench.written()
    assert (record.trusted, record.sha256) == (False, "ab" * 32)


def test_two_files_of_bounded_size(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verdict_log, "MOST_BYTES", 2000)
    for look in range(200):
        bench.facts = replace(FACTS, program=Program(f"/home/mara/{look // 2}"))
        bench.look()
        sizes = [path.stat().st_size for path in bench.files if path.exists()]
        assert sum(sizes) <= 2 * 2000 + 400
    assert {path.name for path in bench.files[0].parent.iterdir()} <= {"v.1.jsonl", "v.jsonl"}
    assert len(bench.written()) > 5
    times = [one.time_unix_s for one in bench.written()]
    assert times == sorted(times)


def test_what_cannot_be_written_is_told_and_forgiven(bench: Bench) -> None:
    bench.folder.joinpath("state").write_text("in the way")
    for _ in range(2):
        bench.look()
    bench.look([])
    assert "cannot be written" in bench.log.problem
    bench.folder.joinpath("state").unlink()
    for _ in range(2):
        bench.look()
    bench.look([])
    assert bench.log.problem == ""
    assert len(bench.written()) == 1


def test_half_a_line_is_taken_back(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = os.write
    for _ in range(2):
        bench.look()
    monkeypatch.setattr(os, "write", lambda fd, line: whole(fd, line[:9]))
    bench.look([])
    assert "No space left" in bench.log.problem
    monkeypatch.undo()
    for _ in range(2):
        bench.look()
    bench.look([])
    assert len(bench.written()) == 1


def test_a_link_in_the_files_place_is_not_followed(bench: Bench) -> None:
    victim = bench.folder / "victim"
    victim.write_text("mine")
    bench.files[1].parent.mkdir()
    bench.files[1].symlink_to(victim)
    for _ in range(2):
        bench.look()
    bench.log.close()
    assert victim.read_text() == "mine"
    assert bench.log.problem


@given(st.text(max_size=2000) | st.just("\U0001f600" * 1100), st.floats(0, 200, allow_nan=False))
def test_any_name_and_any_use_can_be_read_back(
    tmp_path_factory: pytest.TempPathFactory, name: str, percent: float
) -> None:
    bench = Bench(tmp_path_factory.mktemp("log"))
    bench.facts = replace(FACTS, program=Program(name * 3))
    for _ in range(3):
        bench.look([replace(MINER, utilization_percent=percent)])
    bench.log.close()
    (record,) = bench.written()
    assert record.interval_s == 6.0
    assert json.loads(bench.files[1].read_bytes())["pid"] == 42
