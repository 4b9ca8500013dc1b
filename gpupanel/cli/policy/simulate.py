"""``gpupanelctl policy simulate``: what a file would have done to miners that were recorded."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from gpupanel import paths
from gpupanel.cli.exit_codes import ExitCode
from gpupanel.cli.policy.diff import candidate
from gpupanel.cli.policy.report import print_refusal
from gpupanel.cli.text import columns
from gpupanel.model.errors import PolicyInvalid
from gpupanel.policy.faults import printable
from gpupanel.policy.identity import this_user
from gpupanel.policy.replay import MAX_LINE_BYTES, Outcome, read_verdicts, replay

HEADING = ("PID", "EXECUTABLE", "ACTION", "CAP", "RECORDED", "HELD", "GPU TIME", "LOST")


def run(file: Path, verdicts: Path | None, *, as_json: bool) -> int:
    """Replay every record under the policy that the file alone would be."""
    files = [verdicts] if verdicts else _kept()
    try:
        policy = candidate(file, this_user())
        records = [one for path in files for one in read_verdicts(_lines(path), str(path))]
        outcomes = replay(policy, records)
    except PolicyInvalid as refused:
        return print_refusal(refused, as_json=as_json)
    if as_json:
        totals = {"gpu_seconds": _used(outcomes), "lost_gpu_seconds": _lost(outcomes)}
        document = {"processes": [one.as_json() for one in outcomes], "totals": totals}
        print(json.dumps(document, indent=2))
    else:
        _print(outcomes)
    return ExitCode.OK


def _kept() -> list[Path]:
    """What the service wrote, else what the user's agent did; older before newer."""
    for files in (paths.machine_verdicts_files(), paths.user_verdicts_files()):
        try:
            found = [path for path in files if path.exists()]
        except PermissionError:
            raise PermissionError(f"only root may read {files[-1]}: run it as root") from None
        if found:
            print(f"replaying {found[-1]}", file=sys.stderr)
            return found
    return []


def _lines(path: Path) -> Iterator[bytes]:
    """Lines, none of them read further than it takes to see that it is too long."""
    with path.open("rb") as file:
        while line := file.readline(MAX_LINE_BYTES + 1):
            yield line


def _print(outcomes: Sequence[Outcome]) -> None:
    if not outcomes:
        print("nothing was recorded")
        return
    print(columns([HEADING, *(_row(one) for one in outcomes)]))
    print()
    for reason in dict.fromkeys(one.treatment.reason for one in outcomes):
        print(printable(reason))
    used, lost = _used(outcomes), _lost(outcomes)
    print(f"{lost:.1f} of {used:.1f} GPU seconds would not have been mined")


def _row(one: Outcome) -> tuple[str, ...]:
    treatment = one.treatment
    audited = f" (audit: {treatment.would})" if treatment.would != treatment.action else ""
    return (
        str(one.pid),
        printable(one.executable),
        treatment.action + audited,
        f"{treatment.cap_percent} %",
        f"{one.recorded_s:.0f} s",
        f"{one.throttled_s:.1f} s",
        f"{one.gpu_seconds:.1f} s",
        f"{one.lost_gpu_seconds:.1f} s",
    )


def _used(outcomes: Sequence[Outcome]) -> float:
    return round(sum(one.gpu_seconds for one in outcomes), 3)


def _lost(outcomes: Sequence[Outcome]) -> float:
    return round(sum(one.lost_gpu_seconds for one in outcomes), 3)
