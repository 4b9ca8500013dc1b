"""What a row of POLICY_KEYS is: the form of a value, its bounds, and which of two is the tighter.

The values of a key form a lattice: ``meet`` is commutative, associative and idempotent, so the
order in which authorities speak cannot matter.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

Value = bool | int | str | tuple[str, ...]
"""What a key can hold, by its kind: yes or no, an integer, one word, or words."""

GENERAL_ROLE = "general"


class Kind(StrEnum):
    """The form of a value."""

    BOOLEAN = "boolean"
    INTEGER = "integer"
    CHOICE = "choice"
    CHOICES = "choices"
    TEXTS = "texts"
    """Words that the table does not know, each of the form of ``pattern``."""


class Tighten(StrEnum):
    """Which of two values is the tighter one."""

    MIN = "min"
    """The smaller: of caps."""
    MAX = "max"
    """The larger: of floors."""
    RANK = "rank"
    """The later choice."""
    AND = "and"
    """No: of what is allowed."""
    OR = "or"
    """Yes: of what is demanded."""
    INTERSECTION = "intersection"
    """What both name: of what is allowed."""
    UNION = "union"
    """What either names: of what is looked for."""
    ROLES = "roles"
    """For each name before the ``=`` the later choice after it; not named is ``general``."""


TIGHTER_TEXTS: Mapping[Tighten, str] = {
    Tighten.MIN: "smaller",
    Tighten.MAX: "greater",
    Tighten.RANK: "the later word",
    Tighten.AND: "false",
    Tighten.OR: "true",
    Tighten.INTERSECTION: "fewer entries",
    Tighten.UNION: "more entries",
    Tighten.ROLES: "a later role of the same GPU",
}
"""Which value is the tighter one, for a person."""


@dataclass(frozen=True, slots=True)
class PolicyKey:
    """One thing that policy can say.

    Attributes:
        name: ``group.name`` with the unit; the group is the table in a file.
        default: In force when nobody says anything; the defaults together limit nothing.
        closed: In force when the machine policy is broken and none was ever good.
        since: First version of gpupanel that knows the key.
        low: Least integer.
        high: Greatest integer.
        choices: The words, loosest first where they are ranked.
        pattern: Regular expression that each of TEXTS matches as a whole.
        example: One of TEXTS, for documentation.
        switch: Key that turns this one on. Whoever mandates this key mandates its switch too, or
            a user could obey the one and turn off the other.
    """

    name: str
    kind: Kind
    tighten: Tighten
    default: Value
    closed: Value
    label: str
    help: str
    since: str
    low: int = 0
    high: int = 0
    choices: tuple[str, ...] = ()
    pattern: str = ""
    example: str = ""
    switch: str = ""

    @property
    def group(self) -> str:
        """The table that the key stands in: ``mining``."""
        return self.name.partition(".")[0]

    @property
    def field(self) -> str:
        """The name inside its table: ``max_efficiency_percent``."""
        return self.name.partition(".")[2]

    def meet(self, one: Value, other: Value) -> Value:
        """The loosest value that is no looser than either; order does not matter."""
        if isinstance(one, bool) and isinstance(other, bool):
            return one and other if self.tighten is Tighten.AND else one or other
        if isinstance(one, int) and isinstance(other, int):
            return min(one, other) if self.tighten is Tighten.MIN else max(one, other)
        if isinstance(one, str) and isinstance(other, str):
            return max(one, other, key=self.choices.index)
        if isinstance(one, tuple) and isinstance(other, tuple):
            return self._meet_words(one, other)
        raise TypeError(f"{self.name}: {one!r} and {other!r} are not of one kind")

    def is_looser(self, value: Value, limit: Value) -> bool:
        """Whether ``value`` allows something that ``limit`` does not."""
        return self.meet(value, limit) != value

    def normal(self, value: Value | list[str]) -> Value:
        """A valid value in its one form: words as a tuple, in the table's order or sorted."""
        if not isinstance(value, list | tuple):
            return value
        if self.kind is Kind.CHOICES:
            return tuple(word for word in self.choices if word in value)
        if self.tighten is Tighten.ROLES:
            return self._as_words(self._roles(value))
        return tuple(sorted(set(value)))

    def matches(self, text: str) -> bool:
        """Whether ``text`` may be one of TEXTS."""
        return re.fullmatch(self.pattern, text) is not None

    def _meet_words(self, one: tuple[str, ...], other: tuple[str, ...]) -> Value:
        if self.tighten is Tighten.UNION:
            return self.normal((*one, *other))
        if self.tighten is Tighten.INTERSECTION:
            return self.normal(tuple(word for word in one if word in other))
        mine, theirs = self._roles(one), self._roles(other)
        return self._as_words(
            {
                name: max(
                    mine.get(name, GENERAL_ROLE),
                    theirs.get(name, GENERAL_ROLE),
                    key=self.choices.index,
                )
                for name in mine.keys() | theirs.keys()
            }
        )

    def _roles(self, words: tuple[str, ...] | list[str]) -> dict[str, str]:
        """Name to role; of a name that stands twice the tighter role counts."""
        roles: dict[str, str] = {}
        for word in words:
            name, _, role = word.rpartition("=")
            roles[name] = max(roles.get(name, role), role, key=self.choices.index)
        return roles

    @staticmethod
    def _as_words(roles: Mapping[str, str]) -> tuple[str, ...]:
        return tuple(
            f"{name}={role}" for name, role in sorted(roles.items()) if role != GENERAL_ROLE
        )


def value_text(value: Value) -> str:
    """A value as a policy file writes it, without quotes: ``true``, ``50``, ``[ai, gaming]``."""
    if isinstance(value, bool):
        return str(value).lower()
    return f"[{', '.join(value)}]" if isinstance(value, tuple) else str(value)
