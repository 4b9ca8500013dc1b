"""``gpupanelctl policy show``: what is in force, and who said so."""

from __future__ import annotations

import json
from pathlib import Path

from gpupanel.cli.policy.report import exit_code, print_diagnostics, print_refusal
from gpupanel.cli.text import columns
from gpupanel.model.errors import PolicyInvalid
from gpupanel.policy.claims import Overridden
from gpupanel.policy.explain import place, shown
from gpupanel.policy.faults import printable
from gpupanel.policy.generation import load
from gpupanel.policy.resolve import EffectivePolicy, Setting
from gpupanel.policy.sources import ExtraSource, Sources


def run(sources: Sources, extra: Path | None, *, as_json: bool) -> int:
    """The effective policy, with what was wrong when it was read."""
    try:
        policy = load(sources, ExtraSource(extra) if extra else None)
    except PolicyInvalid as refused:
        return print_refusal(refused, as_json=as_json)
    if as_json:
        print(json.dumps(policy.as_json(), indent=2))
    else:
        print(f"State: {policy.state.value.upper()}\n")
        print(_table(policy))
        print_diagnostics(policy.diagnostics)
    return exit_code(policy.diagnostics)


def _table(policy: EffectivePolicy) -> str:
    """Below each setting what it overrides."""
    rows = [("KEY", "VALUE", "LEVEL", "SOURCE", "STATUS")]
    for setting in policy.settings.values():
        rows.append(_setting_row(setting))
        rows += [_overridden_row(claim) for claim in setting.overridden]
    return columns(rows)


_Row = tuple[str, str, str, str, str]


def _setting_row(setting: Setting) -> _Row:
    status = "locked" if setting.is_locked else ""
    return setting.key, shown(setting.value), setting.level.value, place(setting), status


def _overridden_row(claim: Overridden) -> _Row:
    why = printable(claim.why)
    return "  overrides", shown(claim.value), claim.level.value, place(claim), why
