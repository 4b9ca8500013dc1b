# ruff: noqa: E402 - what follows exists on Linux alone, and mypy checks it there alone
"""What the dead-man does: listens on stdin, and lets everybody go at its end or when it is silent.

A line is a beat if it is empty, else ``{"hold": name, "trace": ...}`` or ``{"drop": name}``. After
silence processes stay where they are, for the parent may have slept only; at the end everything is
undone. Imports little, holds no lock, and needs nobody.
"""

from __future__ import annotations

import sys

assert sys.platform == "linux"

import json
import os
import select
import signal
from collections.abc import Callable
from time import monotonic

from gpupanel.enforcement.cell import Trace
from gpupanel.enforcement.linux.release import restore, thaw
from gpupanel.model.errors import HoldFailed

SILENCE_S = 2.0
_BLOCK_BYTES = 65_536

_SHRUGGED_OFF = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""They mean the parent, whose end is what we wait for."""


def main() -> int:
    """Entry of ``gpupanel deadman``; returns the exit status."""
    for number in _SHRUGGED_OFF:
        signal.signal(number, signal.SIG_IGN)
    Watch(stdin=0).run()
    return 0


class Watch:
    """One parent, from its first line to the end of the pipe."""

    def __init__(self, stdin: int, silence_s: float = SILENCE_S) -> None:
        self._stdin = stdin
        self._silence_s = silence_s
        self._held: dict[str, Trace] = {}
        self._rest = b""

    def run(self) -> None:
        """Returns after the pipe's end, when everybody was let go of."""
        poll = select.poll()
        poll.register(self._stdin, select.POLLIN)
        heard_s = monotonic()
        while True:
            left_s = heard_s + self._silence_s - monotonic()
            if left_s <= 0:
                self._undo(thaw)
                heard_s = monotonic()
            elif poll.poll(left_s * 1000):
                block = os.read(self._stdin, _BLOCK_BYTES)
                if not block:
                    break
                self._hear(block)
                heard_s = monotonic()
        self._undo(restore)

    def _hear(self, block: bytes) -> None:
        *lines, self._rest = (self._rest + block).split(b"\n")
        for line in filter(None, lines):
            message = json.loads(line)
            if "hold" in message:
                self._held[message["hold"]] = message["trace"]
            else:
                self._held.pop(message["drop"], None)

    def _undo(self, let_go: Callable[[Trace], None]) -> None:
        for name, trace in self._held.items():
            try:
                let_go(trace)
            except (HoldFailed, OSError) as reason:
                sys.stderr.write(f"gpupanel deadman: {name}: {reason}\n")
