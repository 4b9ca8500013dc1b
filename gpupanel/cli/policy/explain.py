"""``gpupanelctl policy explain``: one key, why it has its value, and who could change that."""

from __future__ import annotations

import difflib
import json
import sys
from pathlib import Path
from typing import Any

from gpupanel.cli.exit_codes import ExitCode
from gpupanel.cli.policy.report import exit_code, print_diagnostics, print_refusal
from gpupanel.cli.policy.show import shown
from gpupanel.cli.text import columns
from gpupanel.model.errors import PolicyInvalid
from gpupanel.policy.claims import Claim, Level, Scope
from gpupanel.policy.faults import printable, quoted
from gpupanel.policy.generation import load
from gpupanel.policy.key import TIGHTER_TEXTS, Kind, PolicyKey
from gpupanel.policy.keys import POLICY_KEY_BY_NAME
from gpupanel.policy.resolve import EffectivePolicy, Setting
from gpupanel.policy.sources import ExtraSource, Sources


def run(name: str, sources: Sources, extra: Path | None, *, as_json: bool) -> int:
    """Everything about one key of the policy in force."""
    key = POLICY_KEY_BY_NAME.get(name)
    if key is None:
        print(f"gpupanelctl: {_unknown(name)}", file=sys.stderr)
        return ExitCode.USAGE
    try:
        policy = load(sources, ExtraSource(extra) if extra else None)
    except PolicyInvalid as refused:
        return print_refusal(refused, as_json=as_json)
    change = _who_can_change(policy.settings[name], sources)
    if as_json:
        print(json.dumps(_document(key, policy, change), indent=2))
    else:
        print(_text(key, policy.settings[name], change))
        print_diagnostics(policy.diagnostics)
    return exit_code(policy.diagnostics)


def _unknown(name: str) -> str:
    last = {one.field: one.name for one in POLICY_KEY_BY_NAME.values()}
    known = {**last, **{one: one for one in POLICY_KEY_BY_NAME}}
    close = difflib.get_close_matches(name[:80], list(known), n=1)
    hint = f"did you mean {quoted(known[close[0]])}?" if close else "policy show lists the keys"
    return f"{quoted(name)} is no policy key: {hint}"


def _document(key: PolicyKey, policy: EffectivePolicy, change: str) -> dict[str, Any]:
    setting: dict[str, Any] = policy.as_json()["settings"][key.name]
    row = {
        "state": policy.state.value,
        "label": key.label,
        "help": key.help,
        "kind": key.kind.value,
        "bounds": _bounds(key),
        "tighter": TIGHTER_TEXTS[key.tighten],
        "default": list(key.default) if isinstance(key.default, tuple) else key.default,
        "closed": list(key.closed) if isinstance(key.closed, tuple) else key.closed,
        "since": key.since,
        "set_by": policy.settings[key.name].set_by,
        "change": change,
    }
    return setting | row


def _text(key: PolicyKey, setting: Setting, change: str) -> str:
    force = f"{setting.level.value}{', locked' if setting.is_locked else ''}"
    rows = [
        ("Level", force),
        ("Set by", printable(setting.set_by)),
        ("Change", printable(change)),
        ("Bounds", _bounds(key)),
        ("Tighter", TIGHTER_TEXTS[key.tighten]),
        ("Default", shown(key.default)),
        ("Since", key.since),
    ]
    if key.switch:
        rows.append(("Switch", key.switch))
    lines = [f"{key.name} = {shown(setting.value)}", key.help, "", columns(rows)]
    if setting.overridden:
        lines += ["", "Also said, and not in force:", columns(_beaten(setting))]
    return "\n".join(lines)


def _beaten(setting: Setting) -> list[tuple[str, ...]]:
    return [
        (f"  {shown(one.value)}", one.level.value, _place(one), printable(one.why))
        for one in setting.overridden
    ]


def _place(claim: Claim) -> str:
    return printable(str(claim.source or "built in"))


def _bounds(key: PolicyKey) -> str:
    match key.kind:
        case Kind.BOOLEAN:
            return "true or false"
        case Kind.INTEGER:
            return f"{key.low} to {key.high}"
        case Kind.CHOICE:
            return " < ".join(key.choices)
        case Kind.CHOICES:
            return f"a list of {', '.join(key.choices)}"
        case Kind.TEXTS:
            return f"a list of texts such as {key.example}"


def _who_can_change(setting: Setting, sources: Sources) -> str:
    """Who has the right, and where it is done."""
    mine = f"in {sources.user.path}"
    if setting.level is Level.CLOSED or (setting.scope is Scope.BUILTIN and setting.is_locked):
        return "the administrator, who has to repair the machine policy; until then nobody"
    if not setting.is_locked:
        return f"you, {mine}; an administrator can mandate it"
    bound = _bound(setting)
    where = "by Group Policy" if bound.scope is Scope.REGISTRY else f"in {_file(bound)}"
    for_you = ", for you alone," if bound.scope is Scope.MEMBER else ""
    return f"the administrator{for_you} {where}; you can only make it tighter, {mine}"


def _bound(setting: Setting) -> Claim:
    """The mandate that holds; a user may have gone further."""
    said = (setting, *setting.overridden)
    return next(one for one in said if one.level in {Level.MANDATORY, Level.CLOSED})


def _file(claim: Claim) -> str:
    return claim.source.path if claim.source else "the machine policy"
