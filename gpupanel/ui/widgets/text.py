"""Labels that know their tone, change only when their text does, and can give up characters."""

from __future__ import annotations

from PySide6.QtCore import QSize, Qt
from PySide6.QtGui import QPainter, QPaintEvent, QResizeEvent
from PySide6.QtWidgets import QLabel, QSizePolicy, QWidget

from gpupanel.ui.theme import BODY_PX, ROLES, Tone, font


class Text(QLabel):
    """A label in one tone and size; its colour follows the palette."""

    def __init__(
        self,
        text: str = "",
        *,
        tone: Tone = Tone.TEXT,
        size_px: int = BODY_PX,
        bold: bool = False,
        wrap: bool = False,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(text, parent)
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setFont(font(size_px, bold=bold))
        self.setForegroundRole(ROLES[tone])
        self.setWordWrap(wrap)

    def set_text(self, text: str) -> None:
        """Show ``text``; free of cost if it is shown already."""
        if text != self.text():
            self.setText(text)

    def set_tone(self, tone: Tone) -> None:
        """Change what the colour means."""
        if self.foregroundRole() is not ROLES[tone]:
            self.setForegroundRole(ROLES[tone])
            self.update()


class ElidedText(Text):
    """One line that ends in an ellipsis where room is short; the tooltip has it whole."""

    def __init__(
        self,
        text: str = "",
        *,
        tone: Tone = Tone.TEXT,
        size_px: int = BODY_PX,
        bold: bool = False,
    ) -> None:
        super().__init__(text, tone=tone, size_px=size_px, bold=bold)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)

    def minimumSizeHint(self) -> QSize:
        """Qt: room for a few characters is enough."""
        return QSize(min(48, self.sizeHint().width()), super().minimumSizeHint().height())

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Qt: offer the whole text where it does not fit."""
        super().resizeEvent(event)
        self._offer_whole()

    def set_text(self, text: str) -> None:
        """Show ``text``, whole in the tooltip if it does not fit."""
        super().set_text(text)
        self._offer_whole()

    def paintEvent(self, event: QPaintEvent) -> None:
        """Qt: draw as much as fits."""
        del event
        painter = QPainter(self)
        painter.setPen(self.palette().color(self.foregroundRole()))
        shown = self.fontMetrics().elidedText(
            self.text(), Qt.TextElideMode.ElideRight, self.width()
        )
        painter.drawText(self.rect(), self.alignment(), shown)

    def _offer_whole(self) -> None:
        fits = self.fontMetrics().horizontalAdvance(self.text()) <= self.width()
        self.setToolTip("" if fits else self.text())
