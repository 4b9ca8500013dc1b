"""What the system's journal was told of the audit log, by the service and nobody else.

Anybody can write an entry that looks like ours. But the journal itself adds who sent it, and only
entries of root in the service's unit count. Both are asked for: processes that are held may be
moved below the service's unit, and they are not root's.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from gpupanel.cli.audit.check import Finding, Kind, Outcome

JOURNALCTL = "/usr/bin/journalctl"
UNIT = "gpupaneld.service"
TRUSTED = (f"_SYSTEMD_UNIT={UNIT}", "_UID=0")
"""Fields that the journal adds and no sender can."""

_FIELDS = "GPUPANEL_SEQ,GPUPANEL_HASH,_SYSTEMD_UNIT,_UID"


class Mirrored(NamedTuple):
    """One record as the journal knows it."""

    seq: int
    hash: str


def mirrored(since_unix_s: float | None) -> list[Mirrored]:
    """What the journal was told, since a time.

    Raises:
        OSError: It cannot be read, or knows nothing of the service.
    """
    command = [JOURNALCTL, "--system", "--no-pager", "--output=json", f"--output-fields={_FIELDS}"]
    if since_unix_s is not None:
        command.append(f"--since=@{since_unix_s:.0f}")
    try:
        with subprocess.Popen([*command, *TRUSTED], stdout=subprocess.PIPE) as journal:
            assert journal.stdout is not None
            known = list(trusted(journal.stdout))
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no {JOURNALCTL}: this system keeps no journal") from None
    if journal.returncode:
        raise OSError(f"{JOURNALCTL} failed with status {journal.returncode}")
    if not known:
        raise OSError(
            f"the journal knows no audit record of {UNIT}: ask as the administrator, "
            "or it was not kept"
        )
    return known


def trusted(entries: Iterable[bytes]) -> Iterator[Mirrored]:
    """The records among entries of ``journalctl --output=json``; all others are left out."""
    for entry in entries:
        try:
            fields = json.loads(entry)
            if fields["_UID"] == "0" and fields["_SYSTEMD_UNIT"] == UNIT:
                yield Mirrored(int(fields["GPUPANEL_SEQ"]), str(fields["GPUPANEL_HASH"]))
        except (ValueError, TypeError, KeyError, RecursionError):
            # The service's other messages, and those of its unit's start and end.
            continue


def compared(outcome: Outcome, known: Iterable[Mirrored], newest_file: Path) -> list[Finding]:
    """Where the files disagree with the journal; what rotation removed is not missed."""
    first = outcome.first.seq if outcome.first else 1
    last = outcome.last.seq if outcome.last else 0
    changed = sorted(
        one.seq
        for one in known
        if first <= one.seq <= last and outcome.by_seq.get(one.seq) != one.hash
    )
    newest = max(known, key=lambda one: one.seq)
    findings = [
        Finding(Kind.EDITED, newest_file.parent, 0, seq, "the journal was told of another one")
        for seq in changed
    ]
    if newest.seq > last:
        text = f"the journal knows the records up to {newest.seq}, the files end at {last}"
        findings.append(Finding(Kind.TRUNCATED, newest_file, 0, newest.seq, text))
    return findings
