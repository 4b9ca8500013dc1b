"""What becomes looser and what tighter from one policy to another. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from gpupanel.policy.claims import Statement
from gpupanel.policy.key import PolicyKey
from gpupanel.policy.keys import POLICY_KEYS
from gpupanel.policy.resolve import EffectivePolicy, Setting, resolve


class Direction(StrEnum):
    """Where a key goes."""

    TIGHTER = "tighter"
    LOOSER = "looser"
    CHANGED = "changed"
    """It allows something new and forbids something else."""


@dataclass(frozen=True, slots=True)
class Change:
    """One key that is not the same in two policies."""

    key: str
    direction: Direction
    before: Setting
    after: Setting

    def as_json(self) -> dict[str, Any]:
        """The contract of ``policy diff --json``."""
        return {
            "key": self.key,
            "direction": self.direction.value,
            "before": _side(self.before),
            "after": _side(self.after),
        }


def changes(before: EffectivePolicy, after: EffectivePolicy) -> tuple[Change, ...]:
    """Every key whose value differs, or that a user may now change or no longer change."""
    found = []
    for key in POLICY_KEYS:
        old, new = before.settings[key.name], after.settings[key.name]
        if old.value != new.value or old.is_locked != new.is_locked:
            found.append(Change(key.name, _direction(key, old, new), old, new))
    return tuple(found)


def loosened(before: Sequence[Statement], after: Sequence[Statement]) -> tuple[str, ...]:
    """Keys that the machine's authorities bound less than they did.

    Args:
        before: What they said about one user.
        after: What they say about the same user.
    """
    old, new = resolve(before), resolve(after)
    return tuple(
        key.name
        for key in POLICY_KEYS
        if _bounds_less(key, old.settings[key.name], new.settings[key.name])
    )


def _bounds_less(key: PolicyKey, old: Setting, new: Setting) -> bool:
    if not old.is_locked:
        return False
    return not new.is_locked or key.is_looser(new.value, old.value)


def _direction(key: PolicyKey, old: Setting, new: Setting) -> Direction:
    is_looser = key.is_looser(new.value, old.value) or (old.is_locked and not new.is_locked)
    is_tighter = key.is_looser(old.value, new.value) or (new.is_locked and not old.is_locked)
    if is_looser and is_tighter:
        return Direction.CHANGED
    return Direction.LOOSER if is_looser else Direction.TIGHTER


def _side(setting: Setting) -> dict[str, Any]:
    document = setting.as_json()
    return {name: document[name] for name in ("value", "level", "source")} | {
        "locked": setting.is_locked
    }
