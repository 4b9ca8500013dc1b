"""``gpupanelctl policy explain``: one key, why it has its value, and who could change that."""

from __future__ import annotations

import difflib
import json
import sys
from pathlib import Path
from typing import Any

from gpupanel.cli.exit_codes import ExitCode
from gpupanel.cli.policy.report import exit_code, print_diagnostics, print_refusal
from gpupanel.cli.text import columns
from gpupanel.model.errors import PolicyInvalid
from gpupanel.policy.explain import Explanation, explain, shown
from gpupanel.policy.faults import quoted
from gpupanel.policy.generation import load
from gpupanel.policy.key import TIGHTER_TEXTS
from gpupanel.policy.keys import POLICY_KEY_BY_NAME
from gpupanel.policy.resolve import EffectivePolicy
from gpupanel.policy.sources import ExtraSource, Sources


def run(name: str, sources: Sources, extra: Path | None, *, as_json: bool) -> int:
    """Everything about one key of the policy in force."""
    if name not in POLICY_KEY_BY_NAME:
        print(f"gpupanelctl: {_unknown(name)}", file=sys.stderr)
        return ExitCode.USAGE
    try:
        policy = load(sources, ExtraSource(extra) if extra else None)
    except PolicyInvalid as refused:
        return print_refusal(refused, as_json=as_json)
    told = explain(policy, name, str(sources.user.path))
    if as_json:
        print(json.dumps(_document(told, policy), indent=2))
    else:
        print(_text(told))
        print_diagnostics(policy.diagnostics)
    return exit_code(policy.diagnostics)


def _unknown(name: str) -> str:
    last = {one.field: one.name for one in POLICY_KEY_BY_NAME.values()}
    known = {**last, **{one: one for one in POLICY_KEY_BY_NAME}}
    close = difflib.get_close_matches(name[:80], list(known), n=1)
    hint = f"did you mean {quoted(known[close[0]])}?" if close else "policy show lists the keys"
    return f"{quoted(name)} is no policy key: {hint}"


def _document(told: Explanation, policy: EffectivePolicy) -> dict[str, Any]:
    key = told.key
    setting: dict[str, Any] = policy.as_json()["settings"][key.name]
    row = {
        "state": policy.state.value,
        "label": key.label,
        "help": key.help,
        "kind": key.kind.value,
        "bounds": told.bounds,
        "tighter": TIGHTER_TEXTS[key.tighten],
        "default": list(key.default) if isinstance(key.default, tuple) else key.default,
        "closed": list(key.closed) if isinstance(key.closed, tuple) else key.closed,
        "since": key.since,
        "set_by": told.setting.set_by,
        "change": told.change,
    }
    return setting | row


def _text(told: Explanation) -> str:
    lines = [f"{told.key.name} = {shown(told.setting.value)}", told.key.help, ""]
    lines.append(columns(told.rows))
    if told.beaten:
        beaten = [(f"  {value}", *rest) for value, *rest in told.beaten]
        lines += ["", "Also said, and not in force:", columns(beaten)]
    return "\n".join(lines)
