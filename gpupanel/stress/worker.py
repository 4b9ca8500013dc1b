"""The worker process: one load on one OpenCL device, events on stdout, orders on stdin.

A driver or a compiler may crash, hang or abort in here; nobody else is hurt. The parent is
``stress/runner.py``; what happens to the load is in ``stress/session.py``.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from typing import IO

from gpupanel import children
from gpupanel.model.errors import GpupanelError
from gpupanel.model.workload import Event, Failed, event_as_json
from gpupanel.stress.catalog import WORKLOAD_BY_NAME
from gpupanel.stress.meter import Meter
from gpupanel.stress.orders import Assignment, Orders
from gpupanel.stress.session import Session

PRIORITY = 5
"""nice value: the desktop and the agent go first."""


def main() -> int:
    """Entry of ``gpupanel worker``; returns the exit status."""
    children.die_with_parent()
    stdin = sys.stdin.buffer
    output = Output.take_stdout()
    line = stdin.readline()
    if not line:
        return 1
    assignment = Assignment.from_line(line)
    _lower_priority()
    output.assignment = assignment
    orders = Orders(stdin, assignment.run.cap_percent, output.end_now)
    try:
        output.send(Session(assignment, orders, output).execute())
    except GpupanelError as error:
        run = assignment.run
        output.send(Failed(run.workload, run.gpu, type(error).__name__, str(error)))
    # Drivers' exit handlers may take seconds, and nothing of ours is left to save.
    os._exit(0)


class Output:
    """Events on the stdout that the parent reads; whatever libraries print goes to stderr."""

    def __init__(self, stream: IO[str]) -> None:
        self.assignment: Assignment | None = None
        self.meter: Meter | None = None
        self._stream = stream
        self._lock = threading.Lock()

    @classmethod
    def take_stdout(cls) -> Output:
        """Keep stdout for events alone."""
        stream = os.fdopen(os.dup(1), "w", encoding="utf-8", newline="\n")
        os.dup2(2, 1)
        return cls(stream)

    def send(self, event: Event) -> None:
        """Write one line."""
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


def _lower_priority() -> None:
    if sys.platform == "win32":
        import psutil

        psutil.Process().nice(psutil.BELOW_NORMAL_PRIORITY_CLASS)
    else:
        os.nice(PRIORITY)
