"""A journal of our own in namespaces of our own: what it is told, and what it makes of forgeries.

Runs as root in a mount and cgroup namespace (see test_audit_mirror.py); prints what happened.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import socket
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from gpupanel.cli.audit.journal import UNIT, mirrored
from gpupanel.cli.main import main as gpupanelctl
from gpupanel.model.chain import Moment, Record, file_name, seal, unseal
from gpupanel.service.audit.journald import SOCKET, Journald
from gpupanel.service.audit.log import Audit
from gpupanel.service.audit.mirror import told_record

JOURNALD = "/lib/systemd/systemd-journald"
CGROUPS = Path("/sys/fs/cgroup")
SERVICE = CGROUPS / "system.slice" / UNIT
HELD = SERVICE / "held"
NOBODY = 65534


def main(folder: Path) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/run"], check=True)
    subprocess.run(["mount", "-t", "cgroup2", "none", str(CGROUPS)], check=True)
    for made in (SOCKET.parent, Path("/run/log/journal"), HELD):
        made.mkdir(parents=True)
    journald = started_journald()
    try:
        in_child(SERVICE, 0, lambda: write(folder))
        records = [unseal(line) for line in (folder / file_name(1)).read_bytes().splitlines()]
        forged = forged_after(records[-1])
        in_child(HELD, NOBODY, lambda: tell(forged))
        in_child(CGROUPS, 0, lambda: tell(forged))
        sys.stdout.write(json.dumps(seen(folder, records)))
    finally:
        journald.terminate()
        journald.wait()


def started_journald() -> subprocess.Popen[bytes]:
    """Returns when it listens."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready:
        ready.bind("/run/ready")
        process = subprocess.Popen(
            [JOURNALD], env={"NOTIFY_SOCKET": "/run/ready"}, stderr=subprocess.DEVNULL
        )
        ready.settimeout(30)
        while b"READY=1" not in ready.recv(4096):
            pass
    return process


def in_child(group: Path, uid: int, work: Callable[[], None]) -> None:
    """In a control group, as a user; the child stays until the journal has looked at it."""
    done, child_end = socket.socketpair()
    child = os.fork()
    if child == 0:
        done.close()
        # Whatever goes wrong, this is not the parent: it must not go on as if it were.
        code = 1
        try:
            (group / "cgroup.procs").write_text(str(os.getpid()))
            SOCKET.chmod(0o666)
            os.setresuid(uid, uid, uid)
            work()
            child_end.send(b"told")
            child_end.recv(1)
            code = 0
        finally:
            if code:
                traceback.print_exc()
            os._exit(code)
    child_end.close()
    assert done.recv(4) == b"told"
    subprocess.run(["journalctl", "--sync"], check=True)
    done.close()
    assert os.waitpid(child, 0)[1] == 0


def write(folder: Path) -> None:
    mirror = Journald()
    audit = Audit(folder, mirror)
    for number in range(20):
        audit.record("hold.applied", pid=number, name="xm\x1b\nrig", reason="über = | \\")
    audit.close()
    assert audit.problem == "", audit.problem


def tell(forged: Record) -> None:
    mirror = Journald()
    mirror.tell(told_record(forged))
    assert mirror.problem == "", mirror.problem
    mirror.close()


def forged_after(last: Record) -> Record:
    """Says that the file should go on."""
    return seal(last.head._replace(seq=998), Moment(1.9e9, 1.0), "hold.released", "notice", {})


def verified(folder: Path) -> tuple[int, str]:
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        code = gpupanelctl(
            ["audit", "verify", "--folder", str(folder), "--against-journal", "--json"]
        )
    return code, out.getvalue()


def seen(folder: Path, records: list[Record]) -> dict[str, object]:
    everything = journal_entries("GPUPANEL_EVENT=hold.applied")
    whole = verified(folder)
    path = folder / file_name(1)
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-5]))
    cut = verified(folder)
    return {
        "mirrored": [one.seq for one in mirrored(None)],
        "hashes_agree": [one.hash for one in mirrored(None)] == [one.hash for one in records],
        "lines_agree": [one["GPUPANEL_RECORD"] for one in everything]
        == [one.line for one in records],
        "first": everything[0],
        "forged": [
            (one.get("_UID"), one.get("_SYSTEMD_UNIT"))
            for one in journal_entries("GPUPANEL_EVENT=hold.released")
        ],
        "whole": [whole[0], json.loads(whole[1])["findings"]],
        "cut": [cut[0], json.loads(cut[1])["findings"]],
    }


def journal_entries(match: str) -> list[dict[str, str]]:
    answer = subprocess.run(
        ["journalctl", "--system", "--output=json", "--no-pager", match],
        capture_output=True, check=True,
    )  # fmt: skip
    return [json.loads(line) for line in answer.stdout.splitlines()]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
