"""By which names a scope means whoever runs this; against what the system's own tools say."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytest.importorskip("pwd", reason="on Windows, Group Policy says for whom it is")
assert sys.platform != "win32"

import pwd  # noqa: E402 - exists where the test goes on

from gpupanel.policy import identity  # noqa: E402
from gpupanel.policy.claims import Level, MemberClaim, Scope  # noqa: E402


def told(*options: str) -> set[str]:
    return set(subprocess.check_output(["id", *options], text=True).split())


def test_names_and_groups_are_those_of_the_system() -> None:
    asker = identity.this_user()
    assert asker.users == told("-u") | told("-un")
    assert asker.groups == told("-G") | told("-Gn")
    assert asker.is_named


def claim(*names: str) -> MemberClaim:
    return MemberClaim("mining.grace_seconds", 1, Level.MANDATORY, Scope.MEMBER, None, names, ())


def test_who_has_no_name_is_meant_by_every_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(uid: int) -> object:
        raise KeyError(uid)

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    asker = identity.this_user()
    assert not asker.is_named
    uid = os.geteuid()
    assert asker.is_meant(claim("alice"))
    assert asker.is_meant(claim(str(uid)))
    assert not asker.is_meant(claim(str(uid + 1)))


def test_a_group_that_was_left_still_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getgroups", list)
    monkeypatch.setattr(os, "getgrouplist", lambda name, gid: [gid, 4_000_000_000])
    assert "4000000000" in identity.this_user().groups
