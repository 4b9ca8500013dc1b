"""One key, why it has its value, and who could change that: for the window and the terminal. Pure.

What is told is put together here, so that both tell the same; each only lays it out.
"""

from __future__ import annotations

from dataclasses import dataclass

from gpupanel.model.metrics import QT_TRANSLATE_NOOP
from gpupanel.policy.claims import Claim, Level, Scope
from gpupanel.policy.faults import printable
from gpupanel.policy.key import TIGHTER_TEXTS, Kind, PolicyKey, Value, value_text
from gpupanel.policy.keys import POLICY_KEY_BY_NAME
from gpupanel.policy.resolve import EffectivePolicy, Setting


@dataclass(frozen=True, slots=True)
class Explanation:
    """Everything about one key of a policy in force.

    Attributes:
        change: Who has the right to change it, and where that is done.
    """

    key: PolicyKey
    setting: Setting
    change: str

    @property
    def rows(self) -> tuple[tuple[str, str], ...]:
        """Titles and texts; the titles are marked for translation."""
        setting, key = self.setting, self.key
        force = f"{setting.level.value}{', locked' if setting.is_locked else ''}"
        rows = (
            (QT_TRANSLATE_NOOP("Explanation", "Level"), force),
            (QT_TRANSLATE_NOOP("Explanation", "Set by"), printable(setting.set_by)),
            (QT_TRANSLATE_NOOP("Explanation", "Change"), printable(self.change)),
            (QT_TRANSLATE_NOOP("Explanation", "Bounds"), self.bounds),
            (QT_TRANSLATE_NOOP("Explanation", "Tighter"), TIGHTER_TEXTS[key.tighten]),
            (QT_TRANSLATE_NOOP("Explanation", "Default"), shown(key.default)),
            (QT_TRANSLATE_NOOP("Explanation", "Since"), key.since),
        )
        switch = ((QT_TRANSLATE_NOOP("Explanation", "Switch"), key.switch),)
        return (*rows, *switch) if key.switch else rows

    @property
    def bounds(self) -> str:
        """Which values the key may have."""
        key = self.key
        match key.kind:
            case Kind.BOOLEAN:
                return "true or false"
            case Kind.INTEGER:
                return f"{key.low} to {key.high}"
            case Kind.CHOICE:
                return " < ".join(key.choices)
            case Kind.CHOICES:
                return f"a list of {', '.join(key.choices)}"
            case Kind.TEXTS:
                return f"a list of texts such as {key.example}"

    @property
    def beaten(self) -> tuple[tuple[str, str, str, str], ...]:
        """What else was said: value, level, place, and why it is not in force."""
        return tuple(
            (shown(one.value), one.level.value, place(one), printable(one.why))
            for one in self.setting.overridden
        )


def explain(policy: EffectivePolicy, name: str, user_file: str) -> Explanation:
    """Tell about the key called ``name``; ``user_file`` is where the user's wishes are."""
    setting = policy.settings[name]
    return Explanation(POLICY_KEY_BY_NAME[name], setting, _who_can_change(setting, user_file))


def shown(value: Value) -> str:
    """A value for a person; a list without brackets."""
    return (", ".join(value) or "none") if isinstance(value, tuple) else value_text(value)


def place(claim: Claim) -> str:
    """Where a claim stands: ``FILE:LINE:COL``."""
    return printable(str(claim.source or "built in"))


def _who_can_change(setting: Setting, user_file: str) -> str:
    """Who has the right, and where it is done."""
    mine = f"in {user_file}"
    if setting.level is Level.CLOSED or (setting.scope is Scope.BUILTIN and setting.is_locked):
        return "the administrator, who has to repair the machine policy; until then nobody"
    if not setting.is_locked:
        return f"you, {mine}; an administrator can mandate it"
    bound = _bound(setting)
    where = "by Group Policy" if bound.scope is Scope.REGISTRY else f"in {_file(bound)}"
    for_you = ", for you alone," if bound.scope is Scope.MEMBER else ""
    return f"the administrator{for_you} {where}; you can only make it tighter, {mine}"


def _bound(setting: Setting) -> Claim:
    """The mandate that holds; a user may have gone further."""
    said = (setting, *setting.overridden)
    return next(one for one in said if one.level in {Level.MANDATORY, Level.CLOSED})


def _file(claim: Claim) -> str:
    return claim.source.path if claim.source else "the machine policy"
