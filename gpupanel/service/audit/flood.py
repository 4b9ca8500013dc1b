"""Refused requests of one user: the first is written at once, the rest is counted for a while.

Whoever may only ask can thus neither fill the disk nor push anything else out of the log.
"""

from __future__ import annotations

from dataclasses import dataclass

from gpupanel.model.chain import Moment
from gpupanel.service.audit.entry import Entry

WINDOW_S = 60.0
MOST_KEYS = 256
"""Beyond so many users at once the others are counted together."""

_OTHERS = -1

_Key = tuple[str, object]


@dataclass(slots=True)
class _Counted:
    """One user's refusals since one was written."""

    until_s: float
    last: Entry
    count: int = 0


class Flood:
    """Belongs to whoever holds the audit log's lock."""

    def __init__(self) -> None:
        self._by_key: dict[_Key, _Counted] = {}

    def admit(self, entry: Entry) -> bool:
        """Whether to write it now; else it is counted."""
        key: _Key = (entry.event.name, entry.fields.get("uid"))
        if key not in self._by_key and len(self._by_key) >= MOST_KEYS:
            key = (entry.event.name, _OTHERS)
            fields = {**entry.fields, "uid": None, "user": None}
            entry = entry._replace(fields=fields)
        counted = self._by_key.get(key)
        if counted is None:
            self._by_key[key] = _Counted(entry.moment.boot_s + WINDOW_S, entry)
            return True
        counted.count += 1
        counted.last = entry
        return False

    @property
    def next_due_s(self) -> float:
        """Since boot, when ``due`` has something to do; infinite while nothing is counted."""
        return min((one.until_s for one in self._by_key.values()), default=float("inf"))

    def due(self, moment: Moment, *, is_end: bool = False) -> list[Entry]:
        """One entry for each user whose window is over and who went on asking."""
        over = [
            key
            for key, counted in self._by_key.items()
            if is_end or counted.until_s <= moment.boot_s
        ]
        entries = []
        for key in over:
            counted = self._by_key.pop(key)
            if counted.count:
                fields = {**counted.last.fields, "count": counted.count}
                entries.append(Entry(counted.last.event, moment, fields))
                if not is_end:
                    self._by_key[key] = _Counted(moment.boot_s + WINDOW_S, counted.last)
        return entries
