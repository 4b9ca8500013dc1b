"""Letting go after a crash: of what the journal names, and of what is ours and in no journal.

Runs when all else died (``ExecStopPost``), so it imports little and tries everything.
"""

from __future__ import annotations

import sys
from typing import NamedTuple

from gpupanel.enforcement.cell import Trace
from gpupanel.enforcement.journal import Journal
from gpupanel.model.errors import HoldFailed


class Restored(NamedTuple):
    """What became of it.

    Attributes:
        names: The holds that were let go of.
        faults: One sentence each, for what may still be held, or could not be read.
    """

    names: tuple[str, ...]
    faults: tuple[str, ...]


def restore_all(journal: Journal, prefix: str = "") -> Restored:
    """Let go of everything that we ever held in this boot, and empty the journal.

    Nobody else of our rights may hold anything meanwhile: it would be let go of too.

    Args:
        journal: Whose entries, once let go of, are removed.
        prefix: Of the names of cells that are looked for beside the journal.
    """
    names, faults = [], [journal.problem] if journal.problem else []
    for entry in journal.entries():
        try:
            restore(entry.trace)
            journal.remove(entry.name)
            names.append(entry.name)
        except HoldFailed as reason:
            faults.append(f"{entry.name}: {reason}")
    stale, stale_faults = restore_stale(prefix)
    return Restored((*names, *stale), (*faults, *stale_faults))


if sys.platform == "linux":
    from gpupanel.enforcement.linux import hierarchy, release

    thaw, restore = release.thaw, release.restore

    def restore_stale(prefix: str = "") -> Restored:
        """Let go of groups of ours that no journal names."""
        names, faults = [], []
        for version in (2, 1):
            found = hierarchy.find(version)
            groups = list(found.groups_of_ours(hierarchy.OURS + prefix)) if found else []
            for group in groups:
                try:
                    restore(release.cgroup_trace(version, [group], {}))
                    names.append(group)
                except HoldFailed as reason:
                    faults.append(str(reason))
        return Restored(tuple(names), tuple(faults))

    def boot_id() -> str:
        """Another one after each start of the system.

        Raises:
            OSError: The system does not tell.
        """
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip()

else:
    _PREFETCH = (
        r"SYSTEM\CurrentControlSet\Control\Session Manager\Memory Management\PrefetchParameters"
    )
    """Where Windows counts its starts."""

    def thaw(trace: Trace) -> None:
        """Windows lets go by itself when whoever holds has ended."""

    def restore(trace: Trace) -> None:
        """Windows lets go by itself when whoever holds has ended."""

    def restore_stale(prefix: str = "") -> Restored:
        """There is nothing to find: nothing outlives its holder."""
        del prefix
        return Restored((), ())

    def boot_id() -> str:
        """Another one after each start of the system.

        Raises:
            OSError: The system does not tell.
        """
        import winreg

        with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, _PREFETCH) as key:
            return str(winreg.QueryValueEx(key, "BootId")[0])
