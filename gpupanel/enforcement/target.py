"""Whom to do something about: what detection and policy said, as the enforcer takes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gpupanel.enforcement.cell import ProcessKey
from gpupanel.model.gpu import GpuId
from gpupanel.policy.offender import Offender, Treatment

ACTIONS = ("observe", "notify", "throttle", "suspend", "terminate")
"""The words of ``mining.action``, each harder than the one before."""


@dataclass(frozen=True, slots=True)
class Target:
    """One process that mines.

    Attributes:
        gpus: Ids of the GPUs that it uses.
        treatment: What policy says about it.
        by_arguments: Its file is an interpreter's: only its command line tells it from others.
        may_release: Whether its user may say that it does not mine.
    """

    process: ProcessKey
    uid: int | None
    user: str | None
    name: str
    gpus: frozenset[GpuId]
    offender: Offender
    treatment: Treatment
    by_arguments: bool = False
    may_release: bool = False

    @property
    def acts(self) -> bool:
        """Whether anything is done to it beyond telling."""
        return ACTIONS.index(self.treatment.action) >= ACTIONS.index("throttle")

    def as_json(self) -> dict[str, Any]:
        """What a later daemon needs to go on; policy is asked again."""
        return {
            "process": list(self.process),
            "uid": self.uid,
            "user": self.user,
            "name": self.name,
            "gpus": sorted(self.gpus),
            "sha256": self.offender.executable_sha256,
            "path": self.offender.trusted_path,
            "names": [list(names) for names in self.offender.gpus],
            "by_arguments": self.by_arguments,
            "may_release": self.may_release,
        }


def offender_from_json(document: Mapping[str, Any]) -> Offender:
    """The offender of what ``Target.as_json`` wrote.

    Raises:
        KeyError, TypeError: It is damaged.
    """
    names = tuple(tuple(one) for one in document["names"])
    return Offender(document["sha256"], document["path"], names)


def target_from_json(
    document: Mapping[str, Any], offender: Offender, treatment: Treatment
) -> Target:
    """What ``Target.as_json`` wrote, under the policy of now.

    Raises:
        KeyError, TypeError, ValueError: It is damaged.
    """
    pid, started = document["process"]
    return Target(
        (int(pid), int(started)), document["uid"], document["user"], str(document["name"]),
        frozenset(document["gpus"]), offender, treatment,
        bool(document["by_arguments"]), bool(document["may_release"]),
    )  # fmt: skip
