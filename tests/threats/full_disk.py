"""The daemon on a disk without any room, in a mount namespace of its own; prints what happened."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

from gpupanel.policy.sources import MachineSource, NoUser, Sources
from gpupanel.policy.trusted_file import Trust
from gpupanel.sampling.store import Store
from gpupanel.service.audit.log import Audit
from gpupanel.service.daemon import Daemon
from gpupanel.service.scope import Scope
from tests.service.audit_chain import Mirror
from tests.service.test_daemon import Caller

POLICY = "schema = 1\nmandatory.mining.max_efficiency_percent = {percent}\n"


def filled(folder: Path) -> None:
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder], check=True)
    with suppress(OSError), (folder / "filler").open("wb", buffering=0) as file:
        while True:
            file.write(b"x" * 4096)


def main(folder: Path) -> None:
    state, policies = folder / "state", folder / "policy.d"
    filled(state)
    policies.mkdir(mode=0o755)
    policy = policies / "50.toml"
    policy.write_text(POLICY.format(percent=50))
    sources = Sources(
        MachineSource((policies,), Trust(base=folder)), NoUser(), state / "policy"
    )  # fmt: skip
    mirror = Mirror()
    audit = Audit(state / "log", mirror)
    scope = Scope(
        "system", sources, state / "history.db", users_dir=state / "users",
        # Where nobody but root writes, and in memory: see paths.machine_journal_file.
        journal_file=folder / "run" / "held.jsonl",
        verdicts_files=(state / "verdicts.1.jsonl", state / "verdicts.jsonl"),
    )  # fmt: skip
    daemon = Daemon(scope, Store(scope.history_file), audit=audit)
    daemon.start()
    caller = Caller(daemon)
    caller.ask("subscribe", topic="snapshots", interval_s=1.0)
    caller.wait_for("snapshot")
    policy.write_text(POLICY.format(percent=25))
    daemon.read_policy()
    caller.wait_for("snapshot")
    told = caller.ask("policy")
    backends = caller.ask("gpus")["backends"]
    caller.close()
    is_holding = daemon._capping.is_holding
    daemon.stop()
    audit.close()
    sys.stdout.write(
        json.dumps(
            {
                "state": told["state"],
                "cap": told["settings"]["mining.max_efficiency_percent"]["value"],
                "codes": [one["code"] for one in told["diagnostics"]],
                "failed": [one["name"] for one in backends if one["state"] == "failed"],
                "audit": audit.problem,
                "mirrored": sorted({one.event.name for one in mirror.told}),
                "is_holding": is_holding,
            }
        )
    )


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        main(Path(name))
        subprocess.run(["umount", Path(name, "state")], check=True)
