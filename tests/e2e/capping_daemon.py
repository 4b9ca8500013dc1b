"""The daemon in system scope on files of a test: ``python -m tests.e2e.capping_daemon FOLDER UID``.

Policy is read from ``FOLDER/policy.d``. Only processes of UID are held: a test acts on what it
made, whoever else mines on the machine. Each line on stdin is answered by the holds, as one line
of JSON; the end of stdin is the end of the daemon.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from gpupanel import children
from gpupanel.policy.sources import MachineSource, Sources, UserSource
from gpupanel.policy.trusted_file import Trust
from gpupanel.sampling.store import Store
from gpupanel.service.daemon import Daemon
from gpupanel.service.scope import Scope


def main(folder: Path, uid: int) -> None:
    children.die_with_parent()
    machine = MachineSource((folder / "policy.d",), Trust(os.geteuid(), folder))
    sources = Sources(machine, UserSource(folder / "none"), folder / "state")
    scope = Scope(
        "system", sources, folder / "history.db", users_dir=folder / "users",
        journal_file=folder / "holds" / "held.jsonl", acts_on_uid=uid,
        cells=f"test-{uid}",
    )  # fmt: skip
    daemon = Daemon(scope, Store(scope.history_file))
    daemon.start()
    try:
        for _ in sys.stdin:
            holds = daemon._holds
            sys.stdout.write(json.dumps([one.as_json() for one in holds]) + "\n")
            sys.stdout.flush()
    finally:
        daemon.stop()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
