"""Build, check and time one variant of a load: the role ``probe``, a child of a worker.

Says its steps and then one answer on stdout, a line of JSON each; ``variants.py`` listens.
"""

from __future__ import annotations

import json
import os
import threading
import time
from typing import Any

from gpupanel import children
from gpupanel.model.errors import BuildFailed, VerificationFailed, WorkloadError
from gpupanel.stress.catalog import WORKLOAD_BY_NAME
from gpupanel.stress.pipeline import device_seconds
from gpupanel.stress.variants import Probed
from gpupanel.stress.workload import Report, Variant, Workload, host_class

SEED = 1
TIMED_S = 0.2
LAUNCH_TARGET_S = 0.02
MOST_FAULT_LETTERS = 500
"""A compiler's log may be long."""


def main(arguments: list[str]) -> int:
    """Entry of the role; its argument is the request of ``variants.probe``."""
    children.die_with_parent()
    threading.Thread(target=_end_with_stdin, daemon=True).start()
    output = os.fdopen(os.dup(1), "w", encoding="utf-8", newline="\n")
    os.dup2(2, 1)  # whatever libraries print

    def say(**line: object) -> None:
        output.write(json.dumps(line) + "\n")
        output.flush()

    result = _probed(json.loads(arguments[0]), lambda step, part: say(step=step, fraction=part))
    say(work_per_s=result.work_per_s, fault=result.fault, lasts=result.lasts)
    os._exit(0)  # as in the worker: drivers' exit handlers may take seconds


def _end_with_stdin() -> None:
    """Nobody waits for the answer any more."""
    # Not sys.stdin: a thread in its lock makes Python abort at exit.
    while os.read(0, 4096):
        pass
    os._exit(1)


def _probed(request: dict[str, Any], report: Report) -> Probed:
    from gpupanel.stress.device import open_device

    try:
        device = open_device(request["gpu"], request["pci_bus_id"])
        variant = Variant(**request["variant"])
        host = host_class(WORKLOAD_BY_NAME[request["workload"]])
        workload = host(device.with_variant(variant), request["knobs"], SEED)
        workload.prepare(report)
        report("self-test", 0.0)
        checks = workload.self_test()
        report("timing", 0.0)
        work_per_s = _timed(workload)
        # Twice: loads may send for what they compare in one call and compare it in the next.
        checks += [*workload.verify(), *workload.verify()]
    except WorkloadError as error:
        lasts = isinstance(error, BuildFailed | VerificationFailed)
        return Probed(fault=str(error)[:MOST_FAULT_LETTERS], lasts=lasts)
    wrong = [f"{check.name} {check.detail}".strip() for check in checks if not check.passed]
    if wrong:
        return Probed(fault=f"wrong answers: {'; '.join(wrong)}"[:MOST_FAULT_LETTERS])
    return Probed(work_per_s)


def _timed(workload: Workload) -> float:
    """The highest rate of launches that are long enough to tell one."""
    _launch_s(workload, 1)
    steps, best = 1, 0.0
    deadline_s = time.monotonic() + TIMED_S
    while best == 0 or time.monotonic() < deadline_s:
        work, seconds = _launch_s(workload, steps)
        if seconds < LAUNCH_TARGET_S:
            steps *= 2
        else:
            best = max(best, work / seconds)
    return best


def _launch_s(workload: Workload, steps: int) -> tuple[float, float]:
    """Work and device seconds of one launch, waited for."""
    chunk = workload.launch(steps)
    chunk.last.wait()
    workload.complete(chunk)
    return chunk.work, device_seconds(chunk)
