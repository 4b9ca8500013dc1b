"""Tells on the desktop when a program of the user gets held, and when it is let go.

Also while the window is minimised. One note a hold and at most one every ten seconds; what was
there before the window was is in its banner, and what the user did is no news.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from time import time
from typing import Any

from PySide6.QtCore import QElapsedTimer, QObject, QTimer

from gpupanel.model.hold import Hold
from gpupanel.ui.holds import ProcessKey
from gpupanel.ui.notify.desktop import Desktop
from gpupanel.ui.past import Agent
from gpupanel.ui.store import Store
from gpupanel.ui.widgets.holds import words

GATHER_MS = 500
"""What comes together is told together."""

QUIET_MS = 10_000
SETTLE_MS = 4_000
"""A hold that ends may begin anew, and a program that ended is known to have after so long."""

_MOST_NAMED = 3


class Notifier(QObject):
    """Follows the store."""

    def __init__(
        self,
        store: Store,
        agent: Agent,
        desktop: Callable[[], Desktop | None],
        parent: QObject | None = None,
    ) -> None:
        """Begin with what is held already: that is no news.

        Args:
            store: What to follow.
            agent: Whom to ask whether a program still runs.
            desktop: Finds who shows notes; asked when there is one.
            parent: As in Qt.
        """
        super().__init__(parent)
        self._store = store
        self._agent = agent
        self._find_desktop = desktop
        self._desktop: Desktop | None = None
        self._told: dict[ProcessKey, Hold] = self._acting()
        self._news: list[tuple[str, str]] = []
        self._since_note = QElapsedTimer()
        self._gather = self._timer(self._tell)
        self._settle = self._timer(self._look_after)
        store.changed.connect(self.follow)

    def follow(self) -> None:
        """Find what is new; cheap, for it is called at each tick."""
        if self._store.holds.all is None:  # nobody tells just now
            return
        acting = self._acting()
        for key, hold in acting.items():
            if key not in self._told:
                self._told[key] = hold
                self._add(self._title(hold), words.why(hold))
        if self._told.keys() - acting.keys() and not self._settle.isActive():
            self._settle.start(SETTLE_MS)

    def close(self) -> None:
        """Tell nothing any more."""
        self._gather.stop()
        self._settle.stop()
        if self._desktop is not None:
            self._desktop.close()

    def _timer(self, slot: Callable[[], None]) -> QTimer:
        timer = QTimer(self, singleShot=True)
        timer.timeout.connect(slot)
        return timer

    def _acting(self) -> dict[ProcessKey, Hold]:
        """The user's programs to which something is done, or of which policy wants them told."""
        now_s = time()
        news = {words.Phase.ACTS, words.Phase.TOLD}
        return {
            (one.pid, one.started): one
            for one in self._store.holds.all or ()
            if words.is_own(one) and words.phase(one, now_s) in news
        }

    def _title(self, hold: Hold) -> str:
        return words.headline(hold, self._store.policy, time()).removesuffix(".")

    def _look_after(self) -> None:
        """Those that are held no more: silent about whom the user freed, and who ended."""
        if self._store.holds.all is None:
            return
        for key in self._told.keys() - self._acting().keys():
            hold = self._told.pop(key)
            if hold.action != "notify" and self._store.holds.said.get(key) != "":
                params = {"pid": key[0], "started": key[1]}
                self._agent.ask("explain", params, partial(self._freed, hold), lambda _: None)

    def _freed(self, hold: Hold, answer: Mapping[str, Any]) -> None:
        if answer["judgement"] is not None:
            title = self.tr("{0} is held no longer").format(words.program(hold))
            self._add(title, self.tr("It runs at its own speed again."))

    def _add(self, title: str, text: str) -> None:
        policy = self._store.policy
        if policy is not None and not policy.is_true("ui.notify_capped"):
            return
        self._news.append((title, text))
        if not self._gather.isActive():
            quiet = QUIET_MS - self._since_note.elapsed() if self._since_note.isValid() else 0
            self._gather.start(max(GATHER_MS, quiet))

    def _tell(self) -> None:
        news, self._news = self._news, []
        if self._desktop is None:
            self._desktop = self._find_desktop()
        if self._desktop is None or not news:
            return
        self._since_note.start()
        if len(news) == 1:
            self._desktop.show_note(*news[0])
            return
        named = "\n".join(f"{title}." for title, _ in news[:_MOST_NAMED])
        more = self.tr("And {0} more.").format(len(news) - _MOST_NAMED)
        text = f"{named}\n{more}" if len(news) > _MOST_NAMED else named
        self._desktop.show_note(self.tr("The mining policy concerns your programs"), text)
