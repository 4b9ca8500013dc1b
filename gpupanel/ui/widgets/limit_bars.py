"""Rates beside each other: what was measured, what the device allows, what others published."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from PySide6.QtCore import QRectF, QSize, Qt
from PySide6.QtGui import QPainter, QPaintEvent
from PySide6.QtWidgets import QSizePolicy, QWidget

from gpupanel.ui.theme import SMALL_PX, Tone, colour, font

_ROW_PX = 24
_BAR_PX = 10
_NAME_PX = 190
_VALUE_PX = 96


@dataclass(frozen=True, slots=True)
class Bar:
    """One rate, its name, and what its colour means."""

    name: str
    rate: float
    tone: Tone


class LimitBars(QWidget):
    """Bars from one left edge; the longest rate is as wide as there is room."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._bars: Sequence[Bar] = ()
        self._as_text: Callable[[float], str] = str
        self.setAccessibleName(name)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    def sizeHint(self) -> QSize:
        """Qt: a row each."""
        return QSize(_NAME_PX + _VALUE_PX + 200, len(self._bars) * _ROW_PX)

    def minimumSizeHint(self) -> QSize:
        """Qt: bars may become short."""
        return QSize(_NAME_PX + _VALUE_PX + 40, len(self._bars) * _ROW_PX)

    def set_bars(self, bars: Sequence[Bar], as_text: Callable[[float], str]) -> None:
        """Show ``bars``; one alone compares with nothing and is not shown."""
        self.setVisible(len(bars) > 1)
        if len(bars) != len(self._bars):
            self.updateGeometry()
        self._bars, self._as_text = tuple(bars), as_text
        described = ", ".join(f"{bar.name} {as_text(bar.rate)}" for bar in bars)
        self.setAccessibleDescription(described)
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        """Qt: name, bar, value."""
        del event
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setFont(font(SMALL_PX))
        palette = self.palette()
        top = max((bar.rate for bar in self._bars), default=0.0) or 1.0
        room = self.width() - _NAME_PX - _VALUE_PX
        middle = Qt.AlignmentFlag.AlignVCenter
        for index, bar in enumerate(self._bars):
            y = index * _ROW_PX
            painter.setPen(colour(palette, Tone.SECONDARY))
            painter.drawText(QRectF(0, y, _NAME_PX - 12, _ROW_PX), middle, bar.name)
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(colour(palette, bar.tone))
            width = max(bar.rate / top * room, 2.0)
            shape = QRectF(_NAME_PX, y + (_ROW_PX - _BAR_PX) / 2, width, _BAR_PX)
            painter.drawRoundedRect(shape, 3, 3)
            painter.setPen(colour(palette, Tone.TEXT))
            beside = QRectF(_NAME_PX + width + 8, y, _VALUE_PX, _ROW_PX)
            painter.drawText(beside, middle, self._as_text(bar.rate))
