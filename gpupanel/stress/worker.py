"""The worker process: one load on one OpenCL device, events on stdout, orders on stdin.

A driver or a compiler may crash, hang or abort in here; nobody else is hurt. The parent is
``stress/runner.py``.
"""

from __future__ import annotations

import importlib
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import IO, TYPE_CHECKING

from gpupanel import children
from gpupanel.model.errors import GpupanelError, VerificationFailed, WorkloadError
from gpupanel.model.workload import (
    Event,
    Failed,
    Finished,
    Preparing,
    Started,
    WorkloadInfo,
    event_as_json,
)
from gpupanel.policy.limiter import Limiter
from gpupanel.stress.catalog import WORKLOAD_BY_NAME
from gpupanel.stress.frames import FrameMemory
from gpupanel.stress.meter import Meter
from gpupanel.stress.orders import Assignment, Orders

if TYPE_CHECKING:
    from gpupanel.stress.workload import Chunk, Device, Workload

CHUNK_TARGET_S = 0.05
"""Long enough that launch costs vanish, short enough that a stop and the desktop stay quick."""

CHUNK_LIMIT_S = 0.25
"""Never near Windows' two seconds after which it resets a GPU."""

TUNING_TRIES = 3
CHUNKS_IN_FLIGHT = 3
"""One runs; the others keep the device busy while the host verifies."""

CAP_WINDOW_S = 0.4
"""One burst and its rest: several chunks long, and short beside the second of a report."""

REPORT_INTERVAL_S = 1.0
WAKE_INTERVAL_S = 0.1
"""The loop looks for itself this often, should a driver forget to call back."""

FRAME_INTERVAL_S = 1 / 30
PRIORITY = 5
"""nice value: the desktop and the agent go first."""


def main() -> int:
    """Entry of ``gpupanel worker``; returns the exit status."""
    children.die_with_parent()
    stdin = sys.stdin.buffer
    output = _Output.take_stdout()
    line = stdin.readline()
    if not line:
        return 1
    assignment = Assignment.from_line(line)
    _lower_priority()
    output.assignment = assignment
    orders = Orders(stdin, assignment.run.cap_percent, output.end_now)
    try:
        output.send(_Session(assignment, orders, output).execute())
    except GpupanelError as error:
        run = assignment.run
        output.send(Failed(run.workload, run.gpu, type(error).__name__, str(error)))
    # Drivers' exit handlers may take seconds, and nothing of ours is left to save.
    os._exit(0)


class _Output:
    """Events on the stdout that the parent reads; whatever libraries print goes to stderr."""

    def __init__(self, stream: IO[str]) -> None:
        self.assignment: Assignment | None = None
        self.meter: Meter | None = None
        self._stream = stream
        self._lock = threading.Lock()

    @classmethod
    def take_stdout(cls) -> _Output:
        stream = os.fdopen(os.dup(1), "w", encoding="utf-8", newline="\n")
        os.dup2(2, 1)
        return cls(stream)

    def send(self, event: Event) -> None:
        import json

        with self._lock:
            self._stream.write(json.dumps(event_as_json(event), allow_nan=False) + "\n")
            self._stream.flush()

    def end_now(self, reason: str) -> None:
        """The loop did not end in time: say how far it came, and go."""
        assert self.assignment is not None
        run = self.assignment.run
        meter = self.meter or Meter(run, WORKLOAD_BY_NAME[run.workload].unit, time.monotonic())
        self.send(meter.finished(time.monotonic(), run.cap_percent, reason))
        os._exit(0)


