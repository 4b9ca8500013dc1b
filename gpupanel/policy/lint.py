"""What a valid machine file says in vain. Pure; each finding is a warning and refuses nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gpupanel.model.decision import Diagnostic
from gpupanel.policy.claims import Claim, Level, MemberClaim, Scope, Statement
from gpupanel.policy.faults import Fault, warning
from gpupanel.policy.key import value_text
from gpupanel.policy.keys import POLICY_KEY_BY_NAME


def warnings_about(statements: Sequence[Statement], path: str) -> tuple[Diagnostic, ...]:
    """Everything that one file says without effect, in no particular order."""
    claims = [one for one in statements if isinstance(one, Claim)]
    if not claims:
        text = "the file says nothing about any key: an empty file would mask, this one does not"
        return (warning(Fault.SAYS_NOTHING, path, text),)
    mandates = {
        one.key: one
        for one in claims
        if one.scope is Scope.MACHINE and one.level is Level.MANDATORY
    }
    return (
        *_switched_off(mandates, path),
        *_crossed_bounds(mandates, path),
        *_bound_recommendations(claims, mandates, path),
        *_loose_scopes(claims, mandates, path),
    )


def _switched_off(mandates: dict[str, Claim], path: str) -> Iterator[Diagnostic]:
    for claim in mandates.values():
        switch = mandates.get(POLICY_KEY_BY_NAME[claim.key].switch)
        if switch and switch.value == POLICY_KEY_BY_NAME[switch.key].choices[0]:
            yield _no_effect(claim, path, f"{switch.key} is {value_text(switch.value)}")


def _crossed_bounds(mandates: dict[str, Claim], path: str) -> Iterator[Diagnostic]:
    low = mandates.get("controls.power_limit_min_percent")
    high = mandates.get("controls.power_limit_max_percent")
    if low is None or high is None:
        return
    assert isinstance(low.value, int)
    assert isinstance(high.value, int)
    if low.value > high.value:
        yield _no_effect(low, path, f"{high.key} is {high.value}, and the ceiling holds")


def _bound_recommendations(
    claims: Sequence[Claim], mandates: dict[str, Claim], path: str
) -> Iterator[Diagnostic]:
    for claim in claims:
        if claim.level is Level.RECOMMENDED and claim.key in mandates:
            yield _no_effect(claim, path, f"{mandates[claim.key].source} mandates the key")


def _loose_scopes(
    claims: Sequence[Claim], mandates: dict[str, Claim], path: str
) -> Iterator[Diagnostic]:
    for claim in claims:
        mandate = mandates.get(claim.key)
        if mandate is None or not isinstance(claim, MemberClaim):
            continue
        if POLICY_KEY_BY_NAME[claim.key].meet(claim.value, mandate.value) == mandate.value:
            yield _no_effect(claim, path, f"{mandate.source} mandates no less for everybody")


def _no_effect(claim: Claim, path: str, why: str) -> Diagnostic:
    source = claim.source
    text = f"{claim.key} = {value_text(claim.value)} has no effect: {why}"
    line, column = (source.line, source.column) if source else (0, 0)
    return warning(Fault.NO_EFFECT, path, text, line, column)
