"""What is done to a process tree that mines, as a value: for lists, messages and the window."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gpupanel.model.gpu import GpuId, Reading, Unavailable


@dataclass(frozen=True, slots=True)
class Hold:
    """One user's mining processes that share GPUs, and what policy does to them together.

    Attributes:
        id: Stays the same while it lasts.
        uid: Whose processes; None where the system has no numbers.
        name: Of the program that ``pid`` and ``started`` name, for a person.
        pid: The process that the verdict is about; others are its children and its like.
        processes: How many are in it.
        action: What is done: a word of ``mining.action``; ``observe`` in an audit.
        would: What would be done if policy did not only audit; else ``action``.
        cap_percent: Of what they do uncapped, 1 to 100.
        efficiency_percent: What they got of it over the last window; or why that is not known.
        window_s: The time over which ``cap_percent`` is kept.
        acts_unix_s: When ``action`` begins or began: its period of grace may still run.
        reason: One sentence that names keys, values and who set them.
        means: How they are held, for a person; empty while they are not.
        is_best_effort: They can undo it, which ``means`` explains.
        may_release: Whether their user may end it by saying that the program does not mine.
        problem: Why they are not held though they should be; empty while all is well.
    """

    id: str
    uid: int | None
    user: str | None
    name: str
    pid: int
    started: int
    processes: int
    gpus: tuple[GpuId, ...]
    action: str
    would: str
    cap_percent: int
    efficiency_percent: Reading
    window_s: float
    since_unix_s: float
    acts_unix_s: float
    reason: str
    means: str = ""
    is_best_effort: bool = False
    may_release: bool = False
    problem: str = ""

    def as_json(self) -> dict[str, Any]:
        """One entry of ``holds``; an efficiency that is not known is null, with its reason."""
        reading = self.efficiency_percent
        why = reading.reason if isinstance(reading, Unavailable) else ""
        return {
            "id": self.id,
            "uid": self.uid,
            "user": self.user,
            "name": self.name,
            "pid": self.pid,
            "started": self.started,
            "processes": self.processes,
            "gpus": list(self.gpus),
            "action": self.action,
            "would": self.would,
            "cap_percent": self.cap_percent,
            "efficiency_percent": None if isinstance(reading, Unavailable) else reading,
            "efficiency_unavailable": why,
            "window_s": self.window_s,
            "since_unix_s": self.since_unix_s,
            "acts_unix_s": self.acts_unix_s,
            "reason": self.reason,
            "problem": self.problem,
            "means": self.means,
            "is_best_effort": self.is_best_effort,
            "may_release": self.may_release,
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Hold:
        """Inverse of ``as_json``.

        Raises:
            KeyError, TypeError: A field is missing, or there is one more.
        """
        fields = dict(document)
        why = fields.pop("efficiency_unavailable")
        if fields["efficiency_percent"] is None:
            fields["efficiency_percent"] = Unavailable(why)
        return cls(**{**fields, "gpus": tuple(fields["gpus"])})
