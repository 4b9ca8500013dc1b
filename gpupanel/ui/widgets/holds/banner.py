"""The banner above every page while a program is held, or would be."""

from __future__ import annotations

from collections.abc import Hashable

from PySide6.QtCore import Signal
from PySide6.QtGui import QAccessible, QAccessibleAnnouncementEvent
from PySide6.QtWidgets import QHBoxLayout, QWidget

from gpupanel.model.hold import Hold
from gpupanel.ui import format as fmt
from gpupanel.ui.store import Store
from gpupanel.ui.theme import SMALL_PX, Tone
from gpupanel.ui.widgets.banner import Banner
from gpupanel.ui.widgets.controls import Button
from gpupanel.ui.widgets.holds import words
from gpupanel.ui.widgets.holds.objection import Objection
from gpupanel.ui.widgets.text import Text

_MOST_NAMED = 3


class HoldBanner(Banner):
    """One for all holds; once hidden by its user, it is back when what it says is another thing.

    Signals:
        line_wanted(ProcessKey): The user wants to see the process.
        help_wanted(str): The user wants to know more; the policy's own words for it.
    """

    line_wanted = Signal(object)
    help_wanted = Signal(str)

    def __init__(self, store: Store) -> None:
        super().__init__(Tone.WARN, self.tr("&Hide"), "lock")
        self._store = store
        self._hidden: Hashable = None
        self._terms: Hashable = ()
        self._shown: tuple[Hold, ...] = ()
        self._more = Text(tone=Tone.SECONDARY, size_px=SMALL_PX, wrap=True)
        self.why = Button(self.tr("&Why?"))
        self.why.clicked.connect(self._ask_why)
        self.line = Button(self.tr("Show in P&rocesses"))
        self.line.clicked.connect(self._ask_for_line)
        self.objection = Objection(store.holds, self, self.tr("It does &not mine"))
        row = QHBoxLayout()
        row.setSpacing(8)
        row.setContentsMargins(32, 0, 0, 0)
        row.addWidget(self.why)
        row.addWidget(self.line)
        row.addWidget(self.objection.button)
        row.addStretch(1)
        self.body.setSpacing(6)
        for widget in (self._more, self.objection.question):
            widget.setContentsMargins(32, 0, 0, 0)
        self.body.addWidget(self._more)
        self.body.addLayout(row)
        self.body.addWidget(self.objection.question)
        self.acted.connect(self._hide)

    def show_holds(self, now_s: float) -> None:
        """What the store knows now; hides itself where there is nothing to say."""
        self._shown = self._store.holds.all or ()
        before, self._terms = self._terms, tuple(_terms(one, now_s) for one in self._shown)
        self.setVisible(bool(self._shown) and self._terms != self._hidden)
        if len(self._shown) == 1:
            self._show_one(self._shown[0], now_s)
        elif self._shown:
            self._show_several(now_s)
        if self._terms != before:
            self._speak()

    def come_after(self, before: QWidget) -> None:
        """In the order of the tab key; made late, it would come last."""
        for widget in (self.why, self.line, *self.objection.buttons, self.action):
            QWidget.setTabOrder(before, widget)
            before = widget

    def _show_one(self, hold: Hold, now_s: float) -> None:
        self.set_tone(words.tone(hold, now_s))
        self.set_text(words.headline(hold, self._store.policy, now_s))
        self._more.set_text(" ".join([words.why(hold), *words.facts(hold, now_s)]))
        self._more.setToolTip(fmt.sentence(hold.reason))
        self.objection.show_process((hold.pid, hold.started), is_possible=hold.may_release)

    def _show_several(self, now_s: float) -> None:
        tones = [words.tone(one, now_s) for one in self._shown]
        worst = next((one for one in (Tone.ERROR, Tone.WARN) if one in tones), Tone.SECONDARY)
        self.set_tone(worst)
        count = fmt.number(len(self._shown), 0)
        self.set_text(self.tr("The mining policy concerns {0} programs.").format(count))
        named = "; ".join(words.in_short(one, now_s) for one in self._shown[:_MOST_NAMED])
        rest = len(self._shown) - _MOST_NAMED
        more = self.tr("{0}; and {1} more.").format(named, rest) if rest > 0 else f"{named}."
        self._more.set_text(more)
        self._more.setToolTip("\n".join(fmt.sentence(one.reason) for one in self._shown))
        self.objection.show_process(None, is_possible=False)

    def _speak(self) -> None:
        """To whoever hears the window and is elsewhere in it."""
        if self.isVisible() and QAccessible.isActive():
            told = QAccessibleAnnouncementEvent(self, self.text)
            QAccessible.updateAccessibility(told)

    def _hide(self) -> None:
        self._hidden = self._terms
        self.hide()

    def _ask_why(self) -> None:
        self.help_wanted.emit("\n".join(fmt.sentence(one.reason) for one in self._shown))

    def _ask_for_line(self) -> None:
        if self._shown:
            self.line_wanted.emit((self._shown[0].pid, self._shown[0].started))


def _terms(hold: Hold, now_s: float) -> Hashable:
    """What is said of it, without what counts down and what is measured."""
    return (
        (hold.pid, hold.started, hold.action, hold.would, hold.cap_percent),
        words.phase(hold, now_s), hold.reason, hold.is_best_effort, hold.may_release,
    )  # fmt: skip
