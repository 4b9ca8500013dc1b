"""The why-limited ledger: what held a card's clocks down, as bars with words and numbers."""

from __future__ import annotations

from collections.abc import Mapping

from PySide6.QtCore import QCoreApplication, QRectF, Qt
from PySide6.QtGui import QPainter, QPaintEvent
from PySide6.QtWidgets import QGridLayout, QHBoxLayout, QSizePolicy, QVBoxLayout, QWidget

from gpupanel.model.limits import LIMIT_BY_NAME
from gpupanel.model.metrics import QT_TRANSLATE_NOOP
from gpupanel.sampling.ledger import SPANS_S, Account
from gpupanel.ui import format as fmt
from gpupanel.ui.theme import SMALL_PX, Tone, colour
from gpupanel.ui.widgets.card import Card
from gpupanel.ui.widgets.text import ElidedText, Text

translate = QCoreApplication.translate

_SPAN_TITLES = {
    "minute": QT_TRANSLATE_NOOP("Spans", "Last minute"),
    "hour": QT_TRANSLATE_NOOP("Spans", "Last hour"),
    "day": QT_TRANSLATE_NOOP("Spans", "Last day"),
}
_AT_REST = "idle"
_BAR_PX = 8
_PERCENT_PX = 44
_LESS_THAN_ONE = "< 1"

Cause = tuple[str, str]
"""A name of LIMITS, and who set it."""


class ShareBar(QWidget):
    """How much of a whole, as a bar; the number stands beside it."""

    def __init__(self) -> None:
        super().__init__()
        self._share, self._tone = 0.0, Tone.ACCENT
        self.setFixedHeight(_BAR_PX)
        self.setMinimumWidth(24)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    def set_share(self, share: float, tone: Tone) -> None:
        """0 to 1."""
        if (share, tone) != (self._share, self._tone):
            self._share, self._tone = share, tone
            self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        """Qt: groove and bar."""
        del event
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(colour(self.palette(), Tone.RAISED))
        painter.drawRoundedRect(QRectF(self.rect()), _BAR_PX / 2, _BAR_PX / 2)
        if self._share > 0:
            painter.setBrush(colour(self.palette(), self._tone))
            width = max(self._share * self.width(), float(_BAR_PX) / 2)
            painter.drawRoundedRect(QRectF(0, 0, width, _BAR_PX), _BAR_PX / 2, _BAR_PX / 2)


class _Share(QWidget):
    """One bar and its number."""

    def __init__(self) -> None:
        super().__init__()
        self.bar = ShareBar()
        self.number = Text(size_px=SMALL_PX)
        self.number.setFixedWidth(_PERCENT_PX)
        self.number.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(4)
        row.addWidget(self.bar, 1)
        row.addWidget(self.number)


