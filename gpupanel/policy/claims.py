"""What sources say, before anybody weighs it: claims, for whom they are, and what is final."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from gpupanel.policy.key import Kind, Value
from gpupanel.policy.keys import POLICY_KEY_BY_NAME


class Level(StrEnum):
    """With what force a value is said."""

    MANDATORY = "mandatory"
    RECOMMENDED = "recommended"
    USER = "user"
    DEFAULT = "default"
    CLOSED = "closed"


class Scope(StrEnum):
    """Who says it."""

    MACHINE = "machine"
    """The administrator's files."""
    REGISTRY = "registry"
    """Group Policy, for the whole machine; beside the files a second authority."""
    MEMBER = "member"
    """The administrator, for one user or the members of a group; it can only tighten."""
    USER = "user"
    EXTRA = "extra"
    """A file named on the command line for one call; it can only tighten."""
    BUILTIN = "builtin"


@dataclass(frozen=True, slots=True)
class Source:
    """The value's place in a file, line and column from 1; or in the registry, with 0 for both."""

    path: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        """``FILE:LINE:COL``, or the path alone."""
        return f"{self.path}:{self.line}:{self.column}" if self.line else self.path

    def as_json(self) -> dict[str, Any]:
        """Inverse of the constructor."""
        return {"path": self.path, "line": self.line, "column": self.column}


@dataclass(frozen=True, slots=True)
class Claim:
    """What one source says about one key."""

    key: str
    value: Value
    level: Level
    scope: Scope
    source: Source | None

    def as_json(self) -> dict[str, Any]:
        """Lists for tuples; ``source`` is null for built-in values."""
        return {
            "key": self.key,
            "value": list(self.value) if isinstance(self.value, tuple) else self.value,
            "level": self.level.value,
            "scope": self.scope.value,
            "source": self.source and self.source.as_json(),
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Claim:
        """Inverse of ``as_json``.

        Raises:
            KeyError, TypeError, ValueError: The document is not of that form.
        """
        return cls(*claim_fields(document))


@dataclass(frozen=True, slots=True)
class Overridden(Claim):
    """A claim that is not in force, or not alone, and why."""

    why: str


@dataclass(frozen=True, slots=True)
class MemberClaim(Claim):
    """A mandate for some users only.

    Attributes:
        users: Their names or numbers.
        groups: Names or numbers of groups; whoever is in one of them is meant too.
    """

    users: tuple[str, ...]
    groups: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Final:
    """From here on files may only tighten ``key``."""

    key: str
    source: Source


Statement = Claim | Final
"""What a machine's source says, in the order in which it applies."""


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks what is in force for him.

    Attributes:
        users: Everything that the user may be called: name, number, SID.
        groups: The same of every group that he is in.
        is_named: Whether his names are known; if not, every scope that could mean him does.
    """

    users: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()
    is_named: bool = True

    def is_meant(self, claim: MemberClaim) -> bool:
        """Whether ``claim`` is about this user."""
        if self.users.intersection(claim.users) or self.groups.intersection(claim.groups):
            return True
        names = (*claim.users, *claim.groups)
        return not self.is_named and not all(name.isdecimal() for name in names)


NOBODY = Asker()
"""Whom no scope means."""


def statements_for(asker: Asker, statements: Sequence[Statement]) -> tuple[Statement, ...]:
    """Without what is said about other users."""
    return tuple(
        one for one in statements if not isinstance(one, MemberClaim) or asker.is_meant(one)
    )


ClaimFields = tuple[str, Value, Level, Scope, Source | None]


def parts(claim: Claim) -> ClaimFields:
    """The fields of a claim, without what a subclass adds."""
    return claim.key, claim.value, claim.level, claim.scope, claim.source


def claim_fields(document: Mapping[str, Any]) -> ClaimFields:
    """The fields of a claim from its JSON form.

    Raises:
        KeyError, TypeError, ValueError: The document is not of that form.
    """
    value = document["value"]
    if isinstance(value, list) and all(isinstance(word, str) for word in value):
        value = tuple(value)
    is_yes_or_no = POLICY_KEY_BY_NAME[document["key"]].kind is Kind.BOOLEAN
    if not isinstance(value, int | str | tuple) or isinstance(value, bool) != is_yes_or_no:
        raise ValueError(f"{value!r} is no value of a policy key")
    source = None if document["source"] is None else Source(**document["source"])
    return document["key"], value, Level(document["level"]), Scope(document["scope"]), source


def statement_as_json(statement: Statement) -> dict[str, Any]:
    """A claim with whom it is for, or ``{"final": KEY, "source": ...}``."""
    if isinstance(statement, Final):
        return {"final": statement.key, "source": statement.source.as_json()}
    document = Claim.as_json(statement)
    if isinstance(statement, MemberClaim):
        document |= {"users": list(statement.users), "groups": list(statement.groups)}
    return document


def statement_from_json(document: Mapping[str, Any]) -> Statement:
    """Inverse of ``statement_as_json``.

    Raises:
        KeyError, TypeError, ValueError: The document is not of that form.
    """
    if "final" in document:
        return Final(POLICY_KEY_BY_NAME[document["final"]].name, Source(**document["source"]))
    fields = claim_fields(document)
    if "users" not in document:
        return Claim(*fields)
    return MemberClaim(*fields, tuple(document["users"]), tuple(document["groups"]))


def newest_first(key: str, claims: Sequence[Claim], level: Level | None = None) -> Iterator[Claim]:
    """The claims of one key, and of one level if that is given."""
    for claim in reversed(claims):
        if claim.key == key and level in {None, claim.level}:
            yield claim
