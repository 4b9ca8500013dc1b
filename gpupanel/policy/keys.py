"""POLICY_KEYS, the one table of what policy can say.

Models, merging, decisions, the window and the documentation are made from these rows. Values are
integers and words only: NaN slips past every comparison, so there is no float in a policy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from gpupanel.model.metrics import QT_TRANSLATE_NOOP
from gpupanel.model.workload import Family

Value = int | str | tuple[str, ...]
"""What a key can hold, by its kind: an integer, one word, or words in the order of the table."""


class Kind(StrEnum):
    """The form of a value."""

    INTEGER = "integer"
    CHOICE = "choice"
    CHOICES = "choices"


class Tighten(StrEnum):
    """Which of two values is the tighter one: the smaller, the later choice, or what both allow."""

    MIN = "min"
    RANK = "rank"
    INTERSECTION = "intersection"


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
        if isinstance(one, int) and isinstance(other, int):
            return min(one, other)
        if isinstance(one, str) and isinstance(other, str):
            return max(one, other, key=self.choices.index)
        if isinstance(one, tuple) and isinstance(other, tuple):
            return tuple(word for word in self.choices if word in one and word in other)
        raise TypeError(f"{self.name}: {one!r} and {other!r} are not of one kind")

    def is_looser(self, value: Value, limit: Value) -> bool:
        """Whether ``value`` allows something that ``limit`` does not."""
        return self.meet(value, limit) != value


_FAMILIES = tuple(family.value for family in Family)

POLICY_KEYS: tuple[PolicyKey, ...] = (
    PolicyKey(
        "mining.enforcement", Kind.CHOICE, Tighten.RANK,
        # With the default cap of 100 nothing happens until somebody sets one.
        default="enforce", closed="enforce", choices=("off", "audit", "enforce"),
        label=QT_TRANSLATE_NOOP("PolicyKeys", "Enforcement"),
        help=QT_TRANSLATE_NOOP(
            "PolicyKeys",
            "off: the mining cap is ignored; audit: what it would do is reported and not done; "
            "enforce: it is done.",
        ),
        since="0.1",
    ),
    PolicyKey(
        "mining.max_efficiency_percent", Kind.INTEGER, Tighten.MIN, low=1, high=100,
        # Closed is 5: a launch of 250 ms is then paid off within one hold of the limiter (5 s), so
        # mining is near worthless but goes on, and nothing that watches for life calls it hung.
        default=100, closed=5, switch="mining.enforcement",
        label=QT_TRANSLATE_NOOP("PolicyKeys", "Mining efficiency"),
        help=QT_TRANSLATE_NOOP(
            "PolicyKeys",
            "Most GPU time that mining may use, as a percentage; 100 is uncapped.",
        ),
        since="0.1",
    ),
    PolicyKey(
        "stress.allowed_loads", Kind.CHOICES, Tighten.INTERSECTION, choices=_FAMILIES,
        # Closed allows all: a typo in a file must throttle miners, not stop games and training.
        default=_FAMILIES, closed=_FAMILIES,
        label=QT_TRANSLATE_NOOP("PolicyKeys", "Allowed loads"),
        help=QT_TRANSLATE_NOOP("PolicyKeys", "Families of stress loads that may run."),
        since="0.1",
    ),
    PolicyKey(
        "stress.max_run_seconds", Kind.INTEGER, Tighten.MIN, low=1, high=7200,
        # Closed keeps the longest run: ending a run early is a kill.
        default=7200, closed=7200,
        label=QT_TRANSLATE_NOOP("PolicyKeys", "Longest run"),
        help=QT_TRANSLATE_NOOP("PolicyKeys", "Most seconds that one run of a load may last."),
        since="0.1",
    ),
)  # fmt: skip

POLICY_KEY_BY_NAME: Mapping[str, PolicyKey] = {key.name: key for key in POLICY_KEYS}
