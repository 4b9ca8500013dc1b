"""The policy of each user of one machine, and what users wish of the service."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gpupanel.model.errors import PolicyInvalid
from gpupanel.policy.everyone import Policies
from gpupanel.policy.sources import MachineSource, Sources, UserSource
from gpupanel.policy.trusted_file import Trust

CAP = "mining.max_efficiency_percent"
BIN = 2
"""A user with a name that every machine has."""


def wish(percent: int) -> str:
    return f"schema = 1\n[mandatory.mining]\nmax_efficiency_percent = {percent}\n"


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    directory = tmp_path / "policy.d"
    directory.mkdir(mode=0o755)
    (directory / "10.toml").write_text(wish(50))
    return directory


@pytest.fixture
def policies(tmp_path: Path, machine: Path) -> Policies:
    trust = Trust(os.geteuid(), tmp_path) if os.name == "posix" else Trust(base=tmp_path)
    sources = Sources(
        MachineSource((machine,), trust), UserSource(tmp_path / "none"), tmp_path / "state"
    )
    made = Policies(sources, tmp_path / "users")
    made.load()
    return made


def test_a_wish_tightens_for_its_user_alone(policies: Policies) -> None:
    policies.wish(BIN, wish(20))
    assert policies.of(BIN).integer(CAP) == 20
    assert policies.of(BIN + 1).integer(CAP) == 50
    assert policies.general.integer(CAP) == 50
    assert policies.wishes(BIN) == wish(20)
    assert policies.wishes(BIN + 1) == ""


@pytest.mark.parametrize("percent", [51, 100])
def test_a_wish_never_loosens_a_mandate(policies: Policies, percent: int) -> None:
    policies.wish(BIN, wish(percent))
    assert policies.of(BIN).integer(CAP) == 50


@pytest.mark.parametrize(
    "text",
    ["mining = {", wish(101), "schema = 1\nfinal = ['mining.*']\n", "x" * 70_000, wish(20) + "\0"],
)
def test_a_broken_wish_is_refused_and_changes_nothing(policies: Policies, text: str) -> None:
    policies.wish(BIN, wish(20))
    with pytest.raises(PolicyInvalid):
        policies.wish(BIN, text)
    assert policies.of(BIN).integer(CAP) == 20


def test_a_new_machine_policy_holds_for_everybody(policies: Policies, machine: Path) -> None:
    policies.wish(BIN, wish(20))
    assert policies.of(BIN + 1).integer(CAP) == 50
    (machine / "10.toml").write_text(wish(10))
    policies.load()
    assert [policies.of(uid).integer(CAP) for uid in (BIN, BIN + 1)] == [10, 10]


def test_what_is_said_for_a_group_holds_for_its_members(policies: Policies, machine: Path) -> None:
    (machine / "20.toml").write_text(
        'schema = 1\n[[scope]]\nusers = ["2"]\n'
        "[scope.mandatory.mining]\nmax_efficiency_percent = 30\n"
    )
    policies.load()
    assert [policies.of(uid).integer(CAP) for uid in (BIN, BIN + 1)] == [30, 50]


def test_wishes_are_there_after_a_restart_and_are_the_services_own(
    policies: Policies, tmp_path: Path
) -> None:
    policies.wish(BIN, wish(20))
    again = Policies(policies._sources, tmp_path / "users")
    again.load()
    assert again.of(BIN).integer(CAP) == 20
    file = tmp_path / "users" / f"{BIN}.toml"
    assert file.stat().st_mode & 0o077 == 0


def test_what_protects_others_is_not_left_to_wishes(policies: Policies, machine: Path) -> None:
    privacy = "privacy.show_other_users_processes"
    said = "schema = 1\n[{}.privacy]\nshow_other_users_processes = {}\n"
    (machine / "20.toml").write_text(said.format("recommended", "false"))
    policies.load()
    policies.wish(BIN, said.format("mandatory", "true"))
    assert policies.of(BIN).is_true(privacy)
    assert not policies.imposed_on(BIN).is_true(privacy)


def test_an_empty_wish_is_none(policies: Policies, tmp_path: Path) -> None:
    policies.wish(BIN, wish(20))
    policies.wish(BIN, "")
    policies.wish(BIN, "")
    assert policies.of(BIN).integer(CAP) == 50
    assert list((tmp_path / "users").iterdir()) == []


def test_more_users_than_are_kept_are_worked_out_anew(policies: Policies) -> None:
    for uid in range(70_000, 70_300):
        assert policies.of(uid).integer(CAP) == 50
    assert len(policies._of_users) <= 256
