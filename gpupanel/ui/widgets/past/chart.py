"""One metric over hours or months: the mean as a line in a band from least to greatest.

Drawn into a picture once per answer; a cursor that moves costs a copy of it. What is not known is
a grey gap, never a line from one side to the other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import ceil

from PySide6.QtCore import QEvent, QLineF, QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import (
    QColor,
    QFocusEvent,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPen,
    QPixmap,
    QResizeEvent,
)
from PySide6.QtWidgets import QSizePolicy, QWidget

from gpupanel.ui import format as fmt
from gpupanel.ui.past import Curve, Point
from gpupanel.ui.theme import RADIUS_PX, SMALL_PX, Tone, blend, colour, font
from gpupanel.ui.widgets.chart import nice_step
from gpupanel.ui.widgets.past.time_scale import LEFT_PX, RIGHT_PX, TimeScale

_LABEL_PX = 11
_TITLE_HEIGHT, _BOTTOM = 26, 5
_GRID_LINES = (2, 3, 4, 5)
_LARGE_STEP = 10

Mark = tuple[float, Tone]
"""When, and how bad."""


class PastChart(QWidget):
    """A chart with a cursor that the mouse and the arrow keys move.

    Signals:
        cursor_moved(float | None): To this time; the page moves the cursors of its other charts.
    """

    cursor_moved = Signal(object)

    def __init__(self, label: str, unit: str, why_unknown: Callable[[float], str]) -> None:
        """``why_unknown`` gives the reason of a gap at a time."""
        super().__init__()
        self._label, self._unit, self._why_unknown = label, unit, why_unknown
        self._curve = Curve()
        self._scale = TimeScale(0.0, 1.0, 1.0)
        self._top, self._step = 1.0, 1.0
        self._limit: float | None = None
        self._marks: Sequence[Mark] = ()
        self._cursor_s: float | None = None
        self._picture: QPixmap | None = None
        self.setAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setMouseTracking(True)
        self.setAccessibleName(label)

    def sizeHint(self) -> QSize:
        """Qt: a title and three grid lines."""
        return QSize(480, 122)

    def minimumSizeHint(self) -> QSize:
        """Qt: below this the labels would touch."""
        return QSize(280, 104)

    def show_curve(
        self,
        curve: Curve,
        span: tuple[float, float],
        whole: float | None = None,
        limit: float | None = None,
        marks: Sequence[Mark] = (),
    ) -> None:
        """Show ``curve`` over ``span`` on a scale that begins at 0.

        Args:
            curve: In the unit of the metric.
            span: Since and until, seconds since 1970.
            whole: What the values are a part of; the top of the scale unless they exceed it.
            limit: Where the dashed line goes.
            marks: Events, as fine lines.
        """
        self._curve, self._limit, self._marks = curve, limit, marks
        highest = max((point.high for point in curve.points), default=0.0)
        self._top, self._step = scale_of(max(highest, limit or 0.0), whole, self._unit)
        self._scale = TimeScale(*span, self.width())
        self._redraw()
        self._describe()

    def set_cursor(self, time_s: float | None) -> None:
        """Move the cursor, to nowhere with None."""
        if time_s != self._cursor_s:
            self._cursor_s = time_s
            self.update()
            self._describe()

    def readout(self) -> str:
        """What stands at the right of the title: the value at the cursor, or of the whole span."""
        points = self._curve.points
        if self._cursor_s is not None:
            when = fmt.moment(self._cursor_s, self._scale.until_s - self._scale.since_s)
            point = self._curve.at(self._cursor_s)
            if point is None:
                why = self._why_unknown(self._cursor_s)
                return self.tr("{0} · not known: {1}").format(when, why)
            return self.tr("{0} · mean {1}, {2} to {3}").format(when, *self._texts(point))
        if not points:
            return self.tr("nothing remembered in this time")
        mean = sum(point.mean for point in points) / len(points)
        whole = Point(
            0.0, min(point.low for point in points), mean, max(point.high for point in points)
        )
        return self.tr("mean {0}, {1} to {2}").format(*self._texts(whole))

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Qt: the cursor follows."""
        self.cursor_moved.emit(self._scale.time_s(event.position().x()))

    def leaveEvent(self, event: QEvent) -> None:
        """Qt: whoever points elsewhere wants the whole again."""
        super().leaveEvent(event)
        self.cursor_moved.emit(None)

    def focusOutEvent(self, event: QFocusEvent) -> None:
        """Qt: the same for the keyboard."""
        super().focusOutEvent(event)
        self.cursor_moved.emit(None)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Qt: arrows step by a point, with Shift by ten; Home, End; Escape leaves."""
        step_s = self._curve.width_s
        if event.modifiers() & Qt.KeyboardModifier.ShiftModifier:
            step_s *= _LARGE_STEP
        since_s, until_s = self._scale.since_s, self._scale.until_s
        here_s = until_s if self._cursor_s is None else self._cursor_s
        targets = {
            Qt.Key.Key_Left: here_s - step_s,
            Qt.Key.Key_Right: here_s + step_s,
            Qt.Key.Key_Home: since_s,
            Qt.Key.Key_End: until_s - self._curve.width_s,
        }
        if event.key() == Qt.Key.Key_Escape:
            self.cursor_moved.emit(None)
        elif (target_s := targets.get(Qt.Key(event.key()))) is not None:
            self.cursor_moved.emit(min(max(target_s, since_s), until_s))
        else:
            super().keyPressEvent(event)

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Qt: the axis is as wide as the widget."""
        super().resizeEvent(event)
        self._scale = TimeScale(self._scale.since_s, self._scale.until_s, self.width())
        self._redraw()

    def changeEvent(self, event: QEvent) -> None:
        """Qt: colours are in the picture."""
        super().changeEvent(event)
        if event.type() is QEvent.Type.PaletteChange:
            self._redraw()

    def paintEvent(self, event: QPaintEvent) -> None:
        """Qt: the picture, the title, the cursor, the focus ring."""
        del event
        painter = QPainter(self)
        if self._picture is None or self._picture.devicePixelRatio() != self.devicePixelRatioF():
            self._picture = self._drawn()
        painter.drawPixmap(0, 0, self._picture)
        self._draw_title(painter)
        self._draw_cursor(painter)
        if self.hasFocus():
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.setPen(QPen(colour(self.palette(), Tone.ACCENT), 1))
            ring = QRectF(self.rect()).adjusted(0.5, 0.5, -0.5, -0.5)
            painter.drawRoundedRect(ring, RADIUS_PX / 2, RADIUS_PX / 2)

    def _redraw(self) -> None:
        self._picture = None
        self.update()

    def _texts(self, point: Point) -> tuple[str, str, str]:
        return (
            str(fmt.metric(point.mean, self._unit)),
            str(fmt.metric(point.low, self._unit)),
            str(fmt.metric(point.high, self._unit)),
        )

    def _describe(self) -> None:
        top = fmt.metric(self._top, self._unit)
        described = self.tr("{0}; scale to {1}").format(self.readout(), top)
        if self._limit is not None:
            described += f"; {self._limit_text()}"
        self.setAccessibleDescription(described)

    def _limit_text(self) -> str:
        assert self._limit is not None
        return self.tr("limit now {0}").format(fmt.metric(self._limit, self._unit))

    def _area(self) -> QRectF:
        return QRectF(self.rect()).adjusted(LEFT_PX, _TITLE_HEIGHT, -RIGHT_PX, -_BOTTOM)

    def _drawn(self) -> QPixmap:
        ratio = self.devicePixelRatioF()
        picture = QPixmap(self.size() * ratio)
        picture.setDevicePixelRatio(ratio)
        picture.fill(colour(self.palette(), Tone.SURFACE))
        painter = QPainter(picture)
        area = self._area()
        gaps = self._gaps(area)
        back = colour(self.palette(), Tone.SURFACE)
        grey = blend(colour(self.palette(), Tone.RAISED), back, 0.3)
        for gap in gaps:
            painter.fillRect(gap, grey)
        self._draw_grid(painter, area)
        self._name_gaps(painter, gaps, grey)
        self._draw_marks(painter, area)
        for stretch in self._curve.stretches():
            self._draw_stretch(painter, area, stretch)
        if self._limit is not None and self._limit <= self._top:
            y = self._y(area, self._limit)
            painter.setRenderHint(QPainter.RenderHint.Antialiasing, on=False)
            painter.setPen(QPen(colour(self.palette(), Tone.WARN), 1, Qt.PenStyle.DashLine))
            painter.drawLine(QLineF(area.left(), y, area.right(), y))
        painter.end()
        return picture

    def _draw_title(self, painter: QPainter) -> None:
        row = QRectF(LEFT_PX, 2, self.width() - LEFT_PX - RIGHT_PX, _TITLE_HEIGHT - 4)
        centre = Qt.AlignmentFlag.AlignVCenter
        painter.setFont(font(SMALL_PX, bold=True))
        painter.setPen(colour(self.palette(), Tone.TEXT))
        painter.drawText(row, centre, self._label)
        taken = painter.fontMetrics().horizontalAdvance(self._label) + 16
        painter.setFont(font(SMALL_PX))
        if self._limit is not None:
            painter.setPen(colour(self.palette(), Tone.WARN))
            limit = self._limit_text()
            painter.drawText(row.adjusted(taken, 0, 0, 0), centre, limit)
            taken += painter.fontMetrics().horizontalAdvance(limit) + 16
        at_cursor = self._cursor_s is not None
        painter.setPen(colour(self.palette(), Tone.TEXT if at_cursor else Tone.SECONDARY))
        room = row.adjusted(taken, 0, 0, 0)
        shown = painter.fontMetrics().elidedText(
            self.readout(), Qt.TextElideMode.ElideRight, int(room.width())
        )
        painter.drawText(room, centre | Qt.AlignmentFlag.AlignRight, shown)

    def _draw_cursor(self, painter: QPainter) -> None:
        if self._cursor_s is None:
            return
        area = self._area()
        x = self._scale.x(self._cursor_s)
        painter.setPen(QPen(colour(self.palette(), Tone.SECONDARY), 1))
        painter.drawLine(QLineF(x, area.top(), x, area.bottom()))
        point = self._curve.at(self._cursor_s)
        if point is not None:
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
            painter.setPen(QPen(colour(self.palette(), Tone.SURFACE), 1.5))
            painter.setBrush(colour(self.palette(), Tone.ACCENT))
            painter.drawEllipse(QPointF(x, self._y(area, point.mean)), 4, 4)

    def _y(self, area: QRectF, value: float) -> float:
        return area.bottom() - min(max(value / self._top, 0.0), 1.0) * area.height()

    def _draw_grid(self, painter: QPainter, area: QRectF) -> None:
        grid, words = (colour(self.palette(), tone) for tone in (Tone.BORDER, Tone.SECONDARY))
        beside = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        painter.setFont(font(_LABEL_PX))
        step = self._step
        for index in range(int(self._top / step + 1e-9) + 1):
            y = round(self._y(area, index * step)) + 0.5
            painter.setPen(QPen(grid, 1))
            painter.drawLine(QLineF(area.left(), y, area.right(), y))
            painter.setPen(words)
            label = QRectF(0, y - 8, LEFT_PX - 8, 16)
            text = str(fmt.metric(index * step, self._unit)) if index else "0"
            painter.drawText(label, beside, text)

    def _gaps(self, area: QRectF) -> list[QRectF]:
        """From where a stretch ends to where the next begins, and what is before and after."""
        width_s = self._curve.width_s
        edges_s = [self._scale.since_s]
        for stretch in self._curve.stretches():
            edges_s += [stretch[0].time_unix_s, stretch[-1].time_unix_s + width_s]
        edges_s.append(self._scale.until_s)
        gaps = []
        for begin_s, end_s in zip(edges_s[::2], edges_s[1::2], strict=True):
            if end_s - begin_s > width_s:
                left = max(self._scale.x(begin_s), area.left())
                right = min(self._scale.x(end_s), area.right())
                gaps.append(QRectF(left, area.top(), right - left, area.height()))
        return gaps

    def _name_gaps(self, painter: QPainter, gaps: Sequence[QRectF], back: QColor) -> None:
        text = self.tr("not known")
        painter.setFont(font(_LABEL_PX))
        painter.setPen(colour(self.palette(), Tone.SECONDARY))
        room = QRectF(0, 0, painter.fontMetrics().horizontalAdvance(text) + 12, 16)
        for gap in gaps:
            if gap.width() > room.width():
                room.moveCenter(gap.center())
                painter.fillRect(room, back)
                painter.drawText(room, Qt.AlignmentFlag.AlignCenter, text)

    def _draw_marks(self, painter: QPainter, area: QRectF) -> None:
        surface = colour(self.palette(), Tone.SURFACE)
        for time_s, tone in self._marks:
            x = round(self._scale.x(time_s)) + 0.5
            painter.setPen(QPen(blend(colour(self.palette(), tone), surface, 0.45), 1))
            painter.drawLine(QLineF(x, area.top(), x, area.bottom()))

    def _draw_stretch(self, painter: QPainter, area: QRectF, stretch: tuple[Point, ...]) -> None:
        accent, surface = (colour(self.palette(), tone) for tone in (Tone.ACCENT, Tone.SURFACE))
        centre_s = self._curve.width_s / 2
        places = [min(self._scale.x(one.time_unix_s + centre_s), area.right()) for one in stretch]
        places[0] = max(places[0], area.left())
        lows, means, highs = (
            [QPointF(x, self._y(area, value)) for x, value in zip(places, values, strict=True)]
            for values in zip(*((one.low, one.mean, one.high) for one in stretch), strict=True)
        )
        painter.setRenderHint(QPainter.RenderHint.Antialiasing, on=False)
        painter.setPen(QPen(blend(accent, surface, 0.72), 1))
        painter.setBrush(blend(accent, surface, 0.72))
        painter.drawPolygon([*highs, *reversed(lows)])
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(QPen(accent, 1))
        painter.drawPolyline(means) if len(means) > 1 else painter.drawPoint(means[0])


def scale_of(highest: float, whole: float | None, unit: str) -> tuple[float, float]:
    """Top and step of a scale from 0 that holds ``highest``: the lowest top of round steps."""
    size = fmt.GIB if unit == "B" else 1.0
    if whole is not None and highest <= whole:
        return whole, nice_step(whole / size / 4) * size
    steps = [nice_step(highest / size / lines) * size for lines in _GRID_LINES]
    tops = [(ceil(highest / step - 1e-9) * step, -step) for step in steps]
    top, step = min(tops)
    return max(top, -step), -step
