"""``gpupanelctl stress``: list loads, check them against known answers, run them under policy."""

from __future__ import annotations

import argparse
import difflib
import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from gpupanel import children
from gpupanel.cli.exit_codes import ExitCode
from gpupanel.cli.progress import Report, report_for
from gpupanel.cli.text import columns
from gpupanel.ipc.client import Client
from gpupanel.model.decision import Verb
from gpupanel.model.errors import ServiceUnreachable
from gpupanel.model.gpu import CPU_ID, GpuInfo, Snapshot
from gpupanel.model.workload import Event, Failed, Finished, Run, WorkloadInfo
from gpupanel.policy.decide import carry_out, decide_run
from gpupanel.policy.generation import load
from gpupanel.policy.resolve import EffectivePolicy
from gpupanel.policy.sources import ExtraSource, Sources
from gpupanel.stress.catalog import WORKLOAD_BY_NAME, WORKLOADS
from gpupanel.stress.runner import Runner

GUARD_INTERVAL_S = 0.2
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
    run = verbs.add_parser("run", help="run a load; Ctrl+C stops it")
    run.add_argument("workload", type=_workload)
    run.add_argument("--seconds", type=_seconds, default=DEFAULT_SECONDS, help="default: 60")
    run.add_argument("--policy", type=Path, help="obey this policy file too; it can only tighten")
    run.add_argument("--set", action="append", default=[], type=_knob, metavar="KNOB=VALUE")
    _add_common(run)


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--gpu", default=CPU_ID, help="id from `gpupanelctl gpus`; default: cpu")
    parser.add_argument("--json", action="store_true", help="print one JSON document per line")


def main(arguments: argparse.Namespace) -> int:
    """Carry out one verb."""
    if arguments.verb == "list":
        return _list(as_json=arguments.json)
    with Client() as client:
        gpu = _find_gpu(client, arguments.gpu)
        if gpu is None:
            return ExitCode.USAGE
        if arguments.verb == "selftest":
            return _selftest(arguments, gpu)
        return _run(client, arguments, gpu)


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


def _find_gpu(client: Client, gpu_id: str) -> GpuInfo | None:
    gpus = [GpuInfo.from_json(entry) for entry in client.call("gpus", {})["gpus"]]
    for gpu in gpus:
        if gpu.id == gpu_id:
            return gpu
    known = ", ".join(gpu.id for gpu in gpus)
    print(f"gpupanelctl: there is no GPU {gpu_id} here; there is {known}", file=sys.stderr)
    return None


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


def _run(client: Client, arguments: argparse.Namespace, gpu: GpuInfo) -> int:
    info: WorkloadInfo = arguments.workload
    asked = Run(info.name, gpu.id, arguments.seconds, knobs=dict(arguments.set))
    extra = ExtraSource(arguments.policy) if arguments.policy else None
    policy = load(Sources.installed(), extra)
    for diagnostic in policy.diagnostics:
        print(diagnostic, file=sys.stderr)
    decision = decide_run(policy, asked, info.family)
    run = carry_out(decision, asked)
    if decision.verb is Verb.CLAMP:
        print(f"policy: {decision.reason}", file=sys.stderr)
    with report_for(run, as_json=arguments.json) as report:
        last = _Follower(client, run, info, gpu).follow(report)
    well = isinstance(last, Finished) and last.verified
    return ExitCode.OK if well else ExitCode.NOT_WELL


class _Follower:
    """Runs a load to its end while the agent's samples feed its guard."""

    def __init__(self, client: Client, run: Run, info: WorkloadInfo, gpu: GpuInfo) -> None:
        self._client = client
        self._run = run
        self._info = info
        self._runner = Runner(run, self._on_event, gpu=gpu)
        self._over = threading.Event()
        self._last: Event | None = None

    def follow(self, report: Report) -> Event | None:
        """Until the last event; Ctrl+C asks for an early one."""
        self._report = report
        self._client.call("subscribe", {"topic": "snapshots", "interval_s": GUARD_INTERVAL_S})
        self._client.call("subscribe", {"topic": "policy"})
        threading.Thread(target=self._feed_guard, name="guard-feed", daemon=True).start()
        self._runner.start()
        while not self._over.is_set():
            try:
                self._over.wait()
            except KeyboardInterrupt:
                self._runner.stop()
        self._runner.close()
        return self._last

    def _on_event(self, event: Event) -> None:
        self._last = event
        self._report.show(event)
        if isinstance(event, Finished | Failed):
            self._over.set()

    def _feed_guard(self) -> None:
        try:
            for method, params in self._client.notifications():
                if method == "snapshot":
                    self._observe(Snapshot.from_json(params["snapshot"]))
                elif method == "policy":
                    self._obey(EffectivePolicy.from_json(params["policy"]))
        except ServiceUnreachable:
            if not self._over.is_set():
                self._runner.stop("sensor_lost")

    def _observe(self, snapshot: Snapshot) -> None:
        for sample in snapshot.samples:
            if sample.gpu_id == self._run.gpu:
                self._runner.observe(sample)

    def _obey(self, policy: EffectivePolicy) -> None:
        """Policy changed while the load runs; what it was started under stays the ceiling."""
        decision = decide_run(policy, self._run, self._info.family)
        if decision.verb is Verb.DENY:
            self._runner.stop("policy")
        else:
            self._runner.set_cap(min(self._run.cap_percent, decision.values["cap_percent"]))


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
