"""What the parent says to its worker, and what happens when the parent is gone.

The first line on stdin is the run; later lines are orders. The end of stdin means that the parent
died: the process ends at once, whatever a kernel is doing.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import IO, Any

from gpupanel.model.workload import Run

STOP_GRACE_S = 0.12
"""After an order to stop, the measuring loop has this long before the process ends anyway."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """The first line: what to run and where.

    Attributes:
        pci_bus_id: Of the GPU, to find its OpenCL device; None for the processor.
        frames: Reference of a FrameMemory that wants pictures; None if nobody looks.
        chunk_s: Device seconds that one launch should take.
        seed: Makes the run's data and nonces repeatable.
    """

    run: Run
    pci_bus_id: str | None
    frames: str | None
    chunk_s: float
    seed: int

    def as_line(self) -> bytes:
        """One line for the worker's stdin."""
        return json.dumps(asdict(self)).encode() + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> Assignment:
        """Inverse of ``as_line``.

        Raises:
            ValueError, KeyError, TypeError: Not an assignment.
        """
        document: dict[str, Any] = json.loads(line)
        return cls(**{**document, "run": Run(**document["run"])})


class Orders:
    """Listens to the parent on a thread of its own.

    Attributes:
        cap_percent: The newest cap; the measuring loop reads it before each launch.
    """

    def __init__(
        self, stdin: IO[bytes], cap_percent: int, on_overdue: Callable[[str], None]
    ) -> None:
        self.cap_percent = cap_percent
        self._stdin = stdin
        self._on_overdue = on_overdue
        self._wake = threading.Event()
        self._reason = ""
        threading.Thread(target=self._listen, name="orders", daemon=True).start()

    @property
    def stop_reason(self) -> str:
        """Why the parent wants an end; empty while it does not."""
        return self._reason

    def wait(self, timeout_s: float) -> None:
        """Sleep, but no longer than until the parent wants an end or somebody calls ``wake``."""
        self._wake.wait(timeout_s)
        self._wake.clear()

    def wake(self) -> None:
        """End a ``wait``, or the next one; may be called from any thread."""
        self._wake.set()

    def _listen(self) -> None:
        for line in iter(self._stdin.readline, b""):
            order = json.loads(line)
            if order["order"] == "cap":
                self.cap_percent = order["percent"]
            elif order["order"] == "stop":
                self._reason = order["reason"]
                self.wake()
                threading.Thread(target=self._end_when_overdue, daemon=True).start()
        # Not sys.exit: the main thread may sit in a kernel or a compiler for seconds.
        os._exit(1)

    def _end_when_overdue(self) -> None:
        time.sleep(STOP_GRACE_S)
        self._on_overdue(self._reason)
