"""Our own loads, and everybody who says that they are one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace

import pytest

from gpupanel import children
from gpupanel.detection.own import OwnLoads
from gpupanel.detection.reading.facts import Connection, ProcessFacts, Program
from gpupanel.detection.reading.proc_reader import ProcReader
from gpupanel.detection.signatures import built_in
from gpupanel.model.verdict import ProcessClass, Standing
from gpupanel.model.workload import Family

WORKER = ProcessFacts(
    100,
    7,
    "python",
    Program(sys.executable),
    arguments=tuple(children.command("worker")),
    parent=50,
)


def own_loads(parent: int = 50) -> OwnLoads:
    return OwnLoads(50, lambda pid: (parent, 7) if pid == 100 else None)


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


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield process
    process.communicate(b"\n")


@pytest.mark.skipif(sys.platform == "win32", reason="/proc is Linux's")
def test_a_real_child_that_is_no_worker_gains_nothing(child: subprocess.Popen[bytes]) -> None:
    reader = ProcReader(built_in())
    own = OwnLoads(os.getpid(), reader.parent)
    own.declare(child.pid, Family.AI, 5.0)
    reader.begin_look(0.0, [child.pid])
    facts = reader.read(child.pid, 0)
    assert facts is not None
    assert own.verdict(facts) is None
    with pytest.raises(ValueError, match="no child"):
        own.declare(os.getppid(), Family.AI, 5.0)
