"""``gpupanelctl processes``: who uses the GPUs, how much, who mines and why, and who is held."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from math import floor
from time import time
from typing import Any

from gpupanel.cli.exit_codes import ExitCode
from gpupanel.cli.holds import short_text
from gpupanel.cli.text import columns
from gpupanel.ipc.client import Client
from gpupanel.model.gpu import ProcessSample, Reading, Unavailable
from gpupanel.model.hold import Hold
from gpupanel.model.verdict import Verdict

UNKNOWN = "–"
HEADING = ("GPU", "PID", "USER", "NAME", "TYPE", "CLASS", "VERDICT", "HELD", "GPU%", "MEMORY")
REASONS = ("WEIGHT", "FAMILY", "READ FROM", "EVIDENCE")
MIB = 1 << 20

LOOKS_FOR_RATES = 2
"""The first look at a counter says nothing of its rate."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--json", action="store_true", help="print one JSON document a look")
    parser.add_argument("--gpu", metavar="ID", help="only the processes of this GPU")
    parser.add_argument("--interval", type=_interval_s, default=1.0, metavar="SECONDS")
    chosen = parser.add_mutually_exclusive_group()
    chosen.add_argument("--watch", action="store_true", help="keep printing")
    chosen.add_argument(
        "--explain", type=int, metavar="PID", help="print why a process is thought to mine or not"
    )
    chosen.add_argument(
        "--not-mining", type=int, metavar="PID",
        help="say that a program of yours does not mine: it is let go and remembered by its "
        "content, if policy lets users say so",
    )  # fmt: skip


def main(arguments: argparse.Namespace) -> int:
    """Print what was used over one interval, or go on with the next ones."""
    with Client() as client:
        client.call("subscribe", {"topic": "processes", "interval_s": arguments.interval})
        for look, (_, params) in enumerate(client.notifications(), start=1):
            if look < LOOKS_FOR_RATES:
                continue
            if arguments.explain is not None:
                return _explain(client, params, arguments)
            if arguments.not_mining is not None:
                return _object(client, params, arguments)
            _print({**params, **client.call("holds", {})}, arguments)
            for reason in params.get("hidden", ()):
                print(reason, file=sys.stderr)
            if not arguments.watch:
                break
    return ExitCode.OK


def _explain(client: Client, params: Mapping[str, Any], arguments: argparse.Namespace) -> ExitCode:
    """The verdict on one process with its evidence, line by line."""
    pid = arguments.explain
    entry = _entry_of(pid, params)
    if entry is None:
        return ExitCode.NOT_WELL
    asked = {"pid": pid, "started": entry["started"]}
    document = client.call("explain", asked)["judgement"]
    if arguments.json:
        print(json.dumps({"pid": pid, "name": entry["name"], "judgement": document}))
    elif document is None:
        print(f"process {pid} did no work on a GPU yet, so nobody looked into it")
    else:
        print(_explanation(ProcessSample.from_json(entry), Verdict.from_json(document)))
    return ExitCode.OK


def _entry_of(pid: int, params: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """One of the processes that were told; None, and said so, where it is not among them."""
    found: Mapping[str, Any] | None = next(
        (entry for entry in params["processes"] if entry["pid"] == pid), None
    )
    if found is None:
        print(f"gpupanelctl: process {pid} uses no GPU that can be seen", file=sys.stderr)
    return found


def _object(client: Client, params: Mapping[str, Any], arguments: argparse.Namespace) -> ExitCode:
    """Give the user's word on one program; a refusal comes with its reason."""
    pid = arguments.not_mining
    entry = _entry_of(pid, params)
    if entry is None:
        return ExitCode.NOT_WELL
    client.call("object", {"pid": pid, "started": entry["started"]})
    if arguments.json:
        print(json.dumps({"pid": pid, "name": entry["name"], "excused": True}))
    else:
        print(
            f"{printable(entry['name'])} (pid {pid}) is remembered as a program that does not mine"
        )
    return ExitCode.OK


def _explanation(sample: ProcessSample, verdict: Verdict) -> str:
    head = (
        f"{printable(sample.name)} (pid {sample.pid}): {verdict.standing.value}, "
        f"class {verdict.process_class.value}, probability of mining {_cut(verdict.posterior):.4f}"
    )
    lines = [head]
    if verdict.protected:
        lines.append(f"never held: {printable(verdict.protected)}")
    rows = [
        (f"{line.weight_nats:+.1f}", line.family.value, line.source.value, printable(line.text))
        for line in verdict.evidence
    ]
    lines.append(columns([REASONS, *rows]) if rows else "nothing speaks for mining or against it")
    return "\n".join(lines)


def _cut(posterior: float) -> float:
    """To four digits, and never up: only what is certain is 1."""
    return floor(posterior * 10_000) / 10_000


def _print(params: Mapping[str, Any], arguments: argparse.Namespace) -> None:
    entries = [entry for entry in params["processes"] if arguments.gpu in (None, entry["gpu"])]
    if arguments.json:
        print(json.dumps({"processes": entries, "holds": params["holds"]}), flush=True)
        return
    samples = [ProcessSample.from_json(entry) for entry in entries]
    holds = [Hold.from_json(one) for one in params["holds"]]
    print(_table(samples, holds) if samples else "no process uses a GPU", flush=True)


def _table(samples: Sequence[ProcessSample], holds: Sequence[Hold]) -> str:
    """The busiest first, GPU by GPU."""
    now_s = time()
    held = {(hold.pid, hold.started): short_text(hold, now_s) for hold in holds}
    ordered = sorted(samples, key=lambda sample: (sample.gpu_id, -_rank(sample), sample.pid))
    rows = (_row(sample, held.get((sample.pid, sample.started), UNKNOWN)) for sample in ordered)
    return columns([HEADING, *rows])


def _rank(sample: ProcessSample) -> float:
    busy = sample.utilization_percent
    return -1.0 if isinstance(busy, Unavailable) else busy


def _row(sample: ProcessSample, held: str) -> tuple[str, ...]:
    return (
        sample.gpu_id,
        str(sample.pid),
        sample.user or UNKNOWN,
        printable(sample.name),
        sample.kind.value,
        sample.verdict.process_class.value if sample.verdict else UNKNOWN,
        sample.verdict.standing.value if sample.verdict else UNKNOWN,
        held,
        _text(sample.utilization_percent, 1, "{:.0f} %"),
        _text(sample.memory_used_bytes, MIB, "{:.0f} MiB"),
    )


def _text(reading: Reading, unit: int, form: str) -> str:
    return UNKNOWN if isinstance(reading, Unavailable) else form.format(reading / unit)


def printable(name: str) -> str:
    """A process chooses its name, and might choose one that moves the cursor."""
    return "".join(letter if letter.isprintable() else "?" for letter in name)


def _interval_s(text: str) -> float:
    interval_s = float(text)
    if not 0.1 <= interval_s <= 3600:
        raise argparse.ArgumentTypeError("must be 0.1 to 3600 seconds")
    return interval_s
