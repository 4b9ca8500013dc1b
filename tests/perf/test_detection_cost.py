"""What detection costs where 300 processes run and 10 of them use a GPU."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from statistics import median

import pytest

from gpupanel.backends.linux.proc import identity
from gpupanel.detection.detector import Detector
from gpupanel.detection.own import OwnLoads
from gpupanel.detection.reading.proc_reader import ProcReader
from gpupanel.detection.signatures import built_in
from gpupanel.model.gpu import ProcessKind, ProcessSample
from gpupanel.service.judging import INTERVAL_S

pytestmark = [
    pytest.mark.perf,
    pytest.mark.skipif(sys.platform == "win32", reason="/proc is Linux's"),
]

PROCESSES, CLIENTS, FDS_EACH, LOOKS = 300, 10, 60, 40
TRAINER = (
    "train", "-c", "import sys; sys.stdin.read()", "--algo", "adamw", "--config", "run.json",
    "--url", "s3://bucket/set",
)  # fmt: skip


@pytest.fixture
def clients() -> Iterator[list[ProcessSample]]:
    """Real processes; the ten that use a GPU are Python with a trainer's command line."""
    fds = [os.open("/dev/null", os.O_RDONLY) for _ in range(FDS_EACH)]
    crowd = [subprocess.Popen(["/bin/sleep", "300"]) for _ in range(PROCESSES - CLIENTS)]
    workers = [
        subprocess.Popen(TRAINER, executable=sys.executable, stdin=subprocess.PIPE, pass_fds=fds)
        for _ in range(CLIENTS)
    ]
    samples = []
    for worker in workers:
        who = identity(worker.pid)
        assert who is not None
        samples.append(
            ProcessSample(
                "GPU-1", worker.pid, who.started, who.name, who.user, ProcessKind.COMPUTE,
                1e9, 95.0, {"compute": 95.0},
            )
        )  # fmt: skip
    yield samples
    for process in crowd:
        process.kill()
        process.wait()
    for worker in workers:
        worker.communicate()
    for fd in fds:
        os.close(fd)


def test_a_look_costs_5_ms_and_all_of_it_half_a_percent_of_a_core(
    clients: list[ProcessSample],
) -> None:
    reader = ProcReader(built_in())
    detector = Detector(reader, built_in(), OwnLoads(1, reader.parent, reader.environment))
    costs = []
    for look in range(LOOKS):
        now_s = look * INTERVAL_S
        before_s = time.process_time()
        verdicts = detector.look(clients, {"GPU-1": 5e7}, now_s, now_s)
        costs.append(time.process_time() - before_s)
    steady = costs[10:]
    mean_s = sum(steady) / len(steady)
    print(
        f"\n{PROCESSES} processes, {CLIENTS} clients: first look {costs[0] * 1e3:.2f} ms CPU, "
        f"the eager ones {median(costs[1:8]) * 1e3:.2f} ms, then {mean_s * 1e3:.2f} ms on average "
        f"and {max(steady) * 1e3:.2f} ms at most; {100 * mean_s / INTERVAL_S:.3f} % of a core"
    )
    assert len(verdicts) == CLIENTS
    assert median(costs) < 5e-3
    assert mean_s / INTERVAL_S < 0.005
