"""``gpupanelctl policy diff``: which keys are looser, tighter or just different."""

from __future__ import annotations

import json
from pathlib import Path

from gpupanel.cli.exit_codes import ExitCode
from gpupanel.cli.policy import IN_FORCE
from gpupanel.cli.policy.report import print_refusal
from gpupanel.cli.text import columns
from gpupanel.model.errors import PolicyInvalid
from gpupanel.policy.claims import Asker, statements_for
from gpupanel.policy.compare import changes
from gpupanel.policy.explain import shown
from gpupanel.policy.generation import load
from gpupanel.policy.parse import parse_machine
from gpupanel.policy.resolve import EffectivePolicy, Setting, resolve
from gpupanel.policy.sources import Sources, named_file


def run(before: str, after: str, sources: Sources, *, as_json: bool) -> int:
    """Compare two machine files, or one with what is in force for this user."""
    try:
        found = changes(*(_policy(name, sources) for name in (before, after)))
    except PolicyInvalid as refused:
        return print_refusal(refused, as_json=as_json)
    if as_json:
        print(json.dumps({"changes": [one.as_json() for one in found]}, indent=2))
    elif found:
        rows = [
            (one.key, one.direction.value, _side(one.before), _side(one.after)) for one in found
        ]
        print(columns([("KEY", "IS", "FROM", "TO"), *rows]))
    else:
        print("no key differs")
    return ExitCode.OK


def candidate(path: Path, asker: Asker) -> EffectivePolicy:
    """What would be in force for somebody with one machine file and nothing else.

    Raises:
        PolicyInvalid: It is missing or broken.
    """
    return resolve(statements_for(asker, parse_machine(named_file(path), str(path))))


def _policy(name: str, sources: Sources) -> EffectivePolicy:
    return load(sources) if name in IN_FORCE else candidate(Path(name), sources.asker)


def _side(setting: Setting) -> str:
    return shown(setting.value) + (" (locked)" if setting.is_locked else "")
