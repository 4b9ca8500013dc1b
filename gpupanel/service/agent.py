"""The agent: the daemon in user scope, a child of the window or of gpupanelctl.

Speaks the service's protocol over its stdin and stdout. It may crash in a vendor's library; its
parent starts another. It ends with its parent.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from gpupanel import children, paths
from gpupanel.backends.registry import Opened
from gpupanel.backends.replay import ReplayBackend
from gpupanel.ipc.transport import PipeStream, parent
from gpupanel.model.errors import BackendError
from gpupanel.sampling.store import Store
from gpupanel.service.audit.log import Audit
from gpupanel.service.daemon import Daemon
from gpupanel.service.scope import looking_scope, user_scope


def main(arguments: list[str]) -> int:
    """Entry of ``gpupanel agent``; returns the exit status."""
    parser = argparse.ArgumentParser("gpupanel agent")
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--replay", type=Path, metavar="FILE", help="play a recording")
    source.add_argument("--forget", action="store_true", help="write no history")
    options = parser.parse_args(arguments)
    children.die_with_parent()
    # Whatever a vendor's library prints goes to stderr; stdout belongs to the protocol.
    writer = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    try:
        daemon = _replaying(options.replay) if options.replay else _watching(options.forget)
        daemon.start()
    except BackendError as error:
        sys.stderr.write(f"gpupanel: {error}\n")
        return 1
    daemon.serve(PipeStream(sys.stdin.buffer, writer), parent())
    daemon.stop()
    return 0


def _watching(forget: bool) -> Daemon:
    """This machine, remembered in the user's history unless a command only wants a look."""
    if forget:
        return Daemon(looking_scope())
    scope = user_scope()
    audit = Audit(paths.user_audit_dir(), None)
    return Daemon(scope, Store(scope.history_file), audit=audit)


def _replaying(recording: Path) -> Daemon:
    """A recording in place of this machine; none of it enters the history.

    Raises:
        BackendError: The recording cannot be played.
    """
    backend = ReplayBackend(recording)
    result = backend.probe()
    opened = Opened(backends=(backend,), unopened=(), results=(result,))
    return Daemon(looking_scope(), find_gpus=lambda: opened)
