"""Buttons, choices, numbers and scroll bars, painted from the palette in one flat form.

Qt's behaviour is kept whole (keyboard, mnemonics, accessibility); only the looks are ours.
"""

from __future__ import annotations

from PySide6.QtCore import QLineF, QPointF, QRect, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QPainter, QPaintEvent, QPalette, QPen, QWheelEvent
from PySide6.QtWidgets import (
    QComboBox,
    QPushButton,
    QScrollBar,
    QSpinBox,
    QStyle,
    QStyleOptionSpinBox,
    QWidget,
)

from gpupanel.ui.theme import Tone, blend, colour

HEIGHT_PX = 32
_RADIUS = 6
_ARROW_WIDTH = 28
SCROLL_BAR_PX = 12


def draw_frame(widget: QWidget, painter: QPainter, fill: QColor, edge: QColor) -> None:
    """The rounded field; its border is the focus ring too."""
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    accent = colour(widget.palette(), Tone.ACCENT)
    painter.setPen(QPen(accent if widget.hasFocus() else edge, 1))
    painter.setBrush(fill)
    outline = QRectF(widget.rect()).adjusted(0.5, 0.5, -0.5, -0.5)
    painter.drawRoundedRect(outline, _RADIUS, _RADIUS)
    if widget.hasFocus():
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.drawRoundedRect(outline.adjusted(1, 1, -1, -1), _RADIUS - 1, _RADIUS - 1)


def _chevron(painter: QPainter, centre: QPointF, up: bool) -> None:
    """A small arrow of two strokes in the painter's pen."""
    rise = 2.0 if up else -2.0
    tip = centre + QPointF(0, -rise)
    painter.drawLine(QLineF(centre + QPointF(-4, rise), tip))
    painter.drawLine(QLineF(tip, centre + QPointF(4, rise)))


class Button(QPushButton):
    """A push button; the default button of its window is filled with the accent."""

    def __init__(self, text: str = "", parent: QWidget | None = None) -> None:
        super().__init__(text, parent)
        self.setMinimumHeight(HEIGHT_PX)

    def sizeHint(self) -> QSize:
        """Qt: text and 16 px on both sides, never narrower than a hand is sure of."""
        width = self.fontMetrics().size(Qt.TextFlag.TextShowMnemonic, self.text()).width()
        return QSize(max(width + 32, 80 if self.text() else HEIGHT_PX), HEIGHT_PX)

    def minimumSizeHint(self) -> QSize:
        """Qt: the text is never cut."""
        return self.sizeHint()

    def paintEvent(self, event: QPaintEvent) -> None:
        """Qt: field, icon, text."""
        del event
        palette = self.palette()
        painter = QPainter(self)
        fill, text = colour(palette, Tone.RAISED), palette.buttonText().color()
        edge = colour(palette, Tone.BORDER)
        if self.isDefault() and self.isEnabled():
            fill, text = colour(palette, Tone.ACCENT), colour(palette, Tone.ON_ACCENT)
            edge = fill
        if self.isDown():
            fill = blend(fill, colour(palette, Tone.TEXT), 0.12)
        elif self.underMouse() and self.isEnabled():
            fill = blend(fill, colour(palette, Tone.TEXT), 0.06)
        draw_frame(self, painter, fill, edge)
        if self.hasFocus() and self.isDefault():
            painter.setPen(QPen(text, 1))
            ring = QRectF(self.rect()).adjusted(2.5, 2.5, -2.5, -2.5)
            painter.drawRoundedRect(ring, _RADIUS - 2, _RADIUS - 2)
        painter.setPen(text)
        if not self.icon().isNull():
            size = self.iconSize()
            corner = self.rect().center() - QRect(0, 0, size.width(), size.height()).center()
            painter.drawPixmap(corner, self.icon().pixmap(size, self.devicePixelRatioF()))
        flags = Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextShowMnemonic
        painter.drawText(self.rect(), flags, self.text())


