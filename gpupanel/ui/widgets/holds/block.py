"""What is done to one program, in full: since when, how well, by what, by whom and why."""

from __future__ import annotations

import re
from html import escape

from PySide6.QtCore import QCoreApplication, Qt, Signal
from PySide6.QtWidgets import QHBoxLayout, QLabel, QVBoxLayout, QWidget

from gpupanel.model.hold import Hold
from gpupanel.model.metrics import QT_TRANSLATE_NOOP
from gpupanel.ui import format as fmt
from gpupanel.ui.store import POINTS, Store
from gpupanel.ui.theme import SMALL_PX, Tone, font
from gpupanel.ui.widgets.controls import Button
from gpupanel.ui.widgets.facts import Fact
from gpupanel.ui.widgets.holds import words
from gpupanel.ui.widgets.sparkline import Sparkline
from gpupanel.ui.widgets.text import Text

translate = QCoreApplication.translate

_CHART_PX = (132, 36)
_TOP_PERCENT = 100.0
_FACTS = (
    QT_TRANSLATE_NOOP("Holds", "Gets"),
    QT_TRANSLATE_NOOP("Holds", "Cap"),
    QT_TRANSLATE_NOOP("Holds", "Kept over"),
    QT_TRANSLATE_NOOP("Holds", "Since"),
    QT_TRANSLATE_NOOP("Holds", "Processes"),
)


class HoldBlock(QWidget):
    """Part of the card below the table of processes; there only for a program with a hold.

    Attributes:
        why: Asks for help, for its owner to place.

    Signals:
        key_wanted(str): The user wants to see a policy key.
        help_wanted(str): The user wants to know more; the policy's own words for it.
    """

    key_wanted = Signal(str)
    help_wanted = Signal(str)

    def __init__(self, store: Store) -> None:
        super().__init__()
        self._store = store
        self._hold: Hold | None = None
        self._headline = Text(wrap=True)
        self._why_text = Text(tone=Tone.SECONDARY, size_px=SMALL_PX, wrap=True)
        self._facts = [Fact(translate("Holds", name), small=True) for name in _FACTS]
        self.chart = Sparkline(POINTS)
        self.chart.setFixedSize(*_CHART_PX)
        self.chart.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.chart.setAccessibleName(self.tr("Efficiency over two minutes"))
        self.reason = _Reason(self.tr("Reason in the policy's words"))
        self.reason.linkActivated.connect(self.key_wanted)
        self.why = Button(self.tr("Wh&y is it held?"))
        self.why.clicked.connect(self._ask_why)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(6)
        column.addWidget(self._headline)
        row = QHBoxLayout()
        row.setSpacing(16)
        for fact in self._facts:
            row.addWidget(fact)
        row.addWidget(self.chart)
        row.addStretch(1)
        column.addLayout(row)
        column.addWidget(self._why_text)
        column.addWidget(self.reason)

    def show_hold(self, hold: Hold | None, now_s: float) -> None:
        """Show ``hold`` as it is now; hidden for None."""
        self._hold = hold
        self.setVisible(hold is not None)
        self.why.setVisible(hold is not None)
        if hold is None:
            return
        self._headline.set_text(words.headline(hold, self._store.policy, now_s))
        self._why_text.set_text(" ".join([words.why(hold), *self._means(hold, now_s)]))
        self.reason.show_reason(hold)
        self._show_figures(hold)

    def _means(self, hold: Hold, now_s: float) -> list[str]:
        """By what it is held, and until when; what is a figure stands above."""
        if words.phase(hold, now_s) is not words.Phase.ACTS:
            return []
        means = self.tr("Held by: {0}.").format(hold.means)
        return [means, words.until(hold)]

    def _show_figures(self, hold: Hold) -> None:
        texts = (
            words.efficiency(hold),
            words.cap(hold),
            fmt.span(hold.window_s) if hold.window_s else fmt.UNKNOWN,
            fmt.time_of_day(hold.since_unix_s),
            fmt.number(hold.processes, 0),
        )
        for fact, text in zip(self._facts, texts, strict=True):
            fact.set_value(text)
        series = self._store.holds.series(hold)
        self.chart.setVisible(any(value is not None for value in series))
        top = max([_TOP_PERCENT, *(value for value in series if value is not None)])
        self.chart.set_series(series, top, hold.cap_percent)
        self.chart.setAccessibleDescription(self.tr("now {0}, cap {1}").format(texts[0], texts[1]))

    def _ask_why(self) -> None:
        if self._hold is not None:
            self.help_wanted.emit(fmt.sentence(self._hold.reason))


class _Reason(QLabel):
    """The reason as policy gives it; the names of keys are links, by mouse and keyboard."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name
        self.setFont(font(SMALL_PX))
        self.setWordWrap(True)
        self.setTextFormat(Qt.TextFormat.RichText)
        self.setTextInteractionFlags(
            Qt.TextInteractionFlag.LinksAccessibleByMouse
            | Qt.TextInteractionFlag.LinksAccessibleByKeyboard
        )

    def show_reason(self, hold: Hold) -> None:
        """Its text may hold anything: only our links are mark-up."""
        text = escape(fmt.sentence(hold.reason))
        for key in dict.fromkeys(words.keys(hold)):
            text = re.sub(
                rf"(?<![\w.]){re.escape(key)}(?![\w.])", f'<a href="{key}">{key}</a>', text
            )
        if text != self.text():
            self.setText(text)
            self.setAccessibleName(self._name)
            self.setAccessibleDescription(fmt.sentence(hold.reason))
