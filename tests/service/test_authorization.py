"""The table of who may ask what, against the daemon's methods and three kinds of clients."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from gpupanel.ipc import protocol
from gpupanel.ipc.transport import Endpoint, Peer
from gpupanel.model.errors import RequestDenied
from gpupanel.policy.sources import MachineSource, Sources, UserSource
from gpupanel.service.authorization import NOT_PUBLIC, RULES, Who, offered
from gpupanel.service.daemon import TOPICS, Daemon
from gpupanel.service.scope import Scope

USER = Peer(Endpoint.READ_ONLY, 1000, 10)
MEMBER = Peer(Endpoint.CONTROL, 1000, 10)
ADMIN = Peer(Endpoint.CONTROL, 0, 10, is_admin=True)
PARENT = Peer(Endpoint.PARENT, 1000, 10)

DENIED = {
    "user": (USER, {"note", "declare"}),
    "member": (MEMBER, {"declare"}),
    "admin": (ADMIN, {"declare"}),
    "parent": (PARENT, set[str]()),
}
"""What each may not ask; everything else it may."""


def methods_of_the_daemon(tmp_path: Path, peer: Peer) -> Mapping[str, Any]:
    sources = Sources(
        MachineSource((tmp_path / "none",)), UserSource(tmp_path / "none.toml"), tmp_path / "state"
    )
    scope = Scope("system", sources, tmp_path / "history.db", users_dir=tmp_path / "users")
    return Daemon(scope)._methods_for(peer)


@pytest.fixture(params=DENIED)
def client(request: pytest.FixtureRequest) -> tuple[Peer, set[str]]:
    return DENIED[request.param]


@pytest.mark.parametrize("name", RULES)
def test_a_rule_lets_and_refuses(client: tuple[Peer, set[str]], name: str) -> None:
    peer, denied = client
    asked: list[Mapping[str, Any]] = []

    def ask(params: Mapping[str, Any]) -> Mapping[str, Any]:
        asked.append(params)
        return {}

    (method,) = offered({name: ask}, peer).values()
    params = dict.fromkeys(RULES[name].params, 1)
    if name in denied:
        with pytest.raises(RequestDenied, match=f"{name} is not for the"):
            method(params)
        assert asked == []
    else:
        method(params)
        assert asked == [params]


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("intruder", ["uid", "path", "efficiency_percent"])
def test_no_method_takes_what_it_does_not_know(name: str, intruder: str) -> None:
    params = {**dict.fromkeys(RULES[name].params, 1), intruder: 0}
    (method,) = offered({name: lambda _: {}}, PARENT).values()
    with pytest.raises(ValueError, match=f"no parameter of it is called {intruder}"):
        method(params)


def test_every_method_of_the_daemon_has_a_rule_and_each_rule_a_method(tmp_path: Path) -> None:
    by_connection = {"subscribe", "unsubscribe"}
    assert set(methods_of_the_daemon(tmp_path, USER)) | by_connection == set(RULES)


def test_the_protocols_text_tells_the_same_methods_and_parameters() -> None:
    rows = re.findall(r"^    ([\w.]+) \{(.*?)\} +->", protocol.__doc__ or "", re.MULTILINE)
    span = "since_unix_s until_unix_s"
    told = {
        name: frozenset(re.findall(r"\w+", params.replace("SPAN", span))) for name, params in rows
    }
    assert told == {name: rule.params for name, rule in RULES.items()}
    for topic in TOPICS:
        assert topic in (protocol.__doc__ or "")


def test_nobody_says_who_he_is_or_what_is_to_be_run() -> None:
    names = {param for rule in RULES.values() for param in rule.params}
    assert names.isdisjoint({"path", "file", "uid", "user", "sid", "command", "executable"})


def test_what_changes_something_for_others_is_not_for_everybody() -> None:
    reads = {
        "hello", "gpus", "history", "policy", "limits", "remembered", "series", "events",
        "energy", "sleep", "holds", "explain", "subscribe", "unsubscribe", "wishes.get",
    }  # fmt: skip
    for name, rule in RULES.items():
        if name not in reads:
            assert rule.endpoints <= NOT_PUBLIC or rule.who is Who.THEMSELVES, name


def test_a_method_without_a_rule_cannot_be_offered() -> None:
    with pytest.raises(KeyError):
        offered({"policy.write": lambda _: {}}, ADMIN)
