"""``gpupanelctl status``: how policy, service, driver stacks and runs stand, and who is held."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from gpupanel.cli.exit_codes import ExitCode
from gpupanel.cli.holds import holds_text
from gpupanel.cli.text import columns
from gpupanel.ipc.client import Client
from gpupanel.ipc.transport import Endpoint
from gpupanel.model.errors import ServiceUnreachable
from gpupanel.model.hold import Hold
from gpupanel.policy.faults import printable
from gpupanel.policy.resolve import EffectivePolicy, PolicyState

CHECK_CODES: Mapping[PolicyState, ExitCode] = {
    PolicyState.MANAGED: ExitCode.OK,
    PolicyState.STALE: ExitCode.STALE,
    PolicyState.CLOSED: ExitCode.CLOSED,
    PolicyState.UNMANAGED: ExitCode.UNMANAGED,
    PolicyState.AUDIT_ONLY: ExitCode.AUDIT_ONLY,
}
_DOWN = {ExitCode.SERVICE_DOWN: "service down"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument(
        "--check", action="store_true", help="exit with the state of the policy; see below"
    )
    codes = {**{code: state.value for state, code in CHECK_CODES.items()}, **_DOWN}
    parser.epilog = "exit status of --check: " + ", ".join(
        f"{code.value} {word.replace('_', ' ')}" for code, word in codes.items()
    )


def main(arguments: argparse.Namespace) -> int:
    """Look once; that something is not well is an answer and no failure, without --check."""
    try:
        return _look(arguments)
    except ServiceUnreachable as reason:
        if not arguments.check:
            raise
        print(f"gpupanelctl: {reason}", file=sys.stderr)
        return ExitCode.SERVICE_DOWN


def _look(arguments: argparse.Namespace) -> int:
    with Client() as client:
        agent = {**client.hello, "endpoint": client.endpoint.value}
        gpus = client.call("gpus", {})
        policy = EffectivePolicy.from_json(client.call("policy", {}))
        holds = client.call("holds", {})["holds"]
    status = _status(agent, gpus, policy, holds)
    if arguments.json:
        print(json.dumps(status, indent=2))
    else:
        _print(status, policy)
    return _check(policy, client.endpoint) if arguments.check else ExitCode.OK


def _check(policy: EffectivePolicy, endpoint: Endpoint) -> ExitCode:
    """An agent holds its own user alone: that is not what an administrator's policy asks for."""
    if policy.is_managed and endpoint is Endpoint.PARENT:
        return ExitCode.SERVICE_DOWN
    return CHECK_CODES[policy.state]


def _status(
    agent: Mapping[str, Any],
    gpus: Mapping[str, Any],
    policy: EffectivePolicy,
    holds: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    locked = [setting.key for setting in policy.settings.values() if setting.is_locked]
    return {
        "policy": {
            "state": policy.state.value,
            "locked": locked,
            "loosened": list(policy.loosened),
            "diagnostics": [one.as_json() for one in policy.diagnostics],
        },
        "agent": dict(agent),
        "backends": gpus["backends"],
        "gpus": [gpu["id"] for gpu in gpus["gpus"]],
        "runs": _runs(),
        "holds": list(holds),
    }


def _answering(agent: Mapping[str, Any]) -> tuple[str, str]:
    """Who answered, and by which door it was asked."""
    if agent["endpoint"] == Endpoint.PARENT:
        return "Agent", f"{agent['version']}, {agent['scope']} scope; there is no service"
    return "Service", f"{agent['version']}, {agent['scope']} scope, {agent['endpoint']} endpoint"


def _runs() -> list[dict[str, Any]]:
    """The worker processes that this user may see; each is one run."""
    import psutil

    found = []
    for process in psutil.process_iter(["pid", "cmdline", "create_time"]):
        command = process.info["cmdline"] or []
        if command[-1:] == ["worker"] and any("gpupanel" in word for word in command[:-1]):
            started = process.info["create_time"]
            found.append({"pid": process.info["pid"], "started_unix_s": started})
    return found


def _print(status: Mapping[str, Any], policy: EffectivePolicy) -> None:
    said = status["policy"]
    agent = status["agent"]
    backends = [f"{one['name']} {one['state']}" for one in status["backends"]]
    rows = [
        ("Policy", f"{policy.state.value.upper()}, {len(said['locked'])} keys mandated"),
        _answering(agent),
        ("Backends", ", ".join(backends) or "none"),
        ("GPUs", ", ".join(status["gpus"]) or "none"),
        ("Runs", f"{len(status['runs'])} running"),
        ("Holds", f"{len(status['holds'])}" if status["holds"] else "nobody is held"),
    ]
    if said["loosened"]:
        rows.insert(1, ("Loosened", ", ".join(said["loosened"])))
    print(columns([(name, printable(text)) for name, text in rows]))
    if status["holds"]:
        print(f"\n{holds_text([Hold.from_json(one) for one in status['holds']])}")
    for diagnostic in policy.diagnostics:
        print(printable(str(diagnostic)), file=sys.stderr)
