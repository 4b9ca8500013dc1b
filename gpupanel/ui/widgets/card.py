"""The surface that things lie on: a rounded, bordered rectangle."""

from __future__ import annotations

from PySide6.QtCore import QRectF
from PySide6.QtGui import QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QVBoxLayout, QWidget

from gpupanel.ui.theme import RADIUS_PX, Tone, colour


class Card(QWidget):
    """A surface with a border of one pixel; ``body`` is its layout."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.edge = Tone.BORDER
        self.body = QVBoxLayout(self)
        self.body.setContentsMargins(16, 12, 16, 16)
        self.body.setSpacing(12)

    def paintEvent(self, event: QPaintEvent) -> None:
        """Qt: draw the surface."""
        del event
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(QPen(colour(self.palette(), self.edge), 1))
        painter.setBrush(colour(self.palette(), Tone.SURFACE))
        painter.drawRoundedRect(
            QRectF(self.rect()).adjusted(0.5, 0.5, -0.5, -0.5), RADIUS_PX, RADIUS_PX
        )


def framed(content: QWidget) -> Card:
    """``content`` on a card, flush with its edges."""
    card = Card()
    card.body.setContentsMargins(4, 4, 4, 4)
    card.body.addWidget(content)
    return card
