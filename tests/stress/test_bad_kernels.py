"""Kernels that hang, abort or write where they must not, in a real worker on a real driver."""

from __future__ import annotations

import queue
import sys
import time

import pytest

from gpupanel.model.workload import Event, Failed, Finished, Preparing, Run, Started
from gpupanel.stress import runner as runner_module
from gpupanel.stress.runner import Runner

WORKER = '''
import numpy as np
import pyopencl as cl
from gpupanel.model.roofline import Cost
from gpupanel.stress import worker, workload
from gpupanel.stress.workload import Check, Chunk, Variant

class Sabotage:
    """Counts on the device until its turn comes; then it does what the test wants."""
    notes = ()
    def __init__(self, device, knobs, seed):
        self.device, self.launched = device, 0
    @classmethod
    def variants(cls, device):
        return (Variant("the only one", device.lanes),)
    def prepare(self, report):
        self.program = cl.Program(self.device.context, KERNEL).build()
        self.kernel = cl.Kernel(self.program, "work")
        zeros = np.zeros(1024, np.uint32)
        flags = cl.mem_flags.READ_WRITE | cl.mem_flags.COPY_HOST_PTR
        self.buffer = cl.Buffer(self.device.context, flags, hostbuf=zeros)
    def self_test(self, vectors=None):
        return []
    def cost(self):
        return Cost({})
    def launch(self, steps):
        self.launched += 1
        evil = np.uint32(self.launched == TURN)
        event = self.kernel(self.device.queue, (4,), (1,), self.buffer, np.uint32(steps), evil)
        self.device.queue.flush()
        return Chunk(float(steps), event, event)
    def complete(self, chunk):
        pass
    def verify(self):
        return [Check("nothing", True)]
    def readings(self):
        return {}
    def frame(self):
        return None

workload.host_class = lambda info: Sabotage
worker.main()
'''

KERNEL = """
kernel void work(global volatile uint *out, const uint steps, const uint evil)
{
    const uint item = get_global_id(0);
    for (uint i = 0; i < steps * 100000; i++)
        out[item] += i;
    if (evil)
        EVIL;
}
"""

HANG = "while (out[item + 4] == 0) out[item + 8] += 1"
WILD_WRITE = "for (ulong i = 0; i < (1UL << 40); i += 4096) out[i] = 1"
TRAP = "__builtin_trap()"

LAUNCHES_BEFORE_MEASURING = 40


def run_with(
    monkeypatch: pytest.MonkeyPatch, evil: str, turn: int
) -> tuple[Runner, queue.Queue[Event]]:
    script = f"TURN = {turn}\nKERNEL = {KERNEL.replace('EVIL', evil)!r}\n{WORKER}"
    monkeypatch.setattr("gpupanel.children.command", lambda role: [sys.executable, "-c", script])
    events: queue.Queue[Event] = queue.Queue()
    runner = Runner(Run("mining.ethash", "cpu", 30), events.put)
    runner.start()
    return runner, events


def until(events: queue.Queue[Event], *kinds: type) -> Event:
    while not isinstance(event := events.get(timeout=60), kinds):
        assert not isinstance(event, Failed | Finished), event
    return event


@pytest.mark.parametrize(("evil", "status"), [(WILD_WRITE, "-11"), (TRAP, "-")])
@pytest.mark.parametrize("turn", [2, LAUNCHES_BEFORE_MEASURING])
def test_a_kernel_that_kills_its_process_fails_the_run(
    monkeypatch: pytest.MonkeyPatch, evil: str, status: str, turn: int
) -> None:
    runner, events = run_with(monkeypatch, evil, turn)
    failed = until(events, Failed)
    runner.close()
    assert isinstance(failed, Failed)
    assert failed.kind == "WorkerDied"
    assert f"the worker ended with status {status}" in failed.reason


def test_a_kernel_that_hangs_while_measuring_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    runner, events = run_with(monkeypatch, HANG, LAUNCHES_BEFORE_MEASURING)
    until(events, Started)
    failed = until(events, Failed)
    runner.close()
    assert isinstance(failed, Failed)
    assert "said nothing for 10 s and was killed" in failed.reason


def test_a_kernel_that_hangs_while_preparing_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time that a preparing worker may be silent is cut to what a busy machine needs."""
    monkeypatch.setattr(runner_module, "PREPARE_KILL_S", 15.0)
    runner, events = run_with(monkeypatch, HANG, 2)
    failed = until(events, Failed)
    runner.close()
    assert isinstance(failed, Failed)
    assert "said nothing for 15 s at tuning and was killed" in failed.reason


def test_a_stop_does_not_wait_for_a_kernel_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    runner, events = run_with(monkeypatch, HANG, 2)
    while True:
        event = until(events, Preparing)
        if isinstance(event, Preparing) and event.step == "tuning":
            break
    asked_s = time.monotonic()
    runner.stop()
    finished = until(events, Finished)
    took_s = time.monotonic() - asked_s
    runner.close()
    assert isinstance(finished, Finished)
    assert finished.stop_reason == "stopped"
    assert took_s < 5  # how close to 200 ms is measured in tests/perf
