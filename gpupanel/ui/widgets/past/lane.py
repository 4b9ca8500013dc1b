"""Events on the time axis that all charts share, and the times themselves."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QEvent, QLineF, QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QKeyEvent, QMouseEvent, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QSizePolicy, QWidget

from gpupanel.model.event import EventRecord
from gpupanel.ui import format as fmt
from gpupanel.ui.theme import RADIUS_PX, Tone, colour, font
from gpupanel.ui.widgets.past.kinds import draw_mark, label_of, tone_of
from gpupanel.ui.widgets.past.time_scale import LEFT_PX, RIGHT_PX, TimeScale

_LABEL_PX = 11
_HEIGHT, _MARKS_HEIGHT = 46, 22
_NEAR_PX = 7.0


class EventLane(QWidget):
    """Marks above the times; Left and Right go from event to event.

    Signals:
        cursor_moved(float | None): To this time.
        chosen(int): The event of that number, as in ``show_events``.
    """

    cursor_moved = Signal(object)
    chosen = Signal(int)

    def __init__(self) -> None:
        super().__init__()
        self._events: Sequence[EventRecord] = ()
        self._span = (0.0, 1.0)
        self._cursor_s: float | None = None
        self._current = -1
        self.setAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setMouseTracking(True)
        self.setAccessibleName(self.tr("Events on the time axis"))

    def sizeHint(self) -> QSize:
        """Qt: a row of marks, a row of times."""
        return QSize(480, _HEIGHT)

    def minimumSizeHint(self) -> QSize:
        """Qt: the height is fixed."""
        return QSize(280, _HEIGHT)

    def show_events(self, events: Sequence[EventRecord], span: tuple[float, float]) -> None:
        """Show ``events``, oldest first, over ``span``."""
        self._events, self._span, self._current = events, span, -1
        self._describe()
        self.update()

    def set_cursor(self, time_s: float | None) -> None:
        """Move the cursor, to nowhere with None."""
        if time_s != self._cursor_s:
            self._cursor_s = time_s
            self.update()

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Qt: the cursor follows; what is near it is told."""
        self.cursor_moved.emit(self._scale().time_s(event.position().x()))
        near = self._near(event.position().x())
        self.setToolTip("\n".join(self._text(self._events[index]) for index in near[:8]))

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Qt: choose the nearest event."""
        super().mousePressEvent(event)
        near = self._near(event.position().x())
        if near:
            self._choose(near[0])

    def leaveEvent(self, event: QEvent) -> None:
        """Qt: whoever points elsewhere wants the whole again."""
        super().leaveEvent(event)
        self.cursor_moved.emit(None)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Qt: Left and Right from event to event, Home and End to the first and last."""
        last = len(self._events) - 1
        here = last + 1 if self._current < 0 else self._current
        targets = {
            Qt.Key.Key_Left: here - 1,
            Qt.Key.Key_Right: here + 1,
            Qt.Key.Key_Home: 0,
            Qt.Key.Key_End: last,
        }
        target = targets.get(Qt.Key(event.key()))
        if target is None or not self._events:
            super().keyPressEvent(event)
            return
        self._choose(min(max(target, 0), last))

    def paintEvent(self, event: QPaintEvent) -> None:
        """Qt: marks, axis, times, cursor, focus ring."""
        del event
        painter = QPainter(self)
        palette = self.palette()
        painter.fillRect(self.rect(), colour(palette, Tone.SURFACE))
        scale = self._scale()
        painter.setFont(font(_LABEL_PX))
        painter.setPen(QPen(colour(palette, Tone.BORDER), 1))
        painter.drawLine(
            QLineF(LEFT_PX, _MARKS_HEIGHT + 0.5, self.width() - RIGHT_PX, _MARKS_HEIGHT + 0.5)
        )
        self._draw_times(painter, scale)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        for index, one in enumerate(self._events):
            centre = QPointF(scale.x(one.time_unix_s), _MARKS_HEIGHT / 2)
            tone = tone_of(one)
            if index == self._current:
                painter.setPen(QPen(colour(palette, Tone.TEXT), 1))
                painter.setBrush(Qt.BrushStyle.NoBrush)
                painter.drawEllipse(centre, 9, 9)
            draw_mark(painter, centre, tone, colour(palette, tone))
        if self._cursor_s is not None:
            painter.setPen(QPen(colour(palette, Tone.SECONDARY), 1))
            x = scale.x(self._cursor_s)
            painter.drawLine(QLineF(x, 0, x, _MARKS_HEIGHT))
        if self.hasFocus():
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.setPen(QPen(colour(palette, Tone.ACCENT), 1))
            ring = QRectF(self.rect()).adjusted(0.5, 0.5, -0.5, -0.5)
            painter.drawRoundedRect(ring, RADIUS_PX / 2, RADIUS_PX / 2)

    def _draw_times(self, painter: QPainter, scale: TimeScale) -> None:
        grid, words = (colour(self.palette(), tone) for tone in (Tone.BORDER, Tone.SECONDARY))
        beside = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        painter.setPen(words)
        painter.drawText(QRectF(0, 2, LEFT_PX - 8, _MARKS_HEIGHT - 4), beside, self.tr("Events"))
        for time_s, label in scale.ticks():
            x = round(scale.x(time_s)) + 0.5
            painter.setPen(QPen(grid, 1))
            painter.drawLine(QLineF(x, _MARKS_HEIGHT, x, _MARKS_HEIGHT + 4))
            painter.setPen(words)
            half = painter.fontMetrics().horizontalAdvance(label) / 2 + 2
            left = min(max(x - half, LEFT_PX - 8), self.width() - 2 * half)
            room = QRectF(left, _MARKS_HEIGHT + 5, 2 * half, 16)
            painter.drawText(room, Qt.AlignmentFlag.AlignCenter, label)

    def _scale(self) -> TimeScale:
        return TimeScale(*self._span, self.width())

    def _near(self, x: float) -> list[int]:
        """Numbers of the events at ``x``, the nearest first."""
        scale = self._scale()
        away = {index: abs(scale.x(one.time_unix_s) - x) for index, one in enumerate(self._events)}
        return sorted((index for index in away if away[index] <= _NEAR_PX), key=away.__getitem__)

    def _choose(self, index: int) -> None:
        self._current = index
        self._describe()
        self.update()
        self.cursor_moved.emit(self._events[index].time_unix_s)
        self.chosen.emit(index)

    def _text(self, event: EventRecord) -> str:
        when = fmt.moment(event.time_unix_s, self._span[1] - self._span[0])
        return f"{when} · {label_of(event)}: {event.text}"

    def _describe(self) -> None:
        if self._current >= 0:
            self.setAccessibleDescription(self._text(self._events[self._current]))
        elif self._events:
            count = fmt.number(len(self._events), 0)
            last = self._text(self._events[-1])
            self.setAccessibleDescription(self.tr("{0} events; the last: {1}").format(count, last))
        else:
            self.setAccessibleDescription(self.tr("no event in this time"))