class Choice(QComboBox):
    """One of a few."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setMinimumHeight(HEIGHT_PX)

    def sizeHint(self) -> QSize:
        """Qt: the widest entry and the arrow."""
        texts = (self.itemText(row) for row in range(self.count()))
        widest = max((self.fontMetrics().horizontalAdvance(text) for text in texts), default=80)
        return QSize(min(widest, 320) + 12 + _ARROW_WIDTH, HEIGHT_PX)

    def minimumSizeHint(self) -> QSize:
        """Qt: long names may be elided; the popup has them whole."""
        return QSize(min(self.sizeHint().width(), 160), HEIGHT_PX)

    def wheelEvent(self, event: QWheelEvent) -> None:
        """Qt: a wheel that scrolls the page must not change a choice."""
        event.ignore()

    def paintEvent(self, event: QPaintEvent) -> None:
        """Qt: field, text, arrow."""
        del event
        palette = self.palette()
        painter = QPainter(self)
        draw_frame(self, painter, colour(palette, Tone.RAISED), colour(palette, Tone.BORDER))
        painter.setPen(palette.buttonText().color())
        room = self.rect().adjusted(12, 0, -_ARROW_WIDTH, 0)
        text = self.fontMetrics().elidedText(
            self.currentText(), Qt.TextElideMode.ElideRight, room.width()
        )
        painter.drawText(room, Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft, text)
        tone = Tone.SECONDARY if self.isEnabled() else Tone.BORDER
        painter.setPen(QPen(colour(palette, tone), 1.5))
        centre = QPointF(self.width() - _ARROW_WIDTH / 2 - 1, self.height() / 2)
        _chevron(painter, centre, up=False)


class NumberField(QSpinBox):
    """A bounded whole number with its unit."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setFrame(False)
        self.setMinimumHeight(HEIGHT_PX)
        clear = QPalette()
        clear.setColor(QPalette.ColorRole.Base, Qt.GlobalColor.transparent)
        self.lineEdit().setPalette(clear)
        self.lineEdit().setTextMargins(9, 0, 0, 0)
        self.setAccelerated(True)

    def sizeHint(self) -> QSize:
        """Qt: the longest value and the arrows."""
        longest = f"{self.prefix()}{self.maximum()}{self.suffix()}"
        return QSize(self.fontMetrics().horizontalAdvance(longest) + 24 + _ARROW_WIDTH, HEIGHT_PX)

    def minimumSizeHint(self) -> QSize:
        """Qt: the value is never cut."""
        return self.sizeHint()

    def wheelEvent(self, event: QWheelEvent) -> None:
        """Qt: only a field that has the focus turns with the wheel."""
        super().wheelEvent(event) if self.hasFocus() else event.ignore()

    def paintEvent(self, event: QPaintEvent) -> None:
        """Qt: field and arrows; the number is drawn by the line edit inside."""
        del event
        palette = self.palette()
        painter = QPainter(self)
        draw_frame(self, painter, colour(palette, Tone.RAISED), colour(palette, Tone.BORDER))
        option = QStyleOptionSpinBox()
        self.initStyleOption(option)
        for part, up in (
            (QStyle.SubControl.SC_SpinBoxUp, True),
            (QStyle.SubControl.SC_SpinBoxDown, False),
        ):
            area = self.style().subControlRect(QStyle.ComplexControl.CC_SpinBox, option, part, self)
            possible = self.value() < self.maximum() if up else self.value() > self.minimum()
            tone = Tone.SECONDARY if possible and self.isEnabled() else Tone.BORDER
            painter.setPen(QPen(colour(palette, tone), 1.5))
            _chevron(painter, QRectF(area).center() - QPointF(4, 0), up=up)


class ThinScrollBar(QScrollBar):
    """A rounded thumb on nothing."""

    def sizeHint(self) -> QSize:
        """Qt: three grid steps across."""
        return QSize(SCROLL_BAR_PX, SCROLL_BAR_PX)

    def paintEvent(self, event: QPaintEvent) -> None:
        """Qt: background and thumb."""
        del event
        painter = QPainter(self)
        palette = self.palette()
        span = self.maximum() - self.minimum() + self.pageStep()
        if span <= self.pageStep():
            return
        upright = self.orientation() is Qt.Orientation.Vertical
        length = self.height() if upright else self.width()
        thumb = max(length * self.pageStep() / span, 24.0)
        travel = (length - thumb) / (self.maximum() - self.minimum())
        start = (self.value() - self.minimum()) * travel
        shape = QRectF(5, start, 6, thumb) if upright else QRectF(start, 5, thumb, 6)
        grasped = self.isSliderDown() or self.underMouse()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(colour(palette, Tone.SECONDARY if grasped else Tone.BORDER))
        painter.drawRoundedRect(shape, 3, 3)


class Meter(QWidget):
    """How much of something is done, as a bar of four pixels."""

    def __init__(self) -> None:
        super().__init__()
        self._fraction = 0.0
        self.setFixedHeight(4)

    def set_fraction(self, fraction: float) -> None:
        """0 to 1."""
        bounded = min(max(fraction, 0.0), 1.0)
        if bounded != self._fraction:
            self._fraction = bounded
            self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        """Qt: groove and bar."""
        del event
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(colour(self.palette(), Tone.RAISED))
        painter.drawRoundedRect(QRectF(self.rect()), 2, 2)
        painter.setBrush(colour(self.palette(), Tone.ACCENT))
        painter.drawRoundedRect(QRectF(0, 0, self.width() * self._fraction, 4), 2, 2)
