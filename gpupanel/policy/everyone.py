"""What is in force for each user of the machine, as the service sees it.

The service reads nobody's home: a user's wishes lie in a file of the service's own, which only
that user's messages fill. They are what a policy file of the user is in user scope: they tighten
what is mandated, and hold for that user's programs alone.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import NamedTuple

from gpupanel.policy import generation
from gpupanel.policy.identity import user_of
from gpupanel.policy.resolve import EffectivePolicy
from gpupanel.policy.sources import Sources, UserSource
from gpupanel.policy.wishes import WishFile

_MOST_KNOWN = 256
"""Users whose policy is kept; another one is worked out anew."""


class _OfUser(NamedTuple):
    effective: EffectivePolicy
    imposed: EffectivePolicy


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
        self._of_users: dict[int, _OfUser] = {}

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
        known = self._known(uid)
        return self.general if known is None else known.effective

    def imposed_on(self, uid: int | None) -> EffectivePolicy:
        """The same without the user's wishes: what protects others is none of them."""
        known = self._known(uid)
        return self.general if known is None else known.imposed

    def _known(self, uid: int | None) -> _OfUser | None:
        if self._users_dir is None or uid is None:
            return None
        with self._lock:
            machine, known = self._machine, self._of_users.get(uid)
        if known is not None:
            return known
        # Not under the lock: who is in which group may be a question to a slow server.
        asker, said = user_of(uid), UserSource(self._wish_file(uid).path).read()
        known = _OfUser(
            machine.for_user(asker, said.claims, (), said.diagnostics), machine.for_user(asker)
        )
        with self._lock:
            if machine is self._machine:
                if len(self._of_users) >= _MOST_KNOWN:
                    self._of_users.clear()
                self._of_users[uid] = known
        return known

    def wishes(self, uid: int) -> str:
        """The text of a user's wishes; empty where he has none.

        Raises:
            PolicyInvalid: It cannot be read.
        """
        return self._wish_file(uid).read() or ""

    def wish(self, uid: int, text: str) -> None:
        """Put ``text`` in the place of the user's wishes; an empty one is none.

        Raises:
            PolicyInvalid: It is no valid policy of a user; nothing is changed.
            OSError: It cannot be written; nothing is changed.
        """
        file = self._wish_file(uid)
        if text:
            file.save(text)
        else:
            file.path.unlink(missing_ok=True)
        with self._lock:
            self._of_users.pop(uid, None)

    def _wish_file(self, uid: int) -> WishFile:
        assert self._users_dir is not None
        return WishFile(self._users_dir / f"{uid}.toml")
