"""The agent: the daemon in user scope, a child of the window or of gpupanelctl.

Speaks the service's protocol over its stdin and stdout. It may crash in a vendor's library; its
parent starts another. It ends with its parent.
"""

from __future__ import annotations

import os
import sys

from gpupanel import children
from gpupanel.policy.sources import Sources
from gpupanel.service.daemon import Daemon


def main(arguments: list[str]) -> int:
    """Entry of ``gpupanel agent``; returns the exit status."""
    if arguments:
        sys.stderr.write("gpupanel agent takes no arguments\n")
        return 2
    children.die_with_parent()
    # Whatever a vendor's library prints goes to stderr; stdout belongs to the protocol.
    writer = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    daemon = Daemon("user", Sources.installed())
    daemon.start()
    daemon.serve(sys.stdin.buffer, writer)
    daemon.stop()
    return 0
