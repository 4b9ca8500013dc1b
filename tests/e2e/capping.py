"""A capping daemon beside a miner that counts for itself: what is left of its rate, and how even.

The rate comes from the miner's own counter, before, while and after it is held. What it does
uncapped is measured on both sides of each capped stretch, because a machine that is shared is
faster now and slower then.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, Self

from tests.enforcement.miner.programs import Program

UID = 61_000 + os.getpid() % 4_000
"""Nobody's: what runs under it was started by this run of the tests."""

DAEMON = (sys.executable, "-P", "-m", "tests.e2e.capping_daemon")

_PATIENCE_S = 40.0
_LOOK_S = 0.1
_POLICY = """\
schema = 1
[mandatory.mining]
enforcement = "enforce"
action = "throttle"
grace_seconds = 0
max_efficiency_percent = {percent}
"""


class CappingDaemon:
    """``capping_daemon`` as a child. A context manager."""

    def __init__(
        self, folder: Path, command: Sequence[str] = DAEMON, more: Sequence[str] = ()
    ) -> None:
        """Start it, without a cap; ``more`` comes after its folder and its user."""
        self._policy = folder / "policy.d/50-cap.toml"
        self._policy.parent.mkdir(parents=True)
        folder.chmod(0o755)
        self.set_cap(100)
        self._process = subprocess.Popen(
            [*command, str(folder), str(UID), *more],
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate(timeout=_PATIENCE_S)

    @property
    def pid(self) -> int:
        return self._process.pid

    def set_cap(self, percent: int) -> None:
        """As an administrator's editor does: the new file takes the place of the old one."""
        new = self._policy.with_suffix(".new")
        new.write_text(_POLICY.format(percent=percent))
        new.chmod(0o644)
        new.replace(self._policy)

    def holds(self) -> list[dict[str, Any]]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("holds\n")
        self._process.stdin.flush()
        answer: list[dict[str, Any]] = json.loads(self._process.stdout.readline())
        return answer

    def wait_until(self, is_so: Callable[[list[dict[str, Any]]], bool]) -> list[dict[str, Any]]:
        """Until its holds are as ``is_so`` wants them."""
        give_up_s = time.monotonic() + _PATIENCE_S
        while not is_so(holds := self.holds()):
            assert time.monotonic() < give_up_s, holds
            _pass(_LOOK_S)
        return holds


@dataclass(frozen=True, slots=True)
class Figures:
    """What a cap left of a rate.

    Attributes:
        uncapped_per_s: Of each stretch without a cap.
        capped_per_s: Of each part of the stretches with one.
    """

    name: str
    percent: int
    uncapped_per_s: tuple[float, ...]
    capped_per_s: tuple[float, ...]

    @property
    def efficiency_percent(self) -> float:
        return 100 * fmean(self.capped_per_s) / fmean(self.uncapped_per_s)

    def __str__(self) -> str:
        """One row of a table."""
        uncapped = fmean(self.uncapped_per_s)
        parts = [100 * rate / uncapped for rate in self.capped_per_s]
        drift = 100 * (max(self.uncapped_per_s) - min(self.uncapped_per_s)) / uncapped
        return (
            f"{self.name:<28} cap {self.percent:3d} %: {self.efficiency_percent:6.2f} % "
            f"(parts {min(parts):5.1f} to {max(parts):5.1f}), uncapped {uncapped / 1e6:7.2f} M/s, "
            f"which drifted by {drift:.0f} %"
        )


def rate_per_s(program: Program, seconds: float) -> float:
    """Of its own counter, over so long from now."""
    began_s, before = time.monotonic(), program.work
    _pass(seconds)
    return (program.work - before) / (time.monotonic() - began_s)


def measured(
    name: str,
    daemon: CappingDaemon,
    program: Program,
    percent: int,
    *,
    window_s: float,
    pairs: int = 1,
    parts: int = 4,
) -> Figures:
    """Uncapped, capped, uncapped, and so on: each capped stretch between two others.

    Args:
        window_s: Of one capped stretch; one without a cap is half as long.
        parts: Of a capped stretch, to see how even it is.
    """
    uncapped, capped = [rate_per_s(program, window_s / 2)], []
    for _ in range(pairs):
        daemon.set_cap(percent)
        daemon.wait_until(lambda holds: any(is_steady(one, percent) for one in holds))
        capped += [rate_per_s(program, window_s / parts) for _ in range(parts)]
        daemon.set_cap(100)
        daemon.wait_until(lambda holds: not holds)
        uncapped.append(rate_per_s(program, window_s / 2))
    figures = Figures(name, percent, tuple(uncapped), tuple(capped))
    sys.stdout.write(f"\n{figures}\n")
    return figures


def is_steady(hold: dict[str, Any], percent: int) -> bool:
    """It acts: what its processes do uncapped is known."""
    is_learning = "uncapped" in hold["efficiency_unavailable"] or not hold["means"]
    return hold["cap_percent"] == percent and not is_learning


def _pass(seconds: float) -> None:
    threading.Event().wait(seconds)
