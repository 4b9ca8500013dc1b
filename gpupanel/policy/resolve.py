"""From what every source says to what is in force, and who said so. Pure.

Inside the machine's authority a later file replaces an earlier one. Across authorities nothing
is replaced: values meet, and the tighter one holds, so no order of sources can loosen a mandate.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from gpupanel.model.decision import Diagnostic
from gpupanel.policy.key import Kind, PolicyKey, Value
from gpupanel.policy.keys import POLICY_KEY_BY_NAME, POLICY_KEYS


class PolicyState(StrEnum):
    """How the whole policy stands."""

    UNMANAGED = "unmanaged"
    """No machine policy exists."""
    MANAGED = "managed"
    """The machine policy is in force."""
    STALE = "stale"
    """The machine policy is broken; what it last said is in force."""
    CLOSED = "closed"
    """The machine policy is broken and was never good; the built-in closed values are in force."""
    AUDIT_ONLY = "audit_only"
    """The policy is good, and its mining cap only reports (``mining.enforcement``)."""


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
    USER = "user"
    EXTRA = "extra"
    """A file named on the command line for one call; it can only tighten."""
    BUILTIN = "builtin"


@dataclass(frozen=True, slots=True)
class Source:
    """The value's place in a file; line and column from 1."""

    path: str
    line: int
    column: int

    def __str__(self) -> str:
        """``FILE:LINE:COL``."""
        return f"{self.path}:{self.line}:{self.column}"


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
        source = self.source
        return {
            "key": self.key,
            "value": list(self.value) if isinstance(self.value, tuple) else self.value,
            "level": self.level.value,
            "scope": self.scope.value,
            "source": None
            if source is None
            else {"path": source.path, "line": source.line, "column": source.column},
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Claim:
        """Inverse of ``as_json``.

        Raises:
            KeyError, TypeError, ValueError: The document is not of that form.
        """
        return cls(*_claim_fields(document))


@dataclass(frozen=True, slots=True)
class Overridden(Claim):
    """A claim that is not in force, or not alone, and why."""

    why: str


@dataclass(frozen=True, slots=True)
class Setting(Claim):
    """What is in force for one key.

    Attributes:
        level: Of the source that had the last word.
        overridden: Everything else that was said, strongest first.
    """

    overridden: tuple[Overridden, ...] = ()

    @property
    def is_locked(self) -> bool:
        """Whether a mandate bounds the value, so that a user can only tighten it."""
        bounds = {Level.MANDATORY, Level.CLOSED}
        return self.level in bounds or any(claim.level in bounds for claim in self.overridden)

    @property
    def set_by(self) -> str:
        """Who answers for the value: ``the machine policy (FILE:LINE:COL)``."""
        where = f" ({self.source})" if self.source else ""
        return _WHO[self.scope] + where if self.level is not Level.CLOSED else _WHO_CLOSED


@dataclass(frozen=True, slots=True)
class EffectivePolicy:
    """What is in force; one setting for each row of POLICY_KEYS.

    Attributes:
        diagnostics: What was wrong with the sources when they were read, also in state STALE.
    """

    state: PolicyState
    settings: Mapping[str, Setting]
    diagnostics: tuple[Diagnostic, ...] = ()

    def integer(self, key: str) -> int:
        """The value of an integer key."""
        value = self.settings[key].value
        assert isinstance(value, int), key
        return value

    def is_true(self, key: str) -> bool:
        """The value of a key that is yes or no."""
        value = self.settings[key].value
        assert isinstance(value, bool), key
        return value

    def choice(self, key: str) -> str:
        """The value of a key that is one word."""
        value = self.settings[key].value
        assert isinstance(value, str), key
        return value

    def choices(self, key: str) -> tuple[str, ...]:
        """The value of a key that is a list of words."""
        value = self.settings[key].value
        assert isinstance(value, tuple), key
        return value

    def as_json(self) -> dict[str, Any]:
        """The contract of ``policy show --json``, and the message of the same name."""
        return {
            "state": self.state.value,
            "settings": {key: _setting_as_json(one) for key, one in self.settings.items()},
            "diagnostics": [diagnostic.as_json() for diagnostic in self.diagnostics],
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> EffectivePolicy:
        """Inverse of ``as_json``.

        Raises:
            ValueError: The document is not of that form, or lacks a key.
        """
        try:
            settings = {key: _setting_from_json(one) for key, one in document["settings"].items()}
            diagnostics = tuple(Diagnostic(**one) for one in document["diagnostics"])
            state = PolicyState(document["state"])
        except (AttributeError, KeyError, TypeError, ValueError) as reason:
            raise ValueError(f"not an effective policy: {reason!r}") from None
        missing = POLICY_KEY_BY_NAME.keys() - settings.keys()
        if missing:
            raise ValueError(f"not an effective policy: {', '.join(sorted(missing))} missing")
        return cls(state, settings, diagnostics)


def closed_claims() -> tuple[Claim, ...]:
    """What a machine whose policy is broken mandates: throttle hard, kill nothing."""
    return tuple(
        Claim(key.name, key.closed, Level.CLOSED, Scope.BUILTIN, None) for key in POLICY_KEYS
    )


def resolve(
    machine: Sequence[Claim],
    user: Sequence[Claim] = (),
    extra: Sequence[Claim] = (),
    *,
    state: PolicyState = PolicyState.MANAGED,
    diagnostics: Sequence[Diagnostic] = (),
) -> EffectivePolicy:
    """Merge by precedence: mandate, then user and extra file tighten; else user, recommended.

    Args:
        machine: In the order in which files apply; a later claim replaces an earlier one of the
            same key and level.
        user: The user's wishes; free where nothing is mandated.
        extra: Of a file for this call only; tightens whatever the others result in.
        state: AUDIT_ONLY comes out instead of UNMANAGED and MANAGED where enforcement is audit.
        diagnostics: Carried along.
    """
    extra = (*_implied_switches(extra), *extra)
    settings = {key.name: _setting(key, machine, user, extra) for key in POLICY_KEYS}
    is_sound = state in {PolicyState.UNMANAGED, PolicyState.MANAGED}
    if is_sound and settings["mining.enforcement"].value == "audit":
        state = PolicyState.AUDIT_ONLY
    return EffectivePolicy(state, settings, tuple(diagnostics))


def _setting(
    key: PolicyKey, machine: Sequence[Claim], user: Sequence[Claim], extra: Sequence[Claim]
) -> Setting:
    """One key through all authorities."""
    mandates = _mandates(key, machine)
    recommended = _newest_first(key, machine, Level.RECOMMENDED)
    wishes = _newest_first(key, user)
    default = Claim(key.name, key.default, Level.DEFAULT, Scope.BUILTIN, None)
    free = (*wishes, *recommended, default)
    ranked = (*mandates, *recommended) if mandates else free
    setting = Setting(*_parts(ranked[0]), overridden=_superseded(ranked))
    if mandates and wishes:
        setting = _tightened(key, setting, wishes[0])
    for claim in _newest_first(key, extra):
        setting = _tightened(key, setting, claim)
    return setting


def _mandates(key: PolicyKey, machine: Sequence[Claim]) -> tuple[Claim, ...]:
    """The machine's mandates, newest first; that of a switch may follow from what it switches."""
    closed = _newest_first(key, machine, Level.CLOSED)
    mandates = closed or _newest_first(key, machine, Level.MANDATORY)
    if mandates:
        return mandates
    mandated = tuple(claim for claim in machine if claim.level is Level.MANDATORY)
    implied = _newest_first(key, _implied_switches(mandated))
    recommended = _newest_first(key, machine, Level.RECOMMENDED)
    if not implied or not recommended:
        return implied
    # The administrator's own recommendation says which position of the switch is meant.
    asked = recommended[0]
    return (Claim(key.name, asked.value, Level.MANDATORY, asked.scope, asked.source),)


def _implied_switches(claims: Sequence[Claim]) -> tuple[Claim, ...]:
    """The default position of each switch that ``claims`` depend on and do not name."""
    named = {"", *(claim.key for claim in claims)}
    return tuple(
        Claim(switch, POLICY_KEY_BY_NAME[switch].default, claim.level, claim.scope, claim.source)
        for claim in claims
        if (switch := POLICY_KEY_BY_NAME[claim.key].switch) not in named
    )


def _newest_first(
    key: PolicyKey, claims: Sequence[Claim], level: Level | None = None
) -> tuple[Claim, ...]:
    return tuple(
        claim
        for claim in reversed(claims)
        if claim.key == key.name and (level is None or claim.level is level)
    )


def _superseded(ranked: Sequence[Claim]) -> tuple[Overridden, ...]:
    """Every claim after the first; the default goes without saying."""
    winner = ranked[0].source
    return tuple(
        Overridden(*_parts(claim), why=f"superseded by {winner}")
        for claim in ranked[1:]
        if claim.source not in {None, winner}
    )


def _tightened(key: PolicyKey, setting: Setting, claim: Claim) -> Setting:
    """``setting`` after ``claim`` had the chance to tighten it."""
    met = key.meet(setting.value, claim.value)
    if met == setting.value:
        is_same = claim.value == setting.value
        why = "says the same" if is_same else f"looser than what {_WHO[setting.scope]} allows"
        beaten = Overridden(*_parts(claim), why=why)
        return Setting(*_parts(setting), overridden=(*setting.overridden, beaten))
    beaten = Overridden(*_parts(setting), why=f"tightened by {_WHO[claim.scope]}")
    return Setting(
        key.name, met, claim.level, claim.scope, claim.source, (beaten, *setting.overridden)
    )


_WHO: Mapping[Scope, str] = {
    Scope.MACHINE: "the machine policy",
    Scope.USER: "the user's policy",
    Scope.EXTRA: "the policy file of this call",
    Scope.BUILTIN: "the built-in default",
}
_WHO_CLOSED = "the built-in closed policy, because the machine policy is broken"

_ClaimFields = tuple[str, Value, Level, Scope, Source | None]


def _parts(claim: Claim) -> _ClaimFields:
    return claim.key, claim.value, claim.level, claim.scope, claim.source


def _claim_fields(document: Mapping[str, Any]) -> _ClaimFields:
    value = document["value"]
    if isinstance(value, list) and all(isinstance(word, str) for word in value):
        value = tuple(value)
    is_yes_or_no = POLICY_KEY_BY_NAME[document["key"]].kind is Kind.BOOLEAN
    if not isinstance(value, int | str | tuple) or isinstance(value, bool) != is_yes_or_no:
        raise ValueError(f"{value!r} is no value of a policy key")
    source = None if document["source"] is None else Source(**document["source"])
    return document["key"], value, Level(document["level"]), Scope(document["scope"]), source


def _setting_as_json(setting: Setting) -> dict[str, Any]:
    beaten = [{**Claim.as_json(claim), "why": claim.why} for claim in setting.overridden]
    return {**Claim.as_json(setting), "locked": setting.is_locked, "overridden": beaten}


def _setting_from_json(document: Mapping[str, Any]) -> Setting:
    beaten = tuple(Overridden(*_claim_fields(one), one["why"]) for one in document["overridden"])
    return Setting(*_claim_fields(document), overridden=beaten)
