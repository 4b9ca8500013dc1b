"""Our own loads, and everybody who says that they are one."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from gpupanel import children
from gpupanel.detection.detector import Detector
from gpupanel.detection.own import OwnLoads
from gpupanel.detection.reading.facts import Connection, ProcessFacts, Program, Relative
from gpupanel.detection.reading.proc_reader import ProcReader
from gpupanel.detection.signatures import built_in
from gpupanel.model.gpu import ProcessKind, ProcessSample
from gpupanel.model.verdict import ProcessClass, Standing
from gpupanel.model.workload import Family
from tests.detection.harness import FakeReader

WORKER = ProcessFacts(
    100,
    7,
    "python",
    Program(sys.executable),
    arguments=tuple(children.command("worker")),
    parent=50,
)


def own_loads(parent: int = 50, environment: Mapping[str, str] | None = os.environ) -> OwnLoads:
    return OwnLoads(50, lambda pid: (parent, 7) if pid == 100 else None, lambda pid: environment)


def settled(pid: int) -> int:
    """The kernel wakes us a moment before a new program's environment can be read."""
    deadline_s = time.monotonic() + 10
    while not Path(f"/proc/{pid}/environ").read_bytes():
        assert time.monotonic() < deadline_s
    return pid


@pytest.mark.parametrize(
    ("family", "process_class", "posterior"),
    [
        (Family.MINING, ProcessClass.MINING, 1.0),
        (Family.AI, ProcessClass.AI, 0.0),
        (Family.GAMING, ProcessClass.GAMING, 0.0),
        (Family.DIAGNOSTICS, ProcessClass.TEST, 0.0),
    ],
)
def test_a_worker_of_the_spawner_is_certain(
    family: Family, process_class: ProcessClass, posterior: float
) -> None:
    own = own_loads()
    own.declare(100, family, 5.0)
    verdict = own.verdict(WORKER)
    assert verdict is not None
    assert (verdict.process_class, verdict.posterior) == (process_class, posterior)
    assert verdict.standing is Standing.OWN
    assert verdict.evidence[0].text.startswith("gpupanel started it")


@pytest.mark.parametrize(
    "facts",
    [
        replace(WORKER, started=8),
        replace(WORKER, parent=51),
        replace(WORKER, program=Program("/tmp/python")),
        replace(WORKER, arguments=(*WORKER.arguments, "--pool")),
        replace(WORKER, arguments=(sys.executable, "miner.py")),
        replace(WORKER, connections=(Connection("203.0.113.7", 443),)),
        replace(WORKER, listening_ports=(4067,)),
        replace(WORKER, pid=101),
    ],
)
def test_the_word_is_checked_at_every_look(facts: ProcessFacts) -> None:
    own = own_loads()
    own.declare(100, Family.AI, 5.0)
    assert own.verdict(facts) is None


def test_a_stranger_cannot_be_declared() -> None:
    with pytest.raises(ValueError, match="no child"):
        own_loads(parent=51).declare(100, Family.AI, 5.0)
    with pytest.raises(ValueError, match="no child"):
        own_loads().declare(999, Family.AI, 5.0)


def test_nothing_is_exempt_without_a_word() -> None:
    assert own_loads().verdict(WORKER) is None


@pytest.mark.parametrize(
    "steered",
    [
        None,
        {**os.environ, "PYTHONPATH": "/tmp/evil"},
        {**os.environ, "HOME": "/tmp/evil"},
        {**os.environ, "LD_PRELOAD": "/tmp/evil.so"},
    ],
)
def test_a_worker_that_imports_from_elsewhere_is_not_excused(
    steered: Mapping[str, str] | None,
) -> None:
    """Our interpreter and ``-m gpupanel worker`` may run another gpupanel."""
    own = own_loads(environment=steered)
    own.declare(100, Family.AI, 5.0)
    assert own.verdict(WORKER) is None


def test_evidence_against_a_worker_counts() -> None:
    """Whoever starts our agent and a worker may give both the same environment."""
    reader = FakeReader(replace(WORKER, libraries=frozenset()))
    detector = Detector(reader, built_in(), own := own_loads())
    own.declare(100, Family.AI, 5.0)
    sample = ProcessSample("GPU-1", 100, 7, "python", "mara", ProcessKind.COMPUTE, 1e9, 99.0)

    def standing(now_s: float) -> Standing:
        return detector.look([sample], {"GPU-1": 1e6}, now_s, now_s)[100, 7].standing

    assert {standing(look * 3.0) for look in range(1, 40)} == {Standing.OWN}
    pool = Connection("203.0.113.7", 4444)
    words = ("evil", "-a", "kawpow", "-o", "stratum+tcp://rvn.2miners.com:4444", "-u", "x")
    parent = Relative("evil", words, (pool,))
    reader.facts = replace(reader.facts, launchers=(parent,))
    found = [standing(look * 3.0) for look in range(40, 60)]
    assert found[-1] is Standing.MINING


@pytest.mark.skipif(sys.platform == "win32", reason="/proc is Linux's")
def test_a_real_worker_with_another_module_path_is_not_excused(tmp_path: Path) -> None:
    evil = tmp_path / "gpupanel"
    evil.mkdir()
    (evil / "__init__.py").touch()
    (evil / "__main__.py").write_text("print('mining', flush=True); input()")
    reader = ProcReader(built_in())
    verdicts = []
    for path in (os.environ.get("PYTHONPATH"), str(tmp_path)):
        environment = {**os.environ, "PYTHONPATH": path} if path else dict(os.environ)
        with subprocess.Popen(
            children.command("worker"), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, env=environment, text=True,
        ) as worker:  # fmt: skip
            own = OwnLoads(os.getpid(), reader.parent, reader.environment)
            own.declare(settled(worker.pid), Family.AI, 5.0)
            reader.begin_look(0.0, [worker.pid])
            facts = reader.read(worker.pid, 0)
            assert facts is not None
            verdicts.append(own.verdict(facts))
            worker.communicate("\n")
    assert verdicts[0] is not None
    assert verdicts[1] is None


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield process
    process.communicate(b"\n")


@pytest.mark.skipif(sys.platform == "win32", reason="/proc is Linux's")
def test_a_real_child_that_is_no_worker_gains_nothing(child: subprocess.Popen[bytes]) -> None:
    reader = ProcReader(built_in())
    own = OwnLoads(os.getpid(), reader.parent, reader.environment)
    own.declare(child.pid, Family.AI, 5.0)
    reader.begin_look(0.0, [child.pid])
    facts = reader.read(child.pid, 0)
    assert facts is not None
    assert own.verdict(facts) is None
    with pytest.raises(ValueError, match="no child"):
        own.declare(os.getppid(), Family.AI, 5.0)
