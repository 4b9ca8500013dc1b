"""From what every source says to what is in force, and who said so. Pure.

What the machine's own authorities say is put together in ``machine``. Across authorities nothing
is replaced: values meet, and the tighter one holds, so no order of sources can loosen a mandate.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from gpupanel.model.decision import Diagnostic
from gpupanel.policy.claims import (
    Claim,
    Level,
    Overridden,
    Scope,
    Statement,
    claim_fields,
    newest_first,
    parts,
)
from gpupanel.policy.key import PolicyKey
from gpupanel.policy.keys import POLICY_KEY_BY_NAME, POLICY_KEYS

if TYPE_CHECKING:
    from gpupanel.policy.machine import Said


class PolicyState(StrEnum):
    """How the whole policy stands."""

    UNMANAGED = "unmanaged"
    """No machine policy exists."""
    MANAGED = "managed"
    """The machine policy is in force."""
    STALE = "stale"
    """The machine policy is broken; what it last said is in force."""
    CLOSED = "closed"
    """It is broken and was never good, or gone though required: the built-in values hold."""
    AUDIT_ONLY = "audit_only"
    """The policy is good, and its mining cap only reports (``mining.enforcement``)."""


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
        loosened: Keys that the machine policy bounds less than the generation before it did.
    """

    state: PolicyState
    settings: Mapping[str, Setting]
    diagnostics: tuple[Diagnostic, ...] = ()
    loosened: tuple[str, ...] = ()

    @property
    def is_managed(self) -> bool:
        """Whether an administrator says anything, or has to: a broken policy is one too."""
        return self.state is not PolicyState.UNMANAGED

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
            "loosened": list(self.loosened),
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
            loosened = tuple(POLICY_KEY_BY_NAME[key].name for key in document["loosened"])
        except (AttributeError, KeyError, TypeError, ValueError) as reason:
            raise ValueError(f"not an effective policy: {reason!r}") from None
        missing = POLICY_KEY_BY_NAME.keys() - settings.keys()
        if missing:
            raise ValueError(f"not an effective policy: {', '.join(sorted(missing))} missing")
        return cls(state, settings, diagnostics, loosened)


def closed_claims() -> tuple[Claim, ...]:
    """What a machine whose policy is broken mandates: throttle hard, kill nothing."""
    return tuple(
        Claim(key.name, key.closed, Level.CLOSED, Scope.BUILTIN, None) for key in POLICY_KEYS
    )


def resolve(
    machine: Sequence[Statement],
    user: Sequence[Claim] = (),
    extra: Sequence[Claim] = (),
    *,
    state: PolicyState = PolicyState.MANAGED,
    diagnostics: Sequence[Diagnostic] = (),
    loosened: Sequence[str] = (),
) -> EffectivePolicy:
    """Merge by precedence: mandate, then user and extra file tighten; else user, recommended.

    Args:
        machine: Of all its authorities, the files in their order; without what is said about
            other users.
        user: The user's wishes; free where nothing is mandated.
        extra: Of a file for this call only; tightens whatever the others result in.
        state: AUDIT_ONLY comes out instead of UNMANAGED and MANAGED where enforcement is audit.
        diagnostics: Carried along.
        loosened: Carried along.
    """
    # Not above: whoever shows a policy that somebody else resolved does without.
    from gpupanel.policy.machine import Said, by_key, implied_switches

    extra = (*implied_switches(extra), *extra)
    said = by_key(machine)
    settings = {
        key.name: _setting(key, said.get(key.name, Said()), user, extra) for key in POLICY_KEYS
    }
    is_sound = state in {PolicyState.UNMANAGED, PolicyState.MANAGED}
    if is_sound and settings["mining.enforcement"].value == "audit":
        state = PolicyState.AUDIT_ONLY
    return EffectivePolicy(state, settings, tuple(diagnostics), tuple(loosened))


def _setting(key: PolicyKey, said: Said, user: Sequence[Claim], extra: Sequence[Claim]) -> Setting:
    """One key through all authorities."""
    mandates = said.mandates
    wishes = tuple(newest_first(key.name, user))
    default = Claim(key.name, key.default, Level.DEFAULT, Scope.BUILTIN, None)
    is_bound = bool(mandates or said.members)
    ranked = (*mandates, *(() if is_bound else wishes), *said.recommended)
    ranked = ranked if mandates else (*ranked, default)
    setting = Setting(*parts(ranked[0]), overridden=(*_superseded(ranked), *said.held))
    tighter = (*said.registry, *said.members, *(wishes[:1] if is_bound else ()))
    for claim in (*tighter, *newest_first(key.name, extra)):
        if claim is not ranked[0]:
            setting = _tightened(key, setting, claim)
    return setting


def _superseded(ranked: Sequence[Claim]) -> tuple[Overridden, ...]:
    """Every claim after the first; the default goes without saying."""
    winner = ranked[0].source
    return tuple(
        Overridden(*parts(claim), why=f"superseded by {winner}")
        for claim in ranked[1:]
        if claim.source not in {None, winner}
    )


def _tightened(key: PolicyKey, setting: Setting, claim: Claim) -> Setting:
    """``setting`` after ``claim`` had the chance to tighten it."""
    met = key.meet(setting.value, claim.value)
    binds = claim.level is Level.MANDATORY and met == claim.value and not setting.is_locked
    if met == setting.value and not binds:
        is_same = claim.value == setting.value
        why = "says the same" if is_same else f"looser than what {_WHO[setting.scope]} allows"
        beaten = Overridden(*parts(claim), why=why)
        return Setting(*parts(setting), overridden=(*setting.overridden, beaten))
    beaten = Overridden(*parts(setting), why=f"tightened by {_WHO[claim.scope]}")
    gone = () if setting.level is Level.DEFAULT else (beaten,)
    return Setting(
        key.name, met, claim.level, claim.scope, claim.source, (*gone, *setting.overridden)
    )


_WHO: Mapping[Scope, str] = {
    Scope.MACHINE: "the machine policy",
    Scope.REGISTRY: "the machine policy in the registry",
    Scope.MEMBER: "the machine policy for this user",
    Scope.USER: "the user's policy",
    Scope.EXTRA: "the policy file of this call",
    Scope.BUILTIN: "the built-in default",
}
_WHO_CLOSED = "the built-in closed policy, because the machine policy is broken or missing"


def _setting_as_json(setting: Setting) -> dict[str, Any]:
    beaten = [{**Claim.as_json(claim), "why": claim.why} for claim in setting.overridden]
    return {**Claim.as_json(setting), "locked": setting.is_locked, "overridden": beaten}


def _setting_from_json(document: Mapping[str, Any]) -> Setting:
    beaten = tuple(Overridden(*claim_fields(one), one["why"]) for one in document["overridden"])
    return Setting(*claim_fields(document), overridden=beaten)
