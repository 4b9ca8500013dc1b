"""Detection in the daemon: what clients are told, and what they may say."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from gpupanel import children
from gpupanel.detection.reading.facts import ProcessFacts, Program
from gpupanel.detection.reading.proc_reader import ProcReader
from gpupanel.detection.signatures import built_in
from gpupanel.ipc.transport import Endpoint, Peer, parent
from gpupanel.model.errors import ObjectionRefused
from gpupanel.model.event import EventRecord
from gpupanel.model.gpu import ProcessKind, ProcessSample, Sample, Snapshot
from gpupanel.model.verdict import Standing, Verdict
from gpupanel.policy.claims import Claim, Level, Scope
from gpupanel.policy.replay import read_verdicts
from gpupanel.policy.resolve import EffectivePolicy, PolicyState, resolve
from gpupanel.service.mining.judging import Judging
from gpupanel.service.mining.verdict_log import VerdictLog
from gpupanel.service.objections import Objections, Objectors
from gpupanel.service.views import View
from tests.detection.harness import FakeReader, miners
from tests.detection.test_own import settled

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="asks for the user's number")

SHA = "ab" * 32
MINER = replace(
    next(iter(miners())).facts, program=Program("/home/mara/t-rex", SHA), uid=os.getuid()
    if sys.platform != "win32" else None,
)  # fmt: skip
SAMPLE = ProcessSample(
    "GPU-1",
    MINER.pid,
    MINER.started,
    "t-rex\n",
    "mara",
    ProcessKind.COMPUTE,
    9.0,
    98.0,
    uid=MINER.uid,
)
KEY = {"pid": MINER.pid, "started": MINER.started}


class Bench:
    """A judging thread and the events that it tells; ``look`` waits for the one that it causes."""

    def __init__(self, path: Path | None, facts: ProcessFacts = MINER) -> None:
        self.reader = FakeReader(facts)
        self.events: list[EventRecord] = []
        self.told = threading.Event()
        objectors = Objectors.only(MINER.uid, path)
        self.judging = Judging(self._on_event, objectors, spawner=os.getpid(), reader=self.reader)
        self.methods = self.judging.methods_for(parent(), lambda: View(MINER.uid, True))
        self.judging.start()

    def _on_event(self, event: EventRecord) -> None:
        self.events.append(event)
        self.told.set()

    def look(self, now_s: float, *samples: ProcessSample) -> None:
        """Have the thread judge ``samples`` and be done with it."""
        snapshot = Snapshot(1.7e9, now_s, (Sample("GPU-1", {}),))
        self.judging.offer(samples or (SAMPLE,), snapshot)
        self.judging.wait_until_judged()

    def standing(self) -> Standing | None:
        (sample,) = self.judging.judged([SAMPLE])
        return None if sample.verdict is None else sample.verdict.standing


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path / "state/not_mining.json")
    made.judging.obey(policy())
    yield made
    made.judging.stop()


def policy(**values: bool | tuple[str, ...]) -> EffectivePolicy:
    claims = [
        Claim(key.replace("__", "."), value, Level.MANDATORY, Scope.MACHINE, None)
        for key, value in values.items()
    ]
    return resolve(claims, state=PolicyState.MANAGED)


def test_a_miner_is_told_with_its_samples_and_once_as_an_event(bench: Bench) -> None:
    bench.look(1.0)
    bench.look(4.0)
    assert bench.standing() is Standing.MINING
    (sample,) = bench.judging.judged([SAMPLE])
    assert sample.verdict is not None
    assert sample.verdict.evidence == ()
    (event,) = bench.events
    assert (event.kind, event.gpu_id) == ("mining", "GPU-1")
    assert event.text.startswith(f"t-rex? (pid {MINER.pid}) is mining: ")


def test_the_evidence_is_told_on_demand(bench: Bench) -> None:
    assert bench.methods["explain"](KEY) == {"judgement": None}
    bench.look(1.0)
    verdict = Verdict.from_json(bench.methods["explain"](KEY)["judgement"])
    assert {line.kind for line in verdict.evidence} >= {"scheme", "pool", "name"}
    assert bench.methods["explain"]({"pid": MINER.pid, "started": 99})["judgement"] is None


def test_an_administrators_signature_counts_from_the_next_look_on(bench: Bench) -> None:
    bench.reader.facts = ProcessFacts(
        MINER.pid, MINER.started, "newminer", arguments=("newminer",), uid=MINER.uid
    )
    bench.look(1.0)
    before = bench.methods["explain"](KEY)["judgement"]["posterior"]
    bench.judging.obey(policy(detection__miner_executables=("newminer",)))
    bench.look(4.0)
    document = bench.methods["explain"](KEY)["judgement"]
    assert document["posterior"] > 100 * before
    assert "which the administrator named a miner" in document["evidence"][0]["text"]


def test_a_users_word_is_kept_by_content_and_counts_for_the_next_daemon(
    bench: Bench, tmp_path: Path
) -> None:
    bench.look(1.0)
    bench.methods["object"](KEY)
    bench.look(4.0)
    assert bench.standing() is Standing.EXCUSED
    path = tmp_path / "state/not_mining.json"
    assert json.loads(path.read_text())["sha256"] == [SHA]
    assert Objections(path).programs == {SHA}


def test_a_users_word_counts_only_where_policy_lets_users_object(bench: Bench) -> None:
    bench.look(1.0)
    bench.methods["object"](KEY)
    bench.judging.obey(policy(mining__allow_user_verdicts=False))
    bench.look(4.0)
    assert bench.standing() is Standing.MINING
    with pytest.raises(ObjectionRefused, match="policy does not let"):
        bench.methods["object"](KEY)


def test_nobody_can_object_to_what_is_not_there(bench: Bench) -> None:
    with pytest.raises(ObjectionRefused, match="no such process"):
        bench.methods["object"](KEY)


def test_another_user_neither_objects_nor_is_told_what_policy_hides(bench: Bench) -> None:
    bench.look(1.0)
    assert MINER.uid is not None
    other = Peer(Endpoint.READ_ONLY, MINER.uid + 1, 1)
    methods = bench.judging.methods_for(other, lambda: View(other.uid, False))
    assert methods["explain"](KEY) == {"judgement": None}
    with pytest.raises(ObjectionRefused, match="no such process of yours"):
        methods["object"](KEY)
    seeing = bench.judging.methods_for(other, lambda: View(other.uid, True))
    assert seeing["explain"](KEY)["judgement"]["may_object"] is False
    bench.look(4.0)
    assert bench.standing() is Standing.MINING


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"version": 1, "sha256": ["x"]}', "[" * 30000])
def test_a_damaged_file_excuses_nobody_and_says_so(tmp_path: Path, text: str) -> None:
    path = tmp_path / "not_mining.json"
    path.write_text(text)
    objections = Objections(path)
    assert objections.programs == frozenset()
    assert str(path) in objections.problem
    with pytest.raises(ObjectionRefused):
        objections.add(SHA)
    assert path.read_text() == text


def test_only_a_child_of_the_spawner_can_be_declared(bench: Bench) -> None:
    with pytest.raises(ValueError, match="no child"):
        bench.methods["declare"]({"pid": MINER.pid, "workload": "mining.ethash"})
    with pytest.raises(ValueError, match="no load"):
        bench.methods["declare"]({"pid": MINER.pid, "workload": "mining.other"})


def test_who_mined_is_kept_and_what_is_not_finished_is_written_at_the_end(tmp_path: Path) -> None:
    files = tmp_path / "v.1.jsonl", tmp_path / "v.jsonl"
    clock = iter(range(1_700_000_000, 1_700_000_100, 3))
    log = VerdictLog(files, lambda gpu_id: (gpu_id,), lambda: float(next(clock)))
    judging = Judging(lambda _: None, reader=FakeReader(MINER), on_judged=log.judged)
    judging.start()
    for now_s in (1.0, 4.0, 7.0):
        judging.offer([SAMPLE], Snapshot(1.7e9, now_s, ()))
        judging.wait_until_judged()
    assert not files[1].exists()
    judging.stop()
    log.close()
    (record,) = read_verdicts(files[1].read_bytes().splitlines(), "v.jsonl")
    assert (record.pid, record.interval_s, record.executable) == (4711, 6.0, "/home/mara/t-rex")
    assert log.problem == ""


def test_a_real_worker_is_known_for_what_it_is() -> None:
    """It waits for its assignment, and is told none."""
    worker = subprocess.Popen(
        children.command("worker"), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    reader = ProcReader(built_in())
    judging = Judging(lambda _: None, None, spawner=os.getpid(), reader=reader)
    judging.start()
    try:
        found = reader.parent(settled(worker.pid))
        assert found is not None
        sample = replace(SAMPLE, pid=worker.pid, started=found[1])
        methods = judging.methods_for(parent(), lambda: View(None, True))
        methods["declare"]({"pid": worker.pid, "workload": "mining.ethash"})
        judging.offer([sample], Snapshot(1.7e9, 1.0, ()))
        judging.wait_until_judged()
        (judged,) = judging.judged([sample])
    finally:
        judging.stop()
        worker.communicate()
    assert judged.verdict is not None
    assert (judged.verdict.standing, judged.verdict.posterior) == (Standing.OWN, 1.0)


def test_what_another_agent_of_the_user_writes_counts_at_the_next_look(tmp_path: Path) -> None:
    file = tmp_path / "not_mining.json"
    windows, commands = Objections(file), Objections(file)
    assert windows.programs == frozenset()
    commands.add("a" * 64)
    assert windows.programs == {"a" * 64}
    windows.add("b" * 64)
    assert commands.programs == {"a" * 64, "b" * 64}
    file.unlink()
    assert windows.programs == commands.programs == frozenset()
