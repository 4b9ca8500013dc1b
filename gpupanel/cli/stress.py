"""``gpupanelctl stress``: list loads, check them against known answers, run them under policy."""

from __future__ import annotations

import argparse
import difflib
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gpupanel import children
from gpupanel.cli.exit_codes import ExitCode
from gpupanel.cli.follow import Follower
from gpupanel.cli.progress import report_for
from gpupanel.cli.text import columns
from gpupanel.ipc.client import Client
from gpupanel.model.decision import Verb
from gpupanel.model.errors import RecordError
from gpupanel.model.gpu import CPU_ID, GpuInfo, GpuKind
from gpupanel.model.workload import Finished, Run, WorkloadInfo
from gpupanel.policy.decide import carry_out, decide_run
from gpupanel.policy.generation import load
from gpupanel.policy.sources import ExtraSource, Sources
from gpupanel.stress.catalog import WORKLOAD_BY_NAME, WORKLOADS
from gpupanel.stress.profile import PROFILES, STEADY
from gpupanel.stress.report.compare import compare
from gpupanel.stress.report.files import FORMS, write_report
from gpupanel.stress.report.record import RunRecord, read_record

ALL_GPUS = "all"
DEFAULT_SECONDS = 60.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verbs and their options."""
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    listing = verbs.add_parser("list", help="the loads and their knobs")
    listing.add_argument("--json", action="store_true", help="print one JSON document")
    selftest = verbs.add_parser("selftest", help="check loads against known answers")
    selftest.add_argument("workload", nargs="?", type=_workload, help="all of them if left out")
    selftest.add_argument("--vectors", type=Path, help="a file of test vectors (JSON)")
    _add_common(selftest)
    run = verbs.add_parser("run", help="run loads, several at once; Ctrl+C stops them")
    run.add_argument("workload", nargs="+", type=_workload)
    run.add_argument("--seconds", type=_seconds, default=DEFAULT_SECONDS, help="default: 60")
    run.add_argument(
        "--profile", choices=PROFILES, default=STEADY, help="steps: 20 to 100 %% of the time"
    )
    run.add_argument("--policy", type=Path, help="obey this policy file too; it can only tighten")
    run.add_argument("--set", action="append", default=[], type=_knob, metavar="KNOB=VALUE")
    run.add_argument(
        "--report",
        action="append",
        default=[],
        type=_report_file,
        metavar="FILE",
        help="write the run to FILE.html, .json or .csv; may be given several times",
    )
    _add_common(run)
    comparing = verbs.add_parser("compare", help="two runs beside each other")
    comparing.add_argument("a", type=Path, help="what --report FILE.json wrote")
    comparing.add_argument("b", type=Path)
    comparing.add_argument("--json", action="store_true", help="print one JSON document")


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--gpu", default=CPU_ID, help="id from `gpupanelctl gpus`, or all; default: cpu"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document per line")


def main(arguments: argparse.Namespace) -> int:
    """Carry out one verb."""
    if arguments.verb == "list":
        return _list(as_json=arguments.json)
    if arguments.verb == "compare":
        return _compare(arguments)
    with Client() as client:
        gpus = _find_gpus(client, arguments.gpu)
        if not gpus:
            return ExitCode.USAGE
        if arguments.verb == "selftest":
            return max(_selftest(arguments, gpu) for gpu in gpus)
        return _run(client, arguments, gpus)


def _list(*, as_json: bool) -> int:
    if as_json:
        print(json.dumps({"workloads": [_info_as_json(info) for info in WORKLOADS]}))
        return ExitCode.OK
    rows = [
        (info.name, info.family, info.summary, " ".join(knob.name for knob in info.knobs))
        for info in WORKLOADS
    ]
    print(columns([("LOAD", "FAMILY", "WHAT IT DOES", "KNOBS"), *rows]))
    return ExitCode.OK


def _info_as_json(info: WorkloadInfo) -> dict[str, Any]:
    return {
        "name": info.name,
        "family": info.family.value,
        "title": info.title,
        "summary": info.summary,
        "unit": info.unit,
        "knobs": [
            {
                "name": knob.name,
                "default": knob.default,
                "default_cpu": knob.default_cpu,
                "low": knob.low,
                "high": knob.high,
                "help": knob.help,
            }
            for knob in info.knobs
        ],
    }


def _find_gpus(client: Client, gpu_id: str) -> list[GpuInfo]:
    """The GPU of that id; ``all`` is every GPU, or the processor where there is none."""
    present = [GpuInfo.from_json(entry) for entry in client.call("gpus", {})["gpus"]]
    if gpu_id == ALL_GPUS:
        return [gpu for gpu in present if gpu.kind is GpuKind.GPU] or present
    found = [gpu for gpu in present if gpu.id == gpu_id]
    if not found:
        known = ", ".join(gpu.id for gpu in present)
        print(f"gpupanelctl: there is no GPU {gpu_id} here; there is {known}", file=sys.stderr)
    return found


def _selftest(arguments: argparse.Namespace, gpu: GpuInfo) -> int:
    """The checks run in a child process: a broken driver must not take the caller along."""
    request = {
        "workloads": [arguments.workload.name] if arguments.workload else None,
        "gpu": gpu.id,
        "pci_bus_id": gpu.pci_bus_id,
        "vectors": str(arguments.vectors.resolve()) if arguments.vectors else None,
        "json": arguments.json,
    }
    return subprocess.run(
        [*children.command("selftest"), json.dumps(request)], check=False
    ).returncode


def _run(client: Client, arguments: argparse.Namespace, gpus: Sequence[GpuInfo]) -> int:
    policy = load(Sources.installed(), ExtraSource(arguments.policy) if arguments.policy else None)
    for diagnostic in policy.diagnostics:
        print(diagnostic, file=sys.stderr)
    follower = Follower(client)
    for gpu in gpus:
        for info in arguments.workload:
            asked = Run(
                info.name,
                gpu.id,
                arguments.seconds,
                knobs=dict(arguments.set),
                profile=arguments.profile,
            )
            decision = decide_run(policy, asked, info.family)
            if decision.verb is Verb.CLAMP:
                print(f"policy: {decision.reason}", file=sys.stderr)
            follower.add(carry_out(decision, asked), gpu)
    records = follower.follow(report_for(follower.runs, as_json=arguments.json))
    try:
        for path in arguments.report:
            _write_reports(path, records)
    except OSError as fault:
        print(f"gpupanelctl: the report cannot be written: {fault}", file=sys.stderr)
        return ExitCode.IO
    well = all(isinstance(record.last, Finished) and record.last.verified for record in records)
    return ExitCode.OK if well else ExitCode.NOT_WELL


def _write_reports(path: Path, records: Sequence[RunRecord]) -> None:
    """One file a run: with several, load and GPU go into its name."""
    for record in records:
        run = record.run
        name = f"{path.stem}-{run.workload}-{run.gpu}" if len(records) > 1 else path.stem
        target = path.with_name(name + path.suffix)
        write_report(target, record)
        print(f"report: {target}", file=sys.stderr)


def _compare(arguments: argparse.Namespace) -> int:
    records = []
    for path in (arguments.a, arguments.b):
        try:
            records.append(read_record(path.read_text(encoding="utf-8")))
        except (OSError, UnicodeDecodeError) as fault:
            print(f"gpupanelctl: {path} cannot be read: {fault}", file=sys.stderr)
            return ExitCode.IO
        except RecordError as fault:
            print(f"gpupanelctl: {path}: {fault}", file=sys.stderr)
            return ExitCode.NOT_WELL
    comparison = compare(*records)
    if arguments.json:
        print(json.dumps(comparison.as_json()))
    else:
        print(columns([("", "A", "B", "B / A"), *comparison.rows]))
        for note in comparison.notes:
            print(f"note: {note}")
    return ExitCode.OK


def _workload(name: str) -> WorkloadInfo:
    if name not in WORKLOAD_BY_NAME:
        near = difflib.get_close_matches(name, WORKLOAD_BY_NAME, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise argparse.ArgumentTypeError(
            f"there is no load {name}{hint} (gpupanelctl stress list shows all)"
        )
    return WORKLOAD_BY_NAME[name]


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 1 <= seconds <= 7200:
        raise argparse.ArgumentTypeError("must be 1 to 7200 seconds")
    return seconds


def _knob(text: str) -> tuple[str, int]:
    name, separator, value = text.partition("=")
    if not separator or not value.lstrip("-").isdecimal():
        raise argparse.ArgumentTypeError(f"{text} is not KNOB=INTEGER")
    return name, int(value)


def _report_file(text: str) -> Path:
    path = Path(text)
    if path.suffix not in FORMS:
        raise argparse.ArgumentTypeError(f"{text} ends with none of {', '.join(FORMS)}")
    if not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"there is no folder {path.parent}")
    return path
