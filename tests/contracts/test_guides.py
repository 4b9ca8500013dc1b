"""The guide to the service names nothing that is not there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gpupanel import paths
from gpupanel.cli.main import NOUNS
from gpupanel.cli.status import CHECK_CODES
from gpupanel.model.audit import AUDIT_EVENT_BY_NAME
from gpupanel.policy.claims import Claim
from gpupanel.policy.keys import POLICY_KEY_BY_NAME
from gpupanel.policy.parse import parse_machine

HELP = Path(__file__).parents[2] / "resources/help"
GUIDE = (HELP / "service.md").read_text(encoding="utf-8")

_GROUPS = {name.partition(".")[0] for name in POLICY_KEY_BY_NAME}
_KINDS = {name.partition(".")[0] for name in AUDIT_EVENT_BY_NAME}


def test_its_keys_and_events_exist() -> None:
    named = {one for one in re.findall(r"`([a-z]+\.[a-z_]+)[` =]", GUIDE) if "." in one}
    keys = {one for one in named if one.partition(".")[0] in _GROUPS - _KINDS}
    events = {one for one in named if one.partition(".")[0] in _KINDS - _GROUPS}
    assert keys <= POLICY_KEY_BY_NAME.keys()
    assert events <= AUDIT_EVENT_BY_NAME.keys()
    assert len(keys) > 5
    assert len(events) > 3


def test_its_commands_exist() -> None:
    assert set(re.findall(r"gpupanelctl ([a-z]+)", GUIDE)) <= set(NOUNS)
    for code in CHECK_CODES.values():
        assert re.search(rf"\b{code.value}\b", GUIDE)


def test_its_places_are_ours() -> None:
    places = (paths.machine_run_dir(), paths.machine_state_dir(), paths.machine_log_dir())
    for place in places:
        assert f"`{place}`" in GUIDE
    assert f"`{paths.machine_policy_dirs()[0]}/*.toml`" in GUIDE


def test_its_policy_is_valid() -> None:
    (policy,) = re.findall(r"^ *```toml\n(.*?)```", GUIDE, re.MULTILINE | re.DOTALL)
    claims = [one for one in parse_machine(policy.encode(), "guide") if isinstance(one, Claim)]
    assert [one.key for one in claims] == ["mining.enforcement", "mining.max_efficiency_percent"]


@pytest.mark.parametrize("guide", sorted(HELP.glob("*.md")), ids=lambda path: path.name)
def test_its_links_lead_somewhere(guide: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", guide.read_text(encoding="utf-8")):
        assert (guide.parent / target).exists(), target
