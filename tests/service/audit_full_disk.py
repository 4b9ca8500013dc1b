"""An audit log on a disk of 64 KiB, in a mount namespace of its own; prints what happened."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from gpupanel.model.chain import unseal
from gpupanel.service.audit.log import RETRY_S, Audit
from tests.service.audit_chain import Clock, Mirror, broken, checked

RECORDED = 1500


def mount(folder: Path, options: str) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], check=True)


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        mount(folder, "size=64k")
        clock, mirror = Clock(), Mirror()
        audit = Audit(folder, mirror, clock, most_waiting=300)
        for number in range(RECORDED - 1):
            audit.record("policy.loaded", generation=number, reason="x" * 200)
        mirror.wait_for(lambda told: bool(told) and told[-1].record is None)
        problem_full = audit.problem
        mount(folder, "remount,size=10m")
        clock.go_on(RETRY_S)
        audit.record("service.stopped")
        audit.close()
        records = [unseal(one) for one in (folder / "audit-000001.jsonl").read_bytes().splitlines()]
        seen = {
            "problem_full": problem_full,
            "problem_after": audit.problem,
            "unnumbered": sum(told.record is None for told in mirror.told),
            "recorded": RECORDED,
            "kept": sum(one.event != "audit.gap" for one in records),
            "gap": next(one.fields for one in records if one.event == "audit.gap"),
            "broken": broken(checked(folder)),
            "is_consecutive": [one.seq for one in records] == list(range(1, len(records) + 1)),
        }
        sys.stdout.write(json.dumps(seen))
        subprocess.run(["umount", str(folder)], check=True)


if __name__ == "__main__":
    main()
