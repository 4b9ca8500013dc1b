"""What is to be written down, before it has a place in the chain."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from gpupanel.model.audit import AuditEvent, AuditFields
from gpupanel.model.chain import Moment
from gpupanel.model.gpu import Unavailable
from gpupanel.policy.faults import printable

Clock = Callable[[], Moment]

MOST_CHARACTERS = 256
"""Of one text; the rest is cut off."""

MOST_TEXTS = 32
"""Of one list."""

_KNOWN = frozenset(AuditFields.__annotations__)


class Entry(NamedTuple):
    """One event, when it was, and its fields as JSON knows them."""

    event: AuditEvent
    moment: Moment
    fields: Mapping[str, Any]


if sys.platform == "win32":

    def now() -> Moment:
        """This instant."""
        # On Windows the monotonic clock counts sleep too.
        return Moment(time.time(), time.monotonic())

else:

    def now() -> Moment:
        """This instant."""
        return Moment(time.time(), time.clock_gettime(time.CLOCK_BOOTTIME))


def cleaned(fields: Mapping[str, object]) -> dict[str, Any]:
    """Fields as they may be written: texts of one short printable line, numbers finite.

    Raises:
        ValueError: AuditFields does not know a field, or JSON its value: a mistake of the
            caller's code.
    """
    if unknown := fields.keys() - _KNOWN:
        raise ValueError(f"a record has no field {min(unknown)}")
    return {name: _cleaned(value) for name, value in fields.items()}


def _cleaned(value: object) -> object:
    match value:
        case str():
            return _short(value)
        case float():
            return value if math.isfinite(value) else None
        case None | Unavailable():
            return None
        case int():
            return value
        case list() | tuple():
            texts = [_short(str(one)) for one in value[:MOST_TEXTS]]
            rest = len(value) - len(texts)
            return [*texts, f"and {rest} more"] if rest else texts
    raise ValueError(f"a record holds no {type(value).__name__}")


def _short(text: str) -> str:
    return printable(text if len(text) <= MOST_CHARACTERS else text[: MOST_CHARACTERS - 1] + "…")
