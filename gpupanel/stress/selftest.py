"""Check loads against known answers in a process of its own: ``gpupanelctl stress selftest``."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from gpupanel import children
from gpupanel.model.errors import GpupanelError
from gpupanel.stress.catalog import WORKLOAD_BY_NAME, choose_knobs
from gpupanel.stress.workload import Check, Device, host_class

SEED = 1


def main(arguments: list[str]) -> int:
    """Entry of the role ``selftest``; its argument is the request that cli/stress.py makes."""
    children.die_with_parent()
    request: dict[str, Any] = json.loads(arguments[0])
    vectors = _read_vectors(Path(request["vectors"])) if request["vectors"] else None
    passed = True
    for name in request["workloads"] or _names_in(vectors):
        checks = _check(name, request["gpu"], request["pci_bus_id"], vectors)
        passed = passed and all(check.passed for check in checks)
        _print(name, request["gpu"], checks, as_json=request["json"])
    return 0 if passed else 1


def _names_in(vectors: Mapping[str, Any] | None) -> list[str]:
    """All loads, or those that a file of vectors has a section for."""
    return [name for name in WORKLOAD_BY_NAME if vectors is None or _section(name) in vectors]


def _section(name: str) -> str:
    return name.partition(".")[2]


def _read_vectors(path: Path) -> dict[str, Any]:
    try:
        vectors = json.loads(path.read_bytes())
    except (OSError, ValueError) as reason:
        raise SystemExit(f"gpupanelctl: {path} cannot be read as vectors: {reason}") from None
    if not isinstance(vectors, dict):
        raise SystemExit(f"gpupanelctl: {path}: an object with a section per load was expected")
    return vectors


def _check(
    name: str, gpu: str, pci_bus_id: str | None, vectors: Mapping[str, Any] | None
) -> list[Check]:
    """A load that cannot run on this device fails; it is not skipped."""
    from gpupanel.stress.device import open_device

    try:
        if vectors is not None and _section(name) not in vectors:
            missing = f"the file has no section {_section(name)}"
            return [Check("vectors", passed=False, detail=missing)]
        device = open_device(gpu, pci_bus_id)
        given = None if vectors is None else vectors[_section(name)]
        variants = host_class(WORKLOAD_BY_NAME[name]).variants(device)
        return [
            replace(check, name=f"{check.name} ({variant.name})" if variants[1:] else check.name)
            for variant in variants
            for check in _check_variant(name, device.with_variant(variant), given)
        ]
    except GpupanelError as error:
        return [Check("prepare", passed=False, detail=str(error))]


def _check_variant(name: str, device: Device, vectors: Mapping[str, Any] | None) -> list[Check]:
    info = WORKLOAD_BY_NAME[name]
    knobs = {**choose_knobs(info, {}, is_cpu=device.is_cpu), **info.probe_knobs}
    workload = host_class(info)(device, knobs, SEED)
    workload.prepare(lambda step, fraction: None)
    return workload.self_test(vectors)


def _print(name: str, gpu: str, checks: list[Check], *, as_json: bool) -> None:
    passed = all(check.passed for check in checks)
    if as_json:
        document = {
            "workload": name,
            "gpu": gpu,
            "passed": passed,
            "checks": [
                {"name": check.name, "passed": check.passed, "detail": check.detail}
                for check in checks
            ],
        }
        sys.stdout.write(json.dumps(document) + "\n")
        sys.stdout.flush()
        return
    sys.stdout.write(f"{name} on {gpu}: {'passed' if passed else 'FAILED'}\n")
    for check in checks:
        sys.stdout.write(f"  {'ok  ' if check.passed else 'FAIL'} {check.name} {check.detail}\n")
    sys.stdout.flush()
