"""What one client may see of processes that are not its own, cut before anything is written out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from gpupanel.ipc.transport import Endpoint, Peer
from gpupanel.model.gpu import GpuId, ProcessSample, Unavailable
from gpupanel.model.hold import Hold
from gpupanel.model.verdict import Verdict
from gpupanel.policy.resolve import EffectivePolicy

ABOUT_PROCESSES = frozenset({"mining", "run"})
"""Kinds of events that tell of somebody's programs."""


@dataclass(frozen=True, slots=True)
class View:
    """Through the eyes of one client.

    Attributes:
        sees_all: Every user's processes; else those of ``uid``.
    """

    uid: int | None
    sees_all: bool

    def sees(self, uid: int | None) -> bool:
        """Whether the processes of user ``uid`` are shown one by one."""
        return self.sees_all or (uid is not None and uid == self.uid)

    def verdict(self, verdict: Verdict, uid: int | None) -> Verdict:
        """On a process of ``uid``: only its user may object."""
        return verdict if uid == self.uid else replace(verdict, may_object=False)

    def processes(self, samples: Sequence[ProcessSample]) -> tuple[list[ProcessSample], list[str]]:
        """Those that are shown, and one line per GPU for the others."""
        shown = [
            replace(one, verdict=one.verdict and self.verdict(one.verdict, one.uid))
            for one in samples
            if self.sees(one.uid)
        ]
        others: dict[GpuId, list[ProcessSample]] = {}
        for one in samples:
            if not self.sees(one.uid):
                others.setdefault(one.gpu_id, []).append(one)
        return shown, [_sum(gpu_id, hidden) for gpu_id, hidden in others.items()]

    def holds(self, holds: Iterable[Hold]) -> list[Hold]:
        """Those that are shown."""
        return [
            replace(one, may_release=one.may_release and one.uid == self.uid)
            for one in holds
            if self.sees(one.uid)
        ]

    def shows_event(self, kind: str) -> bool:
        """Whether events of a kind are shown: it is not known whose programs they tell of."""
        return self.sees_all or kind not in ABOUT_PROCESSES


def view_of(peer: Peer, imposed_on: Callable[[int | None], EffectivePolicy]) -> View:
    """What ``peer`` sees: an administrator everything, a user what the machine's policy says."""
    sees_all = (
        peer.endpoint is Endpoint.PARENT
        or peer.is_admin
        or imposed_on(peer.uid).is_true("privacy.show_other_users_processes")
    )
    return View(peer.uid, sees_all)


def _sum(gpu_id: GpuId, hidden: Sequence[ProcessSample]) -> str:
    count = len({one.pid for one in hidden})
    text = f"other users on {gpu_id}: {count} process{'es' if count > 1 else ''}"
    busy = [
        one.utilization_percent
        for one in hidden
        if not isinstance(one.utilization_percent, Unavailable)
    ]
    return f"{text}, {min(sum(busy), 100.0):.0f} %" if busy else text
