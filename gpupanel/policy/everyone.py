"""What is in force for each user of the machine, as the service sees it.

The service reads nobody's home: a user's wishes lie in a file of the service's own, which only
that user's messages fill. They are what a policy file of the user is in user scope: they tighten
what is mandated, and hold for that user's programs alone.
"""

from __future__ import annotations

import threading
from pathlib import Path

from gpupanel.policy import generation
from gpupanel.policy.identity import user_of
from gpupanel.policy.resolve import EffectivePolicy
from gpupanel.policy.sources import Sources, UserSource
from gpupanel.policy.wishes import WishFile

_MOST_KNOWN = 256
"""Users whose policy is kept; another one is worked out anew."""


class Policies:
    """One policy for the agent, which has one user; one for each user in the service."""

    def __init__(self, sources: Sources, users_dir: Path | None = None) -> None:
        """Read nothing yet.

        Args:
            sources: Those of the machine, and of the one user where there is one.
            users_dir: Where the service keeps the wishes of all users, in a file of the name
                ``UID.toml`` each; None for an agent.
        """
        self._sources = sources
        self._users_dir = users_dir
        self._watch = generation.PolicyWatch(sources)
        self._lock = threading.Lock()
        self._of_users: dict[int, EffectivePolicy] = {}

    def load(self) -> None:
        """Read everything."""
        with self._lock:
            self._of_users.clear()
            if self._users_dir is None:
                self.general = generation.load(self._sources)
            else:
                self._machine = generation.load_machine(self._sources)
                self.general = self._machine.for_user(self._sources.asker)

    def changed(self) -> bool:
        """Whether to load again; True once for each change."""
        return self._watch.changed()

    def of(self, uid: int | None) -> EffectivePolicy:
        """What is in force for that user; the machine's where the system has no numbers."""
        if self._users_dir is None or uid is None:
            return self.general
        with self._lock:
            machine, known = self._machine, self._of_users.get(uid)
        if known is not None:
            return known
        # Not under the lock: who is in which group may be a question to a slow server.
        said = UserSource(self._wish_file(uid).path).read()
        policy = machine.for_user(user_of(uid), said.claims, (), said.diagnostics)
        with self._lock:
            if machine is self._machine:
                if len(self._of_users) >= _MOST_KNOWN:
                    self._of_users.clear()
                self._of_users[uid] = policy
        return policy

    def wishes(self, uid: int) -> str:
        """The text of a user's wishes; empty where he has none.

        Raises:
            PolicyInvalid: It cannot be read.
        """
        return self._wish_file(uid).read() or ""

    def wish(self, uid: int, text: str) -> None:
        """Put ``text`` in the place of the user's wishes.

        Raises:
            PolicyInvalid: It is no valid policy of a user; nothing is changed.
            OSError: It cannot be written; nothing is changed.
        """
        self._wish_file(uid).save(text)
        with self._lock:
            self._of_users.pop(uid, None)

    def _wish_file(self, uid: int) -> WishFile:
        assert self._users_dir is not None
        return WishFile(self._users_dir / f"{uid}.toml")
