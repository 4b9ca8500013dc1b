"""Who descends from whom. Pure: everybody who lives is passed in.

A child whose parent has ended belongs to init or to another reaper: it cannot be found this way. A
control group has no such gap, so whoever may use one asks for the tree once, before it is filled.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from typing import Protocol

from gpupanel.enforcement.cell import ProcessKey


class Born(Protocol):
    """A process that knows its parent."""

    @property
    def pid(self) -> int:
        """Its number."""

    @property
    def parent(self) -> int:
        """Pid of who made it, or of who adopted it."""

    @property
    def started(self) -> int:
        """On the system's clock."""


def descendants(roots: Collection[ProcessKey], living: Iterable[Born]) -> frozenset[ProcessKey]:
    """Those of ``roots`` that live, and all their children, and theirs.

    Who is older than its parent is not its child: Windows keeps the number of a parent that ended,
    and gives it to somebody else.
    """
    children: dict[int, list[Born]] = defaultdict(list)
    front: list[ProcessKey] = []
    wanted = frozenset(roots)
    for one in living:
        children[one.parent].append(one)
        if (one.pid, one.started) in wanted:
            front.append((one.pid, one.started))
    found = set(front)
    while front:
        pid, started = front.pop()
        born = {(one.pid, one.started) for one in children[pid] if one.started >= started} - found
        found |= born
        front.extend(born)
    return frozenset(found)
