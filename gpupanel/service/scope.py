"""The two scopes in which one daemon runs: for a user, or for the machine.

What differs between them stands here and nowhere else. The system scope is made of constants: no
home, no environment, no XDG, because whoever controls those must not steer the service.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gpupanel import paths
from gpupanel.policy.sources import Sources, own_uid


@dataclass(frozen=True, slots=True)
class Scope:
    """Where a daemon reads and writes, and on whom it may act.

    Attributes:
        name: ``user`` or ``system``; clients are told.
        sources: Where policy is read from.
        history_file: The database of readings, energy and events.
        objections_file: The programs of which the user said that they do not mine; None where
            ``users_dir`` is.
        users_dir: What each user said to the service, in files of its own; None for a user's.
        journal_file: What is held now, for whoever lets go of it after a crash.
        acts_on_uid: Only processes of this user are held; None for everybody's, or where the
            system has no such numbers.
    """

    name: str
    sources: Sources
    history_file: Path
    objections_file: Path | None
    users_dir: Path | None
    journal_file: Path
    acts_on_uid: int | None


def user_scope() -> Scope:
    """Of whoever runs this process: their wishes beside the machine's policy, their processes."""
    return Scope(
        "user",
        Sources.installed(),
        paths.user_history_file(),
        paths.user_objections_file(),
        None,
        paths.user_journal_file(),
        own_uid(),
    )


def system_scope() -> Scope:
    """Of the machine: the administrator's policy alone, everybody's processes."""
    state_dir = paths.machine_state_dir()
    return Scope(
        "system",
        Sources.of_machine(),
        state_dir / "history.db",
        None,
        state_dir / "users",
        paths.machine_journal_file(),
        None,
    )
