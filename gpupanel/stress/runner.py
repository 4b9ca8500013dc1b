"""The parent's side of a run: spawn the worker, follow it, stop it, and never leave it behind.

Imports no OpenCL. One thread reads the worker's events; one watches that it keeps to its time.
"""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from gpupanel import children
from gpupanel.model.gpu import GpuInfo, GpuKind, Sample
from gpupanel.model.workload import (
    Event,
    Failed,
    Finished,
    Preparing,
    Progress,
    Run,
    event_from_json,
)
from gpupanel.stress.catalog import WORKLOAD_BY_NAME
from gpupanel.stress.frames import FrameMemory
from gpupanel.stress.guard import Guard
from gpupanel.stress.meter import Meter
from gpupanel.stress.orders import Assignment

STOP_KILL_S = 0.17
"""A worker that was told to stop and still lives after this is killed."""

SILENCE_KILL_S = 10.0
"""A measuring worker reports once a second; one that is silent for this long hangs."""

WATCH_INTERVAL_S = 0.2
PREPARE_KILL_S = 120.0
"""A preparing worker reports each step and its progress; no step is silent for this long, not even
a compiler that meets a kernel for the first time."""

CHUNK_S = 0.05
"""Of a launch: long enough that its cost vanishes, short enough that a stop is quick."""

CHUNK_DISPLAY_S = 0.02
"""On the GPU that draws the desktop, which waits for a launch to end."""

MAX_FRAME = (3840, 2160)
STDERR_TAIL_BYTES = 4096


