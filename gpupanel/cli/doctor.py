"""``gpupanelctl doctor``: what works here, what does not, and what to do about it.

It looks for three seconds, wakes no GPU, and counts the wake-ups that fell into its own calls:
what the window and the service do is the same, so that this count is a test of them.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from gpupanel import paths
from gpupanel.cli.exit_codes import ExitCode
from gpupanel.cli.installed import Installed, installed
from gpupanel.ipc.client import Client
from gpupanel.model.errors import HistoryRefused
from gpupanel.model.gpu import CPU_ID, GpuInfo, GpuState, Sample, Snapshot, Unavailable
from gpupanel.model.sleep import SleepRecord
from gpupanel.policy.faults import printable
from gpupanel.policy.resolve import EffectivePolicy, PolicyState
from gpupanel.sampling.recall import Recall

SNAPSHOTS = 4
"""Three seconds: enough for a call that wakes a GPU to be seen."""

OPENCL_VENDORS = Path("/etc/OpenCL/vendors")

LEAST_FREE_BYTES = 200_000_000
"""Of the disk; the history of eight GPUs takes 120 MB a week."""

REMEDIES: Mapping[str, str] = {
    "nvml": "check that nvidia-smi works; after a driver update, reboot",
    "amdgpu": "look for the driver's messages: journalctl -k --grep amdgpu",
    "intel": "look for the driver's messages: journalctl -k --grep -e i915 -e xe",
    "wddm": "install the graphics driver of the card's vendor",
    "host": "report this, with what is written here",
}


class Level(StrEnum):
    """How a finding stands."""

    OK = "ok"
    WARNING = "warning"
    FAULT = "fault"


MARKS = {Level.OK: " ", Level.WARNING: "!", Level.FAULT: "X"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        about: ``backend nvml``, ``GPU <id>``, ``OpenCL``, ``policy``, ``history``, ``package``.
        remedy: Empty where all is well, or where there is none.
    """

    about: str
    level: Level
    text: str
    remedy: str = ""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def main(arguments: argparse.Namespace) -> int:
    """Look, report; 1 if anything is a fault."""
    with Client() as client:
        listed = client.call("gpus", {})
        policy = EffectivePolicy.from_json(client.call("policy", {}))
        client.call("subscribe", {"topic": "snapshots", "interval_s": 1.0})
        told = client.notifications()
        for _ in range(SNAPSHOTS):
            _, params = next(told)
        snapshot = Snapshot.from_json(params["snapshot"])
        sleep = client.call("sleep", {})["sleep"]
    records = {gpu_id: SleepRecord.from_json(record) for gpu_id, record in sleep.items()}
    gpus = [GpuInfo.from_json(entry) for entry in listed["gpus"]]
    findings = [
        *backend_findings(listed["backends"]),
        *gpu_findings(gpus, snapshot, records),
        *opencl_findings(),
        policy_finding(policy),
        history_finding(paths.user_history_file()),
        package_finding(installed()),
    ]
    worst = max((one.level for one in findings), key=list(Level).index)
    if arguments.json:
        print(json.dumps({"level": worst, "findings": [asdict(one) for one in findings]}))
    else:
        _print(findings)
    return ExitCode.NOT_WELL if worst is Level.FAULT else ExitCode.OK


def backend_findings(backends: list[dict[str, Any]]) -> Iterator[Finding]:
    """A driver that is not there is nothing wrong: most machines lack most."""
    for entry in backends:
        name, state, reason = entry["name"], entry["state"], entry["reason"]
        if name == "history":
            continue  # of the agent that was started for this look, which writes none
        if state == "failed":
            yield Finding(f"backend {name}", Level.FAULT, reason, REMEDIES.get(name, ""))
        else:
            yield Finding(f"backend {name}", Level.OK, f"{state}: {reason}" if reason else state)


def gpu_findings(
    gpus: list[GpuInfo], snapshot: Snapshot, records: Mapping[str, SleepRecord]
) -> Iterator[Finding]:
    """Each GPU: whether it answers, how it sleeps, and whether we disturbed it."""
    if all(gpu.id == CPU_ID for gpu in gpus):
        yield Finding(
            "GPUs", Level.WARNING, "no GPU was found; loads run on the processor",
            "if this machine has one, install its driver",
        )  # fmt: skip
    samples = {sample.gpu_id: sample for sample in snapshot.samples}
    names = {gpu.id: gpu.name for gpu in gpus}
    for gpu_id in dict.fromkeys((*names, *records)):
        about = f"GPU {gpu_id}"
        name, record = names.get(gpu_id, "not asked while it sleeps"), records.get(gpu_id)
        sample = samples.get(gpu_id)
        if record is not None and record.wakes_by_us:
            yield Finding(
                about, Level.FAULT, f"{name}: woken {record.wakes_by_us} times by gpupanel",
                "report this, with the card's and the driver's names",
            )  # fmt: skip
        elif sample is not None and sample.state is GpuState.LOST:
            yield Finding(about, Level.FAULT, f"{name}: {_why_lost(sample)}", "reset it, or reboot")
        else:
            sleeps = "" if gpu_id == CPU_ID else _sleep_text(record)
            yield Finding(about, Level.OK, f"{name}{sleeps}")