class _Session:
    """One run from device to Finished."""

    def __init__(self, assignment: Assignment, orders: Orders, output: _Output) -> None:
        self._assignment = assignment
        self._run = assignment.run
        self._info = WORKLOAD_BY_NAME[assignment.run.workload]
        self._orders = orders
        self._output = output
        self._frames = FrameMemory.attach(assignment.frames) if assignment.frames else None
        self._next_frame_s = 0.0
        self._shown: tuple[int, int, bytes] | None = None

    def execute(self) -> Finished:
        """Prepare, check, tune, measure.

        Raises:
            WorkloadError: The run could not be carried out.
        """
        self._prepare_step("device", 0.0)
        from gpupanel.stress.device import open_device

        device = open_device(self._run.gpu, self._assignment.pci_bus_id)
        knobs = choose_knobs(self._info, self._run.knobs, is_cpu=device.is_cpu)
        self._workload = host_class(self._info)(device, knobs, self._assignment.seed)
        self._workload.prepare(self._prepare_step)
        self._prepare_step("self-test", 0.0)
        failed = [check for check in self._workload.self_test() if not check.passed]
        if failed:
            raise VerificationFailed(
                f"{self._info.name} gives wrong known answers on this device: "
                + "; ".join(f"{check.name}: {check.detail}" for check in failed)
            )
        self._prepare_step("tuning", 0.0)
        self._step_s = self._tune()
        self._announce(device, knobs)
        return self._measure()

    def _prepare_step(self, step: str, fraction: float) -> None:
        self._output.send(Preparing(self._run.workload, self._run.gpu, step, fraction))

    def _announce(self, device: Device, knobs: dict[str, int]) -> None:
        self._output.send(
            Started(
                workload=self._run.workload,
                gpu=self._run.gpu,
                device=device.queue.device.name,
                platform=device.queue.device.platform.version,
                unit=self._info.unit,
                cap_percent=self._orders.cap_percent,
                chunk_ms=1000 * self._steps() * self._step_s,
                knobs=knobs,
                notes=self._workload.notes,
            )
        )

    def _tune(self) -> float:
        """Device seconds of one step, from launches that double until they are long enough."""
        self._timed(1)  # the first launch may compile
        steps, seconds = 1, self._timed(1)
        if seconds > CHUNK_LIMIT_S:  # once more: a busy machine stalls now and then
            seconds = min(self._timed(1) for _ in range(TUNING_TRIES))
        if seconds > CHUNK_LIMIT_S:
            raise WorkloadError(
                f"the smallest launch of {self._info.name} takes {seconds:.2f} s on this device, "
                "too long to stay responsive: choose smaller knobs"
            )
        while seconds < CHUNK_TARGET_S / 2:
            steps *= 2
            seconds = self._timed(steps)
        return seconds / steps

    def _timed(self, steps: int) -> float:
        """Device seconds of one launch, waited for."""
        chunk = self._workload.launch(steps)
        chunk.last.wait()
        self._workload.complete(chunk)
        return device_seconds(chunk)

    def _steps(self) -> int:
        return max(1, round(CHUNK_TARGET_S / self._step_s))

    def _measure(self) -> Finished:
        now_s = time.monotonic()
        meter = self._output.meter = Meter(self._run, self._info.unit, now_s)
        limiter = Limiter(self._orders.cap_percent, CAP_WINDOW_S)
        in_flight: deque[tuple[int, Chunk]] = deque()
        next_report_s = now_s + REPORT_INTERVAL_S
        deadline_s = now_s + self._run.seconds
        while now_s < deadline_s and not self._orders.stop_reason:
            if limiter.cap_percent != self._orders.cap_percent:
                limiter.set_cap(self._orders.cap_percent, now_s)
            hold_s = limiter.wait_s(now_s)
            if hold_s == 0 and len(in_flight) < CHUNKS_IN_FLIGHT:
                steps = self._steps()
                in_flight.append((steps, self._launch(steps)))
            elif in_flight:
                self._settle(*in_flight.popleft(), meter, limiter)
            else:
                self._orders.wait(min(hold_s, deadline_s - now_s, next_report_s - now_s))
            now_s = time.monotonic()
            if now_s >= next_report_s:
                self._report(meter, now_s)
                next_report_s += REPORT_INTERVAL_S
                now_s = time.monotonic()
        while in_flight and not self._orders.stop_reason:
            self._settle(*in_flight.popleft(), meter, limiter)
        now_s = time.monotonic()
        if not self._orders.stop_reason:
            self._verify(meter)
        return meter.finished(now_s, self._orders.cap_percent, self._orders.stop_reason or "time")

    def _launch(self, steps: int) -> Chunk:
        """The next chunk, which wakes the loop when it is done: some drivers' waits burn a core."""
        import pyopencl as cl

        chunk = self._workload.launch(steps)
        complete = cl.command_execution_status.COMPLETE
        chunk.last.set_callback(complete, lambda status: self._orders.wake())
        return chunk

    def _settle(self, steps: int, chunk: Chunk, meter: Meter, limiter: Limiter) -> None:
        """Wait for the oldest chunk and account for it."""
        while not is_complete(chunk):
            if self._orders.stop_reason:
                return
            self._orders.wait(WAKE_INTERVAL_S)
        seconds = device_seconds(chunk)
        limiter.charge(seconds, time.monotonic())
        meter.add(chunk.work, seconds)
        self._step_s += 0.2 * (seconds / steps - self._step_s)  # clocks change while it runs
        self._workload.complete(chunk)
        self._show_frame()

    def _report(self, meter: Meter, now_s: float) -> None:
        self._verify(meter)
        self._output.send(meter.progress(now_s))

    def _verify(self, meter: Meter) -> None:
        checks = self._workload.verify()
        meter.verified += len(checks)
        meter.errors += sum(not check.passed for check in checks)

    def _show_frame(self) -> None:
        now_s = time.monotonic()
        if self._frames is None or now_s < self._next_frame_s:
            return
        self._next_frame_s = now_s + FRAME_INTERVAL_S
        picture = self._workload.frame()
        if picture is not None and picture is not self._shown:
            self._frames.write(*picture)
            self._shown = picture


