"""``gpupaneld``: the service of this machine, and what lets go of everything when it has died.

systemd starts both (packaging/linux/gpupaneld.service). The second imports little, so that it runs
also where the first cannot.
"""

from __future__ import annotations

import argparse
import os
import sys

from gpupanel import __version__, paths
from gpupanel.enforcement import restore
from gpupanel.enforcement.journal import Journal
from gpupanel.model.errors import HoldFailed

_DENIED = 8
"""Exit status; the same number as gpupanelctl's."""


def main(arguments: list[str]) -> int:
    """Entry of ``gpupaneld``; returns the exit status."""
    parser = argparse.ArgumentParser("gpupaneld", description="Cap mining on this machine.")
    parser.add_argument("--version", action="version", version=f"gpupaneld {__version__}")
    parser.add_argument(
        "verb", nargs="?", choices=["restore"], help="let go of what a service that died still held"
    )
    verb = parser.parse_args(arguments).verb
    if sys.platform != "win32" and os.geteuid() != 0:
        sys.stderr.write("gpupaneld: only root may run the service: systemctl start gpupaneld\n")
        return _DENIED
    if verb == "restore":
        return _restore()
    return _serve()


def let_go(journal: Journal) -> tuple[str, ...]:
    """Let everybody run, after a service that ended in whatever way.

    What was held stays noted: the next service goes on with it, and letting go twice is well.

    Returns:
        One sentence for each hold that may still last.
    """
    faults = [journal.problem] if journal.problem else []
    for entry in journal.entries():
        try:
            restore.restore(entry.trace)
        except HoldFailed as reason:
            faults.append(f"{entry.name}: {reason}")
    return (*faults, *restore.restore_stale().faults)


if sys.platform == "win32":

    def _serve() -> int:
        from gpupanel.service import win32_service

        return win32_service.main()

    def _restore() -> int:
        """Windows lets go by itself when whoever holds has ended."""
        return 0

else:

    def _serve() -> int:
        from gpupanel.service.overseer.systemd import Systemd, signals
        from gpupanel.service.serving import run

        return run(Systemd.from_environment(), signals())

    def _restore() -> int:
        faults = let_go(Journal(paths.machine_journal_file(), restore.boot_id()))
        for fault in faults:
            sys.stderr.write(f"gpupaneld: {fault}\n")
        return 1 if faults else 0
