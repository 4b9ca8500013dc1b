"""Two minutes of one metric as a line of one pixel; the cheapest chart that Qt can draw.

A wider antialiased pen costs 36 times as much, an antialiased filling 22 times (measured), so
the filling is made of plain columns in an opaque colour.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from PySide6.QtCore import QLineF, QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QSizePolicy, QWidget

from gpupanel.ui.theme import Tone, blend, colour

Segment = list[tuple[float, float]]


class Sparkline(QWidget):
    """A series from the right edge to the left, against 0 and a fixed top."""

    def __init__(self, points: int, parent: QWidget | None = None) -> None:
        """``points`` is how many ticks the width stands for."""
        super().__init__(parent)
        self._points = points
        self._values: Sequence[float | None] = ()
        self._top = 1.0
        self._limit: float | None = None
        self._grid = False
        self.setAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent)
        policy = QSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        policy.setRetainSizeWhenHidden(True)
        self.setSizePolicy(policy)
        self.setMinimumHeight(40)

    def sizeHint(self) -> QSize:
        """Qt: ten grid steps high."""
        return QSize(120, 40)

    def show_grid(self) -> None:
        """Lines at the quarters of the scale."""
        self._grid = True

    def set_series(self, values: Sequence[float | None], top: float, limit: float | None) -> None:
        """Show ``values`` (oldest first, None is a gap) on a scale from 0 to ``top``."""
        self._values, self._top, self._limit = tuple(values), max(top, 1e-9), limit
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        """Qt: background, filling, limit, line."""
        del event
        palette = self.palette()
        surface, accent = colour(palette, Tone.SURFACE), colour(palette, Tone.ACCENT)
        painter = QPainter(self)
        painter.fillRect(self.rect(), surface)
        floor = self.height() - 0.5
        painter.setPen(QPen(colour(palette, Tone.BORDER), 1))
        for quarter in range(4 if self._grid else 1):
            y = floor - round(quarter / 4 * (self.height() - 3))
            painter.drawLine(QLineF(0, y, self.width(), y))
        segments = list(self._segments())
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(blend(accent, surface, 0.84))
        for segment in segments:
            painter.drawRects(self._columns(segment))
        if self._limit is not None:
            painter.setPen(QPen(colour(palette, Tone.WARN), 1, Qt.PenStyle.DashLine))
            painter.drawLine(QLineF(0, self._y(self._limit), self.width(), self._y(self._limit)))
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(QPen(accent, 1))
        for segment in segments:
            points = [QPointF(x, y) for x, y in segment]
            painter.drawPolyline(points) if len(points) > 1 else painter.drawPoint(points[0])

    def _y(self, value: float) -> float:
        """From the top, in pixels; what is off the scale stays at its edge."""
        room = self.height() - 3
        return 1.5 + room * (1.0 - min(max(value / self._top, 0.0), 1.0))

    def _segments(self) -> Iterator[Segment]:
        """Unbroken stretches of the series in pixels; the inner loop of the whole window."""
        step = self.width() / max(self._points - 1, 1)
        x = self.width() - step * (len(self._values) - 1)
        top, floor = self._top, self.height() - 1.5
        scale = (self.height() - 3) / top
        segment: Segment = []
        for value in self._values:
            if value is not None:
                shown = top if value > top else value if value > 0 else 0.0
                segment.append((x, floor - shown * scale))
            elif segment:
                yield segment
                segment = []
            x += step
        if segment:
            yield segment

    def _columns(self, segment: Segment) -> list[QRectF]:
        """The filling below ``segment``: one column from each point to the next."""
        floor = self.height() - 1.0
        columns = [QRectF(x, y, end - x, floor - y) for (x, y), (end, _) in pairwise(segment)]
        x, y = segment[-1]
        return [*columns, QRectF(x, y, 1, floor - y)]