def choose_knobs(info: WorkloadInfo, asked: Mapping[str, int], *, is_cpu: bool) -> dict[str, int]:
    """All knobs of a load: what was asked, else the default of this kind of device.

    Raises:
        WorkloadError: A knob is unknown or out of its bounds.
    """
    known = {knob.name: knob for knob in info.knobs}
    for name, value in asked.items():
        if name not in known:
            raise WorkloadError(f"{info.name} has no knob {name}; it has {', '.join(known)}")
        knob = known[name]
        if not knob.low <= value <= knob.high:
            raise WorkloadError(f"{info.name}: {name}={value} is outside {knob.low} to {knob.high}")
        if knob.choices and value not in knob.choices:
            choices = ", ".join(map(str, knob.choices))
            raise WorkloadError(f"{info.name}: {name}={value} is none of {choices}")
    defaults = {knob.name: knob.default_cpu if is_cpu else knob.default for knob in info.knobs}
    return {**defaults, **asked}


def is_complete(chunk: Chunk) -> bool:
    """Whether the device is done with it.

    Raises:
        WorkloadError: The device gave up on it.
    """
    import pyopencl as cl

    status: int = chunk.last.command_execution_status
    if status < 0:
        raise WorkloadError(f"the device ended a launch with OpenCL error {status}")
    return bool(status == cl.command_execution_status.COMPLETE)


def device_seconds(chunk: Chunk) -> float:
    """How long a finished chunk kept the device busy, from its events' own clock."""
    nanoseconds: int = chunk.last.profile.end - chunk.first.profile.start
    return max(0, nanoseconds) * 1e-9  # some drivers' clocks step back at times


def host_class(info: WorkloadInfo) -> Callable[[Device, Mapping[str, int], int], Workload]:
    """The class that the catalog names; its import is the first touch of a load's libraries."""
    module, name = info.host.split(":")
    host: Callable[[Device, Mapping[str, int], int], Workload]
    host = getattr(importlib.import_module(module), name)
    return host


def _lower_priority() -> None:
    if sys.platform == "win32":
        import psutil

        psutil.Process().nice(psutil.BELOW_NORMAL_PRIORITY_CLASS)
    else:
        os.nice(PRIORITY)