class LedgerView(Card):
    """A row per reason, a column per span of time."""

    def __init__(self) -> None:
        super().__init__()
        self._causes: tuple[Cause, ...] = ()
        self._shares: dict[tuple[Cause, str], _Share] = {}
        self._row_widgets: list[QWidget] = []
        self.setAccessibleName(self.tr("What limited the clocks"))
        self.body.setSpacing(8)
        self.body.addWidget(Text(self.tr("What limited the clocks"), size_px=14, bold=True))
        self._sentence = Text(tone=Tone.SECONDARY, wrap=True)
        self.body.addWidget(self._sentence)
        self._table = QWidget()
        self._grid = QGridLayout(self._table)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setHorizontalSpacing(20)
        self._grid.setVerticalSpacing(8)
        self._grid.setColumnStretch(0, 3)
        self._watched = {span: Text(tone=Tone.SECONDARY, size_px=SMALL_PX) for span in SPANS_S}
        for column, span in enumerate(SPANS_S, start=1):
            head = QVBoxLayout()
            head.setSpacing(0)
            head.addWidget(Text(translate("Spans", _SPAN_TITLES[span]), size_px=SMALL_PX))
            head.addWidget(self._watched[span])
            self._grid.addLayout(head, 0, column)
            self._grid.setColumnStretch(column, 2)
        self.body.addWidget(self._table)
        self.body.addStretch(1)

    def show_accounts(self, accounts: Mapping[str, Account], why_unknown: str) -> None:
        """Show the accounts by name of their span.

        Args:
            accounts: With the names of SPANS_S; empty while nothing is known.
            why_unknown: What to say where no reason was known in any span.
        """
        is_known = any(account.watched_s > 0 for account in accounts.values())
        self._table.setVisible(is_known)
        self._sentence.set_text(_sentence(accounts) if is_known else why_unknown)
        if not is_known:
            return
        causes = _ordered(accounts)
        if causes != self._causes:
            self._rebuild(causes)
        for span, account in accounts.items():
            self._watched[span].set_text(self._coverage(span, account))
            held = {(one.limit, one.set_by): one.share for one in account.held}
            for cause in causes:
                self._show_share(cause, span, account, held.get(cause, 0.0))

    def _show_share(self, cause: Cause, span: str, account: Account, share: float) -> None:
        cell = self._shares[cause, span]
        is_known = account.watched_s > 0
        cell.bar.set_share(share, _tone(cause[0]))
        cell.number.set_text(_percent(share) if is_known else fmt.UNKNOWN)
        cell.number.set_tone(Tone.TEXT if share else Tone.SECONDARY)
        words = f"{translate('Spans', _SPAN_TITLES[span])}: {_name(cause)}"
        cell.number.setAccessibleDescription(words)

    def _coverage(self, span: str, account: Account) -> str:
        """How much of the span was seen; a span that was seen whole needs no words."""
        if account.watched_s >= 0.98 * SPANS_S[span]:
            return self.tr("seen whole")
        return self.tr("{0} seen").format(fmt.span(account.watched_s))

    def _rebuild(self, causes: tuple[Cause, ...]) -> None:
        for widget in self._row_widgets:
            self._grid.removeWidget(widget)
            widget.hide()
            widget.deleteLater()
        self._causes, self._shares, self._row_widgets = causes, {}, []
        for row, cause in enumerate(causes, start=1):
            label = self._label(cause)
            self._grid.addWidget(label, row, 0)
            self._row_widgets.append(label)
            for column, span in enumerate(SPANS_S, start=1):
                share = self._shares[cause, span] = _Share()
                self._grid.addWidget(share, row, column)
                self._row_widgets.append(share)

    def _label(self, cause: Cause) -> QWidget:
        limit, set_by = cause
        label = QWidget()
        column = QVBoxLayout(label)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        tone = Tone.SECONDARY if limit == _AT_REST else Tone.TEXT
        column.addWidget(ElidedText(translate("Limits", LIMIT_BY_NAME[limit].label), tone=tone))
        if set_by:
            column.addWidget(ElidedText(set_by, tone=Tone.SECONDARY, size_px=SMALL_PX))
        label.setToolTip(translate("Limits", LIMIT_BY_NAME[limit].help))
        return label


def _ordered(accounts: Mapping[str, Account]) -> tuple[Cause, ...]:
    """Every reason once: what held longest in the day first, rest last; rows stand still."""
    greatest: dict[Cause, float] = {}
    for span in reversed(list(SPANS_S)):
        for one in accounts[span].held if span in accounts else ():
            if one.limit in LIMIT_BY_NAME:
                greatest.setdefault((one.limit, one.set_by), round(one.share, 1))
    return tuple(
        sorted(greatest, key=lambda cause: (cause[0] == _AT_REST, -greatest[cause], cause))
    )


def _sentence(accounts: Mapping[str, Account]) -> str:
    """The greatest reason of the last hour, in words."""
    held = [one for one in accounts["hour"].held if one.limit != _AT_REST]
    if not held or not held[0].share:
        return translate("Ledger", "Nothing held the clocks down in the last hour.")
    told = translate("Ledger", "In the last hour, {0} held the clocks down for {1} of the time.")
    return told.format(_name((held[0].limit, held[0].set_by)), _percent(held[0].share))


def _name(cause: Cause) -> str:
    label = translate("Limits", LIMIT_BY_NAME[cause[0]].label)
    return f"{label} ({cause[1]})" if cause[1] else label


def _percent(share: float) -> str:
    """Never 0 % of something that was there, and never all of what was not."""
    if 0 < share < 0.01:
        return str(fmt.Quantity(_LESS_THAN_ONE, "%"))
    return fmt.percent(min(100 * share, 99.0) if share < 1 else 100.0)


def _tone(limit: str) -> Tone:
    if limit == _AT_REST:
        return Tone.SECONDARY
    return Tone.WARN if LIMIT_BY_NAME[limit].is_fault else Tone.ACCENT
