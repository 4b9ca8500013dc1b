"""The two scopes in which one daemon runs: for a user, or for the machine.

What differs between them stands here and nowhere else. The system scope is made of constants: no
home, no environment, no XDG, because whoever controls those must not steer the service.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from gpupanel import paths
from gpupanel.policy.sources import Sources, own_uid
from gpupanel.service.objections import Objectors


@dataclass(frozen=True, slots=True)
class Scope:
    """Where a daemon reads and writes, and on whom it may act.

    Attributes:
        name: ``user`` or ``system``; clients are told.
        sources: Where policy is read from.
        history_file: The database of readings, energy and events.
        objections_file: The programs of which this user said that they do not mine; None forgets.
        users_dir: In the service instead: what each user said, that and wishes.
        journal_file: What is held now, for whoever lets go of it after a crash; None holds nobody.
        cells: What the names of its cells begin with; those of others are left alone.
        verdicts_files: Who mined, older and newer, for replays of policy; None keeps nobody.
        acts_on_uid: Only processes of this user are held; None for everybody's, or where the
            system has no such numbers.
    """

    name: str
    sources: Sources
    history_file: Path
    objections_file: Path | None = None
    users_dir: Path | None = None
    journal_file: Path | None = None
    cells: str = "hold"
    verdicts_files: tuple[Path, Path] | None = None
    acts_on_uid: int | None = None

    def objectors(self) -> Objectors:
        """Whose word on their own programs counts."""
        if self.users_dir is not None:
            return Objectors.everyone(self.users_dir)
        return Objectors.only(own_uid(), self.objections_file)


def user_scope() -> Scope:
    """Of whoever runs this process: their wishes beside the machine's policy, their processes."""
    return Scope(
        "user",
        Sources.installed(),
        paths.user_history_file(),
        objections_file=paths.user_objections_file(),
        journal_file=paths.user_journal_file(),
        verdicts_files=paths.user_verdicts_files(),
        acts_on_uid=own_uid(),
    )


def looking_scope() -> Scope:
    """The same for one command, or a recording: another daemon of the user may hold."""
    return replace(user_scope(), journal_file=None, verdicts_files=None)


def system_scope() -> Scope:
    """Of the machine: the administrator's policy alone, everybody's processes."""
    state_dir = paths.machine_state_dir()
    return Scope(
        "system",
        Sources.of_machine(),
        state_dir / "history.db",
        users_dir=state_dir / "users",
        journal_file=paths.machine_journal_file(),
        verdicts_files=paths.machine_verdicts_files(),
    )
