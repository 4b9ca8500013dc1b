"""Holds a process as the service does, writes it down, and ends without letting go.

Run by the installed interpreter, as root: ``holder.py PID``.
"""

from __future__ import annotations

import sys

from gpupanel import paths
from gpupanel.enforcement.freezer_linux import LinuxFreezer
from gpupanel.enforcement.journal import Journal
from gpupanel.enforcement.linux import process
from gpupanel.enforcement.restore import boot_id

NAME = "test"

if __name__ == "__main__":
    victim = process.read(int(sys.argv[1]))
    assert victim is not None
    cell = LinuxFreezer().cell(NAME)
    cell.add([victim.key])
    Journal(paths.machine_journal_file(), boot_id()).write(NAME, cell.trace, {})
    cell.freeze()
