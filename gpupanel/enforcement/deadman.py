"""The dead-man: a child that lets everybody go when whoever holds them dies or hangs.

This is its parent's side; what the child does is in ``deadman_child``. The child is not killed with
its parent, and signals to the parent's group do not reach it. Linux only: elsewhere the system lets
go by itself.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from gpupanel import children
from gpupanel.enforcement.cell import Trace
from gpupanel.model.errors import HoldFailed

BEAT_S = 0.5
"""Between two signs of life; the child waits for four of them."""

_PATIENCE_S = 0.25
"""With a child that does not read; shorter than anybody may be held by mistake."""

_START_AGAIN_S = 1.0
_GRACE_S = 2.0


class DeadMan:
    """Started before the first hold; belongs to one thread, which beats its heart.

    A child that dies is replaced, and the fault is told. While there is none the journal alone
    remembers what is held.
    """

    def __init__(self, on_fault: Callable[[str], None]) -> None:
        """Start nothing yet.

        Args:
            on_fault: Told one sentence when the child died, hung, or could not be started.
        """
        self._on_fault = on_fault
        self._held: dict[str, Trace] = {}
        self._child: subprocess.Popen[bytes] | None = None
        self._next_beat_s = 0.0
        self._next_start_s = 0.0

    @property
    def pid(self) -> int | None:
        """Of the child; None while there is none."""
        return self._child.pid if self._child else None

    def start(self) -> None:
        """Start the child.

        Raises:
            HoldFailed: It cannot be started.
        """
        try:
            self._child = subprocess.Popen(
                children.command("deadman"),
                env=_environment(),
                cwd="/",
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError as reason:
            raise HoldFailed(f"the dead-man cannot be started: {reason}") from None
        _open(self._pipe())

    def hold(self, name: str, trace: Trace) -> None:
        """Before the first freeze of a cell, and whenever its trace has changed.

        Raises:
            HoldFailed: There is no dead-man and none can be started: nothing may be held.
        """
        self._held[name] = trace
        if not self._tell({"hold": name, "trace": trace}):
            self._replace_child()

    def drop(self, name: str) -> None:
        """After everybody in a cell was let go of."""
        if self._held.pop(name, None) is not None and not self._tell({"drop": name}):
            self._revive()

    def beat(self) -> None:
        """Call it in each round: the child lets everybody go after two seconds of silence."""
        now_s = time.monotonic()
        if now_s < self._next_beat_s:
            return
        self._next_beat_s = now_s + BEAT_S
        if not self._tell(None):
            self._revive()

    def close(self) -> None:
        """End the child, which lets go of whatever is still held."""
        child, self._child = self._child, None
        if child is None:
            return
        assert child.stdin is not None
        child.stdin.close()
        try:
            child.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()

    def _revive(self) -> None:
        """Not more than once a second: starting it costs more than missing it."""
        now_s = time.monotonic()
        if now_s < self._next_start_s:
            return
        self._next_start_s = now_s + _START_AGAIN_S
        try:
            self._replace_child()
        except HoldFailed as reason:
            self._on_fault(str(reason))

    def _replace_child(self) -> None:
        if self._child is not None:
            self._on_fault(f"the dead-man {_end(self._child)}; another one takes its place")
            self._child.kill()
            self.close()
        self.start()
        for name, trace in self._held.items():
            if not self._tell({"hold": name, "trace": trace}):
                raise HoldFailed("the dead-man ends as soon as it is started")

    def _tell(self, document: dict[str, Any] | None) -> bool:
        """One line, an empty one for a beat; False where nobody reads it."""
        if self._child is None or self._child.poll() is not None:
            return False
        line = b"" if document is None else json.dumps(document).encode()
        return _sent(self._pipe(), line + b"\n")

    def _pipe(self) -> int:
        assert self._child is not None
        assert self._child.stdin is not None
        return self._child.stdin.fileno()


if sys.platform != "win32":

    def _open(pipe: int) -> None:
        """A child that hangs must not hang us."""
        os.set_blocking(pipe, False)

    def _sent(pipe: int, text: bytes) -> bool:
        deadline_s = time.monotonic() + _PATIENCE_S
        poll = select.poll()
        poll.register(pipe, select.POLLOUT)
        while text:
            try:
                text = text[os.write(pipe, text) :]
            except BlockingIOError:
                left_s = deadline_s - time.monotonic()
                if left_s <= 0 or not poll.poll(left_s * 1000):
                    return False
            except BrokenPipeError:
                return False
        return True

else:

    def _open(pipe: int) -> None:
        """There is no dead-man on Windows."""

    def _sent(pipe: int, text: bytes) -> bool:
        """There is no dead-man on Windows."""
        del pipe, text
        return False


def _end(child: subprocess.Popen[bytes]) -> str:
    status = child.poll()
    return "hangs" if status is None else f"ended with status {status}"


def _environment() -> dict[str, str] | None:
    """None of ours where we ourselves take nothing from it."""
    return {"PATH": "/usr/bin:/bin"} if sys.flags.isolated else None
