"""``python -m tests.detection.record_own_loads``: traces of our own loads on the processor (PoCL).

Written to corpus/own_loads.json: how busy the worker kept the cores and how much memory it held,
twice a second, which is what a driver tells of a process on a GPU.
"""

from __future__ import annotations

import json
import threading
import time

import psutil

from gpupanel.model.workload import Event, Failed, Finished, Run, Started
from gpupanel.stress.runner import Runner
from tests.detection.harness import CORPUS

LOADS = ("mining.sha256d", "ai.gemm", "gaming.raymarch")
SECONDS = 12.0
INTERVAL_S = 0.5


def main() -> None:
    """One load after the other."""
    traces = {load: record(load) for load in LOADS}
    path = CORPUS / "own_loads.json"
    path.write_text(json.dumps(traces, indent=0) + "\n", encoding="utf-8")


def record(load: str) -> list[list[float]]:
    """Seconds, percent of all cores, bytes; from when it measures to its end."""
    at_work, over = threading.Event(), threading.Event()

    def follow(event: Event) -> None:
        if isinstance(event, Started):
            at_work.set()
        if isinstance(event, Finished | Failed):
            at_work.set()
            over.set()

    runner = Runner(Run(load, "cpu", SECONDS), follow)
    runner.start()
    at_work.wait()
    process = psutil.Process(runner.pid)
    process.cpu_percent()
    began_s, trace = time.monotonic(), []
    while not over.wait(INTERVAL_S):
        busy = process.cpu_percent() / (psutil.cpu_count() or 1)
        spent_s = round(time.monotonic() - began_s, 2)
        trace.append([spent_s, min(100.0, busy), float(process.memory_info().rss)])
    runner.close()
    return trace[:-1]


if __name__ == "__main__":
    main()
