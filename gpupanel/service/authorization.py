"""Who may ask what: one table, obeyed by every connection.

The kernel has said who the caller is and by which door it came; nothing in a message changes that,
so no method takes a user, a path or a command. Nobody may write policy here: it is files and the
registry, so that the worst fault of the protocol loosens nothing. A user's own wishes can only
tighten what the machine mandates, and only for that user's own programs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Any

from gpupanel.ipc.server import Method
from gpupanel.ipc.transport import Endpoint, Peer
from gpupanel.model.errors import RequestDenied


class Who(StrEnum):
    """Whom a rule lets, of those who come by one of its endpoints."""

    EVERYONE = "everyone"
    THEMSELVES = "everyone, about their own programs"
    """By the user whom the kernel names; what concerns others is refused."""
    VIEWERS = "everyone, of others what privacy.show_other_users_processes allows"


ALL = frozenset(Endpoint)
NOT_PUBLIC = frozenset({Endpoint.CONTROL, Endpoint.PARENT})
PARENT = frozenset({Endpoint.PARENT})


@dataclass(frozen=True, slots=True)
class Rule:
    """What one method takes, and from whom.

    Attributes:
        params: All names that it knows; a request with another one is refused.
        note: Why, or what else is checked.
    """

    endpoints: frozenset[Endpoint]
    who: Who
    params: frozenset[str] = frozenset()
    note: str = ""


def _rule(endpoints: frozenset[Endpoint], who: Who, params: str = "", note: str = "") -> Rule:
    return Rule(endpoints, who, frozenset(params.split()), note)


RULES: Mapping[str, Rule] = {
    "hello": _rule(ALL, Who.EVERYONE, "protocol"),
    "gpus": _rule(ALL, Who.EVERYONE),
    "history": _rule(ALL, Who.EVERYONE, "seconds", "readings of GPUs, nothing of processes"),
    "policy": _rule(ALL, Who.THEMSELVES, "", "what is in force for the caller"),
    "limits": _rule(ALL, Who.EVERYONE),
    "remembered": _rule(ALL, Who.EVERYONE),
    "series": _rule(ALL, Who.EVERYONE, "gpu metric since_unix_s until_unix_s points"),
    "events": _rule(ALL, Who.VIEWERS, "since_unix_s until_unix_s"),
    "energy": _rule(ALL, Who.EVERYONE, "since_unix_s until_unix_s"),
    "sleep": _rule(ALL, Who.EVERYONE),
    "holds": _rule(ALL, Who.VIEWERS),
    "explain": _rule(ALL, Who.VIEWERS, "pid started"),
    "subscribe": _rule(ALL, Who.VIEWERS, "topic interval_s"),
    "unsubscribe": _rule(ALL, Who.THEMSELVES, "subscription"),
    "object": _rule(
        ALL, Who.THEMSELVES, "pid started", "where mining.allow_user_verdicts lets the user"
    ),
    "wishes.get": _rule(ALL, Who.THEMSELVES, "", "the service reads nobody's home"),
    "wishes.set": _rule(ALL, Who.THEMSELVES, "text", "can only tighten what is mandated"),
    "note": _rule(NOT_PUBLIC, Who.EVERYONE, "gpu text", "everybody sees it in the history"),
    "declare": _rule(
        PARENT, Who.THEMSELVES, "pid workload", "a load of a user is never exempt in the service"
    ),
}
"""One row for each method of the protocol."""


Denied = Callable[[Peer, str], None]
"""Told who asked for which method and may not."""


def offered(
    methods: Mapping[str, Method], peer: Peer, on_denied: Denied = lambda *_: None
) -> dict[str, Method]:
    """The same methods as ``peer`` may call them; those that it may not refuse by themselves.

    Raises:
        KeyError: A method has no rule.
    """
    return {
        name: partial(_call, name, RULES[name], method, peer, on_denied)
        for name, method in methods.items()
    }


def _call(
    name: str,
    rule: Rule,
    method: Method,
    peer: Peer,
    on_denied: Denied,
    params: Mapping[str, Any],
) -> Mapping[str, Any]:
    if peer.endpoint not in rule.endpoints:
        doors = " or ".join(sorted(one.value for one in rule.endpoints))
        on_denied(peer, name)
        raise RequestDenied(f"{name} is not for the {peer.endpoint.value} endpoint, but {doors}")
    if unknown := params.keys() - rule.params:
        raise ValueError(f"no parameter of it is called {min(unknown)[:80]}")
    return method(params)