class Runner:
    """One run in a child process.

    Attributes:
        frames: The pictures of a gaming load; None unless asked for.
    """

    def __init__(
        self,
        run: Run,
        on_event: Callable[[Event], None],
        *,
        gpu: GpuInfo | None = None,
        frames: bool = False,
    ) -> None:
        """Prepare a run; nothing starts yet.

        Args:
            run: What to run; its cap and seconds are those that policy allows.
            on_event: Called on a reader thread with each event, exactly one final one at the end.
            gpu: Where it runs; None for the processor.
            frames: Whether somebody looks at the pictures.
        """
        self.frames = FrameMemory.create(*MAX_FRAME) if frames else None
        self._run = run
        self._on_event = on_event
        self._pci_bus_id = gpu.pci_bus_id if gpu else None
        self._chunk_s = CHUNK_DISPLAY_S if gpu and gpu.drives_display else CHUNK_S
        kind, stated = (gpu.kind, gpu.limits) if gpu else (GpuKind.CPU, {})
        self._guard = Guard(kind, stated, run.temperature_stop_c)
        self._state = threading.Condition()
        self._kill_at_s = time.monotonic() + PREPARE_KILL_S
        self._kill_reason = f"the worker said nothing for {PREPARE_KILL_S:.0f} s while preparing"
        self._stop_reason = ""
        self._last_progress: Progress | None = None
        self._ended = False
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Spawn the worker. Call on a thread that outlives the run.

        The kernel kills the worker when the thread that spawned it ends (Linux).
        """
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - closed when the reader ends
        assignment = Assignment(
            run=self._run,
            pci_bus_id=self._pci_bus_id,
            frames=self.frames.reference if self.frames else None,
            chunk_s=self._chunk_s,
            seed=secrets.randbits(63),
        )
        self._process = subprocess.Popen(
            children.command("worker"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            **_inheritance(self.frames.pass_fds if self.frames else ()),
        )
        self._write(assignment.as_line())
        self._threads = [
            threading.Thread(target=self._read, name="run-reader"),
            threading.Thread(target=self._watch, name="run-watch"),
        ]
        for thread in self._threads:
            thread.start()

    @property
    def pid(self) -> int:
        """Of the worker; from ``start`` on."""
        return self._process.pid

    def stop(self, reason: str = "stopped") -> None:
        """Ask for an end; Finished follows within 200 ms. Returns at once."""
        with self._state:
            if self._ended or self._stop_reason:
                return
            self._stop_reason = reason
            self._kill_at_s = time.monotonic() + STOP_KILL_S
            self._state.notify_all()
        self._order(order="stop", reason=reason)

    def set_cap(self, percent: int) -> None:
        """A new cap from policy, obeyed from the next launch on."""
        self._order(order="cap", percent=percent)

    def observe(self, sample: Sample) -> None:
        """Feed the guard with a sample of the run's GPU; stops the run if it must."""
        self._guard.observe(sample, time.monotonic())
        self._heed_guard()

    def close(self) -> None:
        """Make sure that nothing is left: no process, no thread, no shared memory."""
        if self._threads:
            self.stop()
        for thread in self._threads:
            thread.join()
        if self.frames:
            self.frames.close()

    def _heed_guard(self) -> None:
        reason = self._guard.reason_to_stop(time.monotonic())
        if reason:
            self.stop(reason)

    def _order(self, **order: str | int) -> None:
        self._write(json.dumps(order).encode() + b"\n")

    def _write(self, line: bytes) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line)
            self._process.stdin.flush()
        except (BrokenPipeError, ValueError):
            return  # the worker is gone; the reader says why

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._follow(event_from_json(json.loads(line)))
        self._process.wait()
        if not self._ended:
            self._end(self._obituary())
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._stderr.close()

    def _follow(self, event: Event) -> None:
        if isinstance(event, Finished | Failed):
            self._end(event)
            return
        with self._state:
            if isinstance(event, Progress):
                self._last_progress = event
            if not self._stop_reason:
                self._expect_more(event)
            self._state.notify_all()
        self._on_event(event)

    def _expect_more(self, event: Event) -> None:
        """Whoever has said something may be silent for a while, and no longer."""
        preparing = isinstance(event, Preparing)
        silence_s = PREPARE_KILL_S if preparing else SILENCE_KILL_S
        self._kill_at_s = time.monotonic() + silence_s
        while_what = f" at {event.step}" if isinstance(event, Preparing) else ""
        self._kill_reason = f"the worker said nothing for {silence_s:.0f} s{while_what}"

    def _end(self, event: Finished | Failed) -> None:
        if isinstance(event, Finished):
            event = replace(event, energy_j=self._guard.energy_j)
        with self._state:
            self._ended = True
            self._kill_at_s = time.monotonic() + STOP_KILL_S
            self._state.notify_all()
        self._on_event(event)

    def _watch(self) -> None:
        """Kill the worker when its time is up, whatever it is doing."""
        with self._state:
            while self._process.poll() is None:
                left_s = self._kill_at_s - time.monotonic()
                if left_s <= 0:
                    self._process.kill()
                    return
                self._heed_guard()  # samples may have stopped coming
                self._state.wait(min(left_s, WATCH_INTERVAL_S))

    def _obituary(self) -> Finished | Failed:
        """The last event of a worker that died without one."""
        run, last = self._run, self._last_progress
        if self._stop_reason:
            return _killed(run, last, self._stop_reason)
        status = self._process.returncode
        died = f"the worker ended with status {status}"
        if time.monotonic() >= self._kill_at_s:
            died = f"{self._kill_reason} and was killed"
        self._stderr.seek(max(0, self._stderr.tell() - STDERR_TAIL_BYTES))
        tail = self._stderr.read().decode(errors="replace").strip()
        return Failed(run.workload, run.gpu, "WorkerDied", f"{died}\n{tail}".strip())


def _killed(run: Run, last: Progress | None, reason: str) -> Finished:
    """What is known of a run whose worker had to be killed after it was told to stop."""
    meter = Meter(run, WORKLOAD_BY_NAME[run.workload].unit, 0.0)
    if last is None:
        return meter.finished(0.0, run.cap_percent, reason)
    if last.uncapped_work_per_s > 0:
        meter.add(last.work, last.work / last.uncapped_work_per_s)
    meter.verified, meter.errors = last.verified, last.errors
    return meter.finished(last.seconds, run.cap_percent, reason)


if sys.platform == "win32":

    def _inheritance(pass_fds: tuple[int, ...]) -> dict[str, Any]:
        """Popen arguments: no console window; pictures have a name, not a descriptor."""
        del pass_fds
        return {"creationflags": subprocess.CREATE_NO_WINDOW}

else:

    def _inheritance(pass_fds: tuple[int, ...]) -> dict[str, Any]:
        """Popen arguments: the descriptor of the pictures."""
        return {"pass_fds": pass_fds}
