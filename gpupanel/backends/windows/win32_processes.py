"""Who a pid of a performance counter is; asked of psutil and remembered while the process lives."""

from __future__ import annotations

from typing import NamedTuple

_FILETIME_OF_1970 = 116_444_736_000_000_000


class Identity(NamedTuple):
    """One process.

    Attributes:
        started: FILETIME, to the microsecond; 0 where it cannot be read.
        user: None where the system does not tell.
    """

    started: int
    name: str
    user: str | None


class Identities:
    """Names of processes; asking for a user takes long, and a process keeps its own."""

    def __init__(self) -> None:
        self._known: dict[int, Identity] = {}

    def of(self, pid: int) -> Identity | None:
        """Who ``pid`` is now, or None when it is gone: counters outlive their process."""
        import psutil

        try:
            process = psutil.Process(pid)
            started = filetime(process.create_time())
            known = self._known.get(pid)
            if known is not None and known.started == started:
                return known
            identity = Identity(started, process.name(), _user(process))
        except psutil.NoSuchProcess:
            self._known.pop(pid, None)
            return None
        except psutil.AccessDenied:
            return Identity(0, f"pid {pid}", None)
        self._known[pid] = identity
        return identity

    def forget_all_but(self, pids: set[int]) -> None:
        """Keep no more than is needed for the next time."""
        self._known = {pid: known for pid, known in self._known.items() if pid in pids}


def filetime(unix_s: float) -> int:
    """Units of 100 ns since 1601; 0 for a process that psutil gives no time of."""
    return round(unix_s * 1e6) * 10 + _FILETIME_OF_1970 if unix_s > 0 else 0


def _user(process: object) -> str | None:
    import psutil

    try:
        return str(process.username())  # type: ignore[attr-defined]
    except psutil.AccessDenied:
        return None
