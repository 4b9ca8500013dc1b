"""A run's rate over its time, with axes: larger than a sparkline, drawn the same cheap way."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from PySide6.QtCore import QLineF, QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QSizePolicy, QWidget

from gpupanel.ui import format as fmt
from gpupanel.ui.theme import Tone, blend, colour, font

_LABEL_PX = 11
_LEFT, _TOP, _RIGHT, _BOTTOM = 84, 12, 12, 24
_STEPS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1200, 3600)


class RateChart(QWidget):
    """Points of (seconds, value) from 0 to the run's end, and at most one reference line."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._points: Sequence[tuple[float, float]] = ()
        self._seconds = 60.0
        self._reference: float | None = None
        self._reference_label = ""
        self._as_text: Callable[[float], str] = str
        self.setAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setAccessibleName(name)

    def sizeHint(self) -> QSize:
        """Qt: room for four grid lines."""
        return QSize(480, 200)

    def minimumSizeHint(self) -> QSize:
        """Qt: below this the labels would touch."""
        return QSize(280, 96)

    def set_series(
        self,
        points: Sequence[tuple[float, float]],
        seconds: float,
        as_text: Callable[[float], str],
        reference: tuple[float, str] | None = None,
    ) -> None:
        """Show ``points`` on 0 to ``seconds``; ``reference`` is a dashed line and its name."""
        self._points, self._seconds, self._as_text = tuple(points), max(seconds, 1.0), as_text
        self._reference, self._reference_label = reference or (None, "")
        if points:
            rates = [rate for _, rate in points]
            self.setAccessibleDescription(
                self.tr("latest {0}, least {1}, most {2}").format(
                    as_text(rates[-1]), as_text(min(rates)), as_text(max(rates))
                )
            )
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        """Qt: grid, labels, reference, line."""
        del event
        painter = QPainter(self)
        painter.fillRect(self.rect(), colour(self.palette(), Tone.SURFACE))
        painter.setFont(font(_LABEL_PX))
        area = QRectF(self.rect()).adjusted(_LEFT, _TOP, -_RIGHT, -_BOTTOM)
        highest = max((rate for _, rate in self._points), default=0.0)
        top = nice_top(max(highest, self._reference or 0.0))
        self._draw_grid(painter, area, nice_step(top / 4), top)
        self._draw_line(painter, area, top)
        if self._reference is not None:
            self._draw_reference(painter, area, top)

    def _draw_grid(self, painter: QPainter, area: QRectF, step: float, top: float) -> None:
        palette = self.palette()
        grid, words = colour(palette, Tone.BORDER), colour(palette, Tone.SECONDARY)
        beside = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        for index in range(math.floor(top / step + 1e-9) + 1):
            y = round(area.bottom() - index * step / top * area.height()) + 0.5
            painter.setPen(QPen(grid, 1))
            painter.drawLine(QLineF(area.left(), y, area.right(), y))
            if self._points:
                painter.setPen(words)
                label = QRectF(0, y - 8, _LEFT - 8, 16)
                painter.drawText(label, beside, self._as_text(index * step) if index else "0")
        painter.setPen(words)
        tick_s = next((one for one in _STEPS_S if self._seconds / one <= 6), _STEPS_S[-1])
        for index in range(int(self._seconds / tick_s) + 1):
            x = area.left() + index * tick_s / self._seconds * area.width()
            label = QRectF(x - 24, area.bottom() + 6, 48, 16)
            painter.drawText(label, Qt.AlignmentFlag.AlignCenter, fmt.duration(index * tick_s))

    def _draw_line(self, painter: QPainter, area: QRectF, top: float) -> None:
        if not self._points:
            return
        accent = colour(self.palette(), Tone.ACCENT)
        line = [
            QPointF(
                area.left() + min(seconds / self._seconds, 1.0) * area.width(),
                area.bottom() - rate / top * area.height(),
            )
            for seconds, rate in self._points
        ]
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(blend(accent, colour(self.palette(), Tone.SURFACE), 0.88))
        floor = area.bottom()
        painter.drawPolygon([QPointF(line[0].x(), floor), *line, QPointF(line[-1].x(), floor)])
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(QPen(accent, 1))
        painter.drawPolyline(line)
        painter.setBrush(accent)
        painter.drawEllipse(line[-1], 2.5, 2.5)

    def _draw_reference(self, painter: QPainter, area: QRectF, top: float) -> None:
        assert self._reference is not None
        painter.setRenderHint(QPainter.RenderHint.Antialiasing, on=False)
        y = area.bottom() - self._reference / top * area.height()
        painter.setPen(QPen(colour(self.palette(), Tone.WARN), 1, Qt.PenStyle.DashLine))
        painter.drawLine(QLineF(area.left(), y, area.right(), y))
        label = QRectF(area.left(), y + 3, area.width() - 4, 16)
        painter.drawText(label, Qt.AlignmentFlag.AlignRight, self._reference_label)


def nice_top(highest: float) -> float:
    """A round top of a scale, a little above ``highest``."""
    step = nice_step(highest / 8)
    return step * (math.floor(highest / step) + 1)


def nice_step(least: float) -> float:
    """The smallest 1, 2, 2.5 or 5 times a power of ten that is not below ``least``; 1 for 0."""
    if least <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(least))
    return next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= least)
