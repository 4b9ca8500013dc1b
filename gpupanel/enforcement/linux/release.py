# ruff: noqa: E402 - what follows exists on Linux alone, and mypy checks it there alone
"""Letting go of what is held, from a trace alone: after a crash, or at the end of a hold.

Each step is tried whatever became of those before it, and doing it twice is well.
"""

from __future__ import annotations

import sys

assert sys.platform == "linux"

import os
import signal
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from gpupanel.enforcement.cell import ProcessKey, Trace
from gpupanel.enforcement.linux import process
from gpupanel.enforcement.linux.hierarchy import GONE, OURS, Hierarchy, find
from gpupanel.enforcement.tree import descendants
from gpupanel.model.errors import HoldFailed

SCOPE = ".scope"
"""How the name of a group ends that systemd made for us, and that it removes when it is empty."""

_MOST_ROUNDS = 16
"""A process that forks while it is moved leaves somebody for the next round."""

Homes = Mapping[ProcessKey, str]


def thaw(trace: Trace) -> None:
    """Let everybody run, and leave them where they are.

    Raises:
        HoldFailed: Somebody may still be held.
    """
    try:
        undo = _UNDO[trace["kind"]]
        undo(trace)
    except (KeyError, TypeError, ValueError) as reason:
        raise HoldFailed(
            f"the note of a hold is damaged, so it cannot be undone: {reason}"
        ) from None


def restore(trace: Trace) -> None:
    """Let everybody run, put them back where they came from, and remove what was made for it.

    Whose place is gone stays where he is, and runs.

    Raises:
        HoldFailed: Somebody may still be held.
    """
    thaw(trace)
    if trace["kind"] != "cgroup":
        return
    hierarchy, groups = _groups(trace)
    homes = {(int(pid), int(started)): str(home) for pid, started, home in trace["homes"]}
    if hierarchy is not None:
        for group in groups:
            empty(hierarchy, group, homes)


def empty(hierarchy: Hierarchy, group: str, homes: Homes) -> None:
    """Send everybody home and remove the group; systemd removes a scope itself."""
    for _ in range(_MOST_ROUNDS):
        pids = hierarchy.pids(group)
        if not sum(_send_home(hierarchy, pid, group, homes) for pid in pids):
            break
    if not group.endswith(SCOPE):
        try:
            os.rmdir(hierarchy.folder(group))
        except OSError:
            return  # somebody had no home to go to, or it was removed before


def cgroup_trace(version: int, groups: Collection[str], homes: Homes) -> dict[str, Any]:
    """What ``restore`` needs for processes in groups of ours."""
    notes = [[*key, home] for key, home in homes.items()]
    return {"kind": "cgroup", "version": version, "groups": list(groups), "homes": notes}


def signals_trace(processes: Collection[ProcessKey]) -> dict[str, Any]:
    """What ``restore`` needs for processes that were stopped."""
    return {"kind": "signals", "processes": sorted(map(list, processes))}


def _thaw_groups(trace: Trace) -> None:
    hierarchy, groups = _groups(trace)
    if hierarchy is None:
        return  # unmounted: there is nothing left that could hold
    faults = []
    for group in groups:
        try:
            hierarchy.thaw(group)
        except OSError as error:
            if error.errno not in GONE:
                faults.append(f"{group} cannot be thawed: {error.strerror}")
    if faults:
        raise HoldFailed("; ".join(faults))


def _groups(trace: Trace) -> tuple[Hierarchy | None, list[str]]:
    """Only those of our own: a damaged note must not reach others.

    Raises:
        ValueError: It names others.
    """
    groups = [str(group) for group in trace["groups"]]
    for group in groups:
        if not group.startswith("/") or "/.." in group or not _name(group).startswith(OURS):
            raise ValueError(f"{group} is no group of ours")
    return find(int(trace["version"])), groups


def _name(group: str) -> str:
    return group.rpartition("/")[2]


def _send_home(hierarchy: Hierarchy, pid: int, group: str, homes: Homes) -> bool:
    """To its own place, else to the one right above ours, which has all limits that ours had."""
    above = group.rpartition("/")[0]
    for home in (*_homes_of(pid, homes), *([] if group.endswith(SCOPE) else [above])):
        try:
            return hierarchy.move(pid, home)
        except OSError:
            continue  # it was removed, or we have no right to it
    return False


def _homes_of(pid: int, homes: Homes) -> Iterator[str]:
    """That of the process, or of the nearest of its forebears that has one; else the first."""
    one = process.read(pid)
    by_pid = {key[0]: home for key, home in homes.items()}
    while one is not None and one.pid > 1:
        if one.pid in by_pid:
            yield by_pid[one.pid]
            return
        one = process.read(one.parent)
    yield from list(homes.values())[:1]


def _continue(trace: Trace) -> None:
    """Children that were made after the trace was written are found below those that it names.

    Whoever runs is told too: a stop may be on its way to him. Whom his user stopped runs as well.
    """
    keys = [(int(pid), int(started)) for pid, started in trace["processes"]]
    process.send_to(descendants(keys, process.living()), signal.SIGCONT)


_UNDO: Mapping[str, Callable[[Trace], None]] = {"cgroup": _thaw_groups, "signals": _continue}