def _why_lost(sample: Sample) -> str:
    """All its readings have the one reason."""
    reasons = {one.reason for one in sample.readings.values() if isinstance(one, Unavailable)}
    return "; ".join(sorted(reasons))


def _sleep_text(record: SleepRecord | None) -> str:
    if record is None or not record.can_sleep:
        return "; never powered down"
    words = ["can sleep"]
    if record.asleep_since_unix_s is not None:
        seen = time.strftime("%H:%M:%S", time.localtime(record.asleep_since_unix_s))
        words.append(f"asleep, seen so since {seen}")
    if record.asleep_share is not None:
        words.append(f"asleep {record.asleep_share:.0%} of the time since its driver was loaded")
    return "; ".join(("", *words, f"wake-ups by gpupanel: {record.wakes_by_us}"))


def opencl_findings(vendors: Path | None = None) -> Iterator[Finding]:
    """What loads need, without loading it: to ask OpenCL for devices wakes them."""
    if find_spec("pyopencl") is None:
        yield Finding(
            "OpenCL",
            Level.FAULT,
            "pyopencl is not installed: no load can run",
            "install gpupanel with all that it requires",
        )
    if sys.platform == "win32":
        loader = Path(os.environ.get("SYSTEMROOT", "C:/Windows"), "System32", "OpenCL.dll")
        drivers = [loader] if loader.exists() else []
        place = loader.parent
    else:
        place = vendors or Path(os.environ.get("OCL_ICD_VENDORS") or OPENCL_VENDORS)
        drivers = sorted(place.glob("*.icd"))
    if not drivers:
        yield Finding(
            "OpenCL",
            Level.WARNING,
            f"no driver is registered in {place}: no load can run",
            "install that of your card, or pocl-opencl-icd for the processor",
        )
    for driver in drivers:
        yield _driver_finding(driver)


def _driver_finding(driver: Path) -> Finding:
    if driver.suffix != ".icd":
        return Finding("OpenCL", Level.OK, str(driver))
    try:
        library = driver.read_text(encoding="utf-8", errors="replace").strip()
    except OSError as error:
        return Finding("OpenCL", Level.WARNING, str(error), "make the file readable for everybody")
    if library.startswith("/") and not Path(library).exists():
        return Finding(
            "OpenCL",
            Level.WARNING,
            f"{driver} names {library}, which is not there",
            "install that driver again, or remove what is left of it",
        )
    return Finding("OpenCL", Level.OK, f"{driver.stem}: {library}")


def policy_finding(policy: EffectivePolicy) -> Finding:
    """How the policy stands, and the first thing that is wrong with it."""
    text = policy.state.value
    if policy.diagnostics:
        text += f"; {policy.diagnostics[0]}"
    is_broken = policy.state in {PolicyState.STALE, PolicyState.CLOSED}
    if is_broken or any(one.severity == "error" for one in policy.diagnostics):
        remedy = "mend the file; gpupanelctl policy validate FILE shows every fault"
        return Finding("policy", Level.FAULT, text, remedy)
    if policy.diagnostics:
        return Finding("policy", Level.WARNING, text, "gpupanelctl policy show has the rest")
    return Finding("policy", Level.OK, text)


def history_finding(path: Path) -> Finding:
    """Where the history is, how large, and whether it can be read."""
    if not path.exists():
        return Finding("history", Level.OK, f"{path}: nothing remembered yet")
    try:
        with Recall(path) as recall:
            span = recall.span_s()
    except HistoryRefused as refused:
        return Finding("history", Level.FAULT, str(refused), "move the file away, or restore it")
    parts = (path, *(path.with_name(path.name + suffix) for suffix in ("-wal", "-shm")))
    megabytes = sum(part.stat().st_size for part in parts if part.exists()) / 1e6
    days = 0.0 if span is None else (span[1] - span[0]) / 86400
    text = f"{path}: {megabytes:.1f} MB, {days:.1f} days"
    if shutil.disk_usage(path.parent).free < LEAST_FREE_BYTES:
        return Finding("history", Level.WARNING, f"{text}; the disk is nearly full", "free space")
    return Finding("history", Level.OK, text)


def package_finding(found: Installed) -> Finding:
    """Whether these are the files that were installed, and whose they are."""
    if not found.count:
        text = f"{found.folder}: no list of files came with it to compare, as in a checkout"
        return Finding("package", Level.OK, text)
    for names, what in (
        (found.changed, "not what was installed"),
        (found.missing, "missing"),
        (found.added, "not of the package"),
    ):
        if names:
            text = f"{_some(names)} {what}"
            return Finding("package", Level.FAULT, text, "install gpupanel again")
    if found.loose:
        text = f"{_some(found.loose)} not safe: somebody other than root could change it"
        return Finding(
            "package", Level.WARNING, text, "chown root and chmod go-w, also its folders"
        )
    return Finding(
        "package", Level.OK, f"{found.folder}: {found.count} files as they were installed"
    )


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - 1} more are" if len(names) > 1 else " is"
    return names[0] + more


def _print(findings: list[Finding]) -> None:
    for one in findings:
        print(printable(f"{MARKS[one.level]} {one.about}: {one.text}"))
        if one.remedy:
            print(f"    {one.remedy}")
    faults = sum(one.level is Level.FAULT for one in findings)
    warnings = sum(one.level is Level.WARNING for one in findings)
    print(f"\n{faults} faults, {warnings} warnings")
