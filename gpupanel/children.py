"""Child processes of this installation: how one is started, and that none outlives its parent."""

from __future__ import annotations

import os
import signal
import sys


def command(role: str) -> list[str]:
    """The command line that starts another process of this very installation.

    ``-P`` keeps the current directory off the module path: a folder that a user happens to stand
    in must not decide what is imported. Where we take nothing from the environment either (``-I``,
    as the service), nor does a child.
    """
    if getattr(sys, "frozen", False):
        return [sys.executable, role]
    return [sys.executable, "-I" if sys.flags.isolated else "-P", "-m", "gpupanel", role]


def die_with_parent() -> None:
    """Called by a child at its start: the kernel kills it when its parent dies (Linux).

    Elsewhere, and for a parent that closes the pipe on purpose, the end of stdin does it, as soon
    as Python gets a turn. Ctrl+C in a terminal reaches the whole group; it is the parent's to
    handle.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        import ctypes

        parent = os.getppid()
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)
        if os.getppid() != parent:  # it died before prctl took effect
            os._exit(1)
