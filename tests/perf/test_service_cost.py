"""What the whole service costs at one tick a second: 8 GPUs, 300 processes, one of them held.

The GPUs are the double of the NVIDIA library, in the service's process; the processes are real, and
so is the miner that is held, on the processor.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.e2e.capping import UID, CappingDaemon
from tests.enforcement.miner.programs import miner

pytestmark = [
    pytest.mark.perf,
    pytest.mark.skipif(
        sys.platform == "win32" or os.geteuid() != 0, reason="holds a process of another user"
    ),
]

GPUS, PROCESSES, CLIENTS = 8, 300, 10
WARM_UP_S, MEASURED_S = 20.0, 40.0
MOST_CPU_PERCENT, MOST_BYTES = 1.0, 60_000_000

WITH_GPUS = f"""
import sys, time
from pathlib import Path
import pynvml
from tests.backends.nvml_double import NvmlDouble
from tests.e2e.capping_daemon import main
double = NvmlDouble({GPUS})
pynvml.nvmlLib = double.lib
for number, pid in enumerate(sys.argv[3].split(",")):
    double.process(number % {GPUS}, int(pid), 10**9)
    double.use(number % {GPUS}, int(pid), int(time.time() * 1e6), 90, 40, 0, 0)
main(Path(sys.argv[1]), int(sys.argv[2]))
"""


@pytest.fixture
def crowd() -> Iterator[list[int]]:
    processes = [
        subprocess.Popen([sys.executable, "-S", "-c", "input()"], stdin=subprocess.PIPE)
        if number < CLIENTS
        else subprocess.Popen(["/bin/sleep", "600"])
        for number in range(PROCESSES)
    ]
    yield [process.pid for process in processes[:CLIENTS]]
    for process in processes:
        process.kill()
        process.communicate()


def test_it_takes_a_hundredth_of_a_core_and_little_memory(tmp_path: Path, crowd: list[int]) -> None:
    command = (sys.executable, "-P", "-c", WITH_GPUS)
    more = (",".join(map(str, crowd)),)
    with CappingDaemon(tmp_path / "machine", command, more) as daemon:
        service = psutil.Process(daemon.pid)
        time.sleep(WARM_UP_S)
        at_rest = _percent(service, MEASURED_S)
        with miner(name="t-rex", uid=UID, seconds=300) as one:
            one.wait_until_at_work()
            daemon.set_cap(50)
            daemon.wait_until(bool)
            time.sleep(WARM_UP_S)
            holding = _percent(service, MEASURED_S)
        everybody = [service, *service.children()]
        sizes = [process.memory_full_info().pss for process in everybody]
    sys.stdout.write(
        f"\nservice: {at_rest:.2f} % of a core at rest, {holding:.2f} % while it holds; "
        f"{sum(sizes) / 1e6:.1f} MB with its dead man\n"
    )
    assert at_rest <= MOST_CPU_PERCENT
    assert sum(sizes) <= MOST_BYTES


def _percent(process: psutil.Process, seconds: float) -> float:
    before = process.cpu_times()
    time.sleep(seconds)
    after = process.cpu_times()
    return 100 * (after.user + after.system - before.user - before.system) / seconds
