"""What the machine's authorities say, key by key, before a user is heard. Pure.

Inside the files a later one replaces an earlier one, but for what is final: of that, a later file
can only say less than what was in force before it. The registry is an authority beside the files,
and what is said of one user stands on top of both; these meet, and the tighter value holds.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from gpupanel.model.decision import Diagnostic
from gpupanel.policy.claims import (
    Claim,
    Final,
    Level,
    Overridden,
    Scope,
    Statement,
    newest_first,
    parts,
)
from gpupanel.policy.faults import Fault, warning
from gpupanel.policy.key import value_text
from gpupanel.policy.keys import POLICY_KEY_BY_NAME


@dataclass(slots=True)
class Said:
    """Everything that administrators say of one key.

    Attributes:
        claims: Of the files, oldest first, after what is final had its effect.
        held: What files said beyond what is final.
        registry: Mandates of the registry.
        members: Mandates for this user.
        implied: A mandate that follows from another key, whose switch this one is.
    """

    claims: list[Claim] = field(default_factory=list)
    held: list[Overridden] = field(default_factory=list)
    registry: list[Claim] = field(default_factory=list)
    members: list[Claim] = field(default_factory=list)
    implied: Claim | None = None

    @property
    def mandates(self) -> tuple[Claim, ...]:
        """Of the machine, strongest first; the registry's only where no file has one."""
        for level in (Level.CLOSED, Level.MANDATORY):
            found = tuple(claim for claim in reversed(self.claims) if claim.level is level)
            if found:
                return found
        return tuple(self.registry) if self.implied is None else (self.implied,)

    @property
    def recommended(self) -> tuple[Claim, ...]:
        """Newest first."""
        return tuple(one for one in reversed(self.claims) if one.level is Level.RECOMMENDED)


def by_key(statements: Sequence[Statement]) -> Mapping[str, Said]:
    """What is said of each key that anything is said of."""
    said: dict[str, Said] = defaultdict(Said)
    finals: dict[str, Final] = {}
    for one in statements:
        if isinstance(one, Final):
            finals.setdefault(one.key, one)
        else:
            _add(said[one.key], one, finals.get(one.key))
    for switch in implied_switches(_mandated(statements, Scope.MACHINE)):
        said[switch.key].implied = _meant(switch, said[switch.key])
    for switch in implied_switches(_mandated(statements, Scope.REGISTRY)):
        said[switch.key].registry.append(switch)
    for switch in implied_switches(_mandated(statements, Scope.MEMBER)):
        # Whoever caps one user more leaves it to the machine whether caps are on.
        if not said[switch.key].mandates:
            said[switch.key].implied = _meant(switch, said[switch.key])
    return said


def implied_switches(claims: Sequence[Claim]) -> tuple[Claim, ...]:
    """The default position of each switch that ``claims`` depend on and do not name."""
    named = {"", *(claim.key for claim in claims)}
    return tuple(
        Claim(switch, POLICY_KEY_BY_NAME[switch].default, claim.level, claim.scope, claim.source)
        for claim in claims
        if (switch := POLICY_KEY_BY_NAME[claim.key].switch) not in named
    )


def conflicts(statements: Sequence[Statement]) -> tuple[Diagnostic, ...]:
    """Where files and registry mandate different values; the tighter one holds."""
    found = []
    for name, said in by_key(statements).items():
        file = next((one for one in said.mandates if one.scope is Scope.MACHINE), None)
        if file is None or not said.registry or file.value == said.registry[0].value:
            continue
        other = said.registry[0]
        held = value_text(POLICY_KEY_BY_NAME[name].meet(file.value, other.value))
        text = (
            f"{name}: the registry mandates {value_text(other.value)}, {file.source} mandates "
            f"{value_text(file.value)}: the tighter holds, {held}"
        )
        found.append(warning(Fault.CONFLICT, str(other.source), text))
    return tuple(found)


_MANDATORY = Level.MANDATORY


def _mandated(statements: Sequence[Statement], scope: Scope) -> list[Claim]:
    """The mandates of one authority."""
    return [
        one
        for one in statements
        if isinstance(one, Claim) and one.scope is scope and one.level is _MANDATORY
    ]


def _add(said: Said, claim: Claim, final: Final | None) -> None:
    """To the authority that it is of."""
    if claim.scope is Scope.REGISTRY:
        said.registry.append(claim)
    elif claim.scope is Scope.MEMBER:
        said.members.append(claim)
    elif final:
        _add_to_final(said, claim, final)
    else:
        said.claims.append(claim)


def _add_to_final(said: Said, claim: Claim, final: Final) -> None:
    """Let ``claim`` say no more than what was in force before it."""
    key = POLICY_KEY_BY_NAME[claim.key]
    before = next(newest_first(claim.key, said.claims, Level.MANDATORY), None)
    before = before or next(newest_first(claim.key, said.claims, Level.RECOMMENDED), None)
    limit = before.value if before else key.default
    met = key.meet(claim.value, limit)
    if met == claim.value:
        said.claims.append(claim)
        return
    why = f"looser than {value_text(limit)}, and {final.source} makes the key final"
    said.held.insert(0, Overridden(*parts(claim), why=why))
    # A mandate binds the user even where it could not loosen anything.
    binds = claim.level is Level.MANDATORY and (before is None or before.level is not _MANDATORY)
    if met != limit or binds:
        said.claims.append(Claim(key.name, met, claim.level, claim.scope, claim.source))


def _meant(switch: Claim, said: Said) -> Claim:
    """The position that the administrator's own recommendation gives, if there is one."""
    asked = next(iter(said.recommended), None)
    return (
        Claim(switch.key, asked.value, _MANDATORY, asked.scope, asked.source) if asked else switch
    )
