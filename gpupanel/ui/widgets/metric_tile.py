"""One metric of one GPU: label, number, sparkline; or a dash and the reason."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QRect, QRectF, QSize, Qt
from PySide6.QtGui import QFontMetrics, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QSizePolicy, QVBoxLayout, QWidget

from gpupanel.model.gpu import Reading, Unavailable
from gpupanel.ui import format as fmt
from gpupanel.ui.theme import RADIUS_PX, SMALL_PX, Tone, colour, font
from gpupanel.ui.widgets.sparkline import Sparkline

_LABEL_HEIGHT = 20
_VALUE_HEIGHT = 28
_VALUE_PX = 22
_ABOVE = 4 + _LABEL_HEIGHT + _VALUE_HEIGHT + 4
_TALL = 120
_DESCRIBE_EVERY = 5


class MetricTile(QWidget):
    """Draws its own text: one widget, one paint, no layout when a number changes."""

    def __init__(self, label: str, unit: str, help_text: str, points: int) -> None:
        super().__init__()
        self._label = label
        self._unit = unit
        self._help = help_text
        self._number, self._suffix = fmt.UNKNOWN, ""
        self._reason: str | None = None
        self._refreshes = 0
        self._large = False
        self._scale = ""
        self.sparkline = Sparkline(points, self)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, _ABOVE, 4, 4)
        layout.addWidget(self.sparkline)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setAccessibleName(label)
        self.setToolTip(help_text)

    def make_large(self) -> None:
        """Fill the room there is, with a grid and the scale in words."""
        self._large = True
        self.sparkline.setMinimumHeight(_TALL)
        self.sparkline.show_grid()

    def minimumSizeHint(self) -> QSize:
        """Qt: the label and the number have to fit; what follows the number may be elided."""
        label = QFontMetrics(font(SMALL_PX)).horizontalAdvance(self._label)
        value = QFontMetrics(font(_VALUE_PX, bold=True)).horizontalAdvance(self._number)
        return QSize(max(label, value + 24) + 8, _ABOVE + self.sparkline.minimumHeight() + 4)

    def show_reading(
        self,
        reading: Reading,
        series: Sequence[float | None],
        top: float,
        limit: float | None,
        of: float | None = None,
    ) -> None:
        """Show the latest value and its two minutes.

        Args:
            reading: In the unit of the metric.
            series: Oldest first.
            top: Top of the scale.
            limit: Where the dashed line goes.
            of: What the value is a part of, shown behind it: ``W / 450 W``.
        """
        self.sparkline.set_series(series, top, limit)
        self._scale = f"0–{fmt.metric(top, self._unit)}" if self._large else ""
        if isinstance(reading, Unavailable):
            has_past = any(value is not None for value in series)
            self.sparkline.setVisible(has_past)
            self._show(fmt.UNKNOWN, reading.reason if has_past else "", reading.reason)
        else:
            self.sparkline.show()
            quantity = fmt.metric(reading, self._unit)
            suffix = quantity.unit
            if of is not None:
                suffix = f"/ {fmt.metric(of, self._unit)}"
            self._show(quantity.number, suffix, None)
        self._describe(reading, series, of)

    def paintEvent(self, event: QPaintEvent) -> None:
        """Qt: label, number, unit or reason, focus ring."""
        del event
        palette = self.palette()
        painter = QPainter(self)
        if self.hasFocus():
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
            painter.setPen(QPen(colour(palette, Tone.ACCENT), 1))
            ring = QRectF(self.rect()).adjusted(0.5, 0.5, -0.5, -0.5)
            painter.drawRoundedRect(ring, RADIUS_PX / 2, RADIUS_PX / 2)
        small = font(SMALL_PX)
        painter.setFont(small)
        painter.setPen(colour(palette, Tone.SECONDARY))
        width = self.width() - 8
        left_centre = Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter
        painter.drawText(QRect(4, 4, width, _LABEL_HEIGHT), left_centre, self._label)
        big = font(_VALUE_PX, bold=True)
        baseline = 4 + _LABEL_HEIGHT + _VALUE_HEIGHT - 6
        advance = QFontMetrics(big).horizontalAdvance(self._number)
        room = width - advance - 6
        suffix = QFontMetrics(small).elidedText(self._suffix, Qt.TextElideMode.ElideRight, room)
        painter.drawText(4 + advance + 6, baseline, suffix)
        if self._scale and not self.sparkline.isHidden():
            right = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
            painter.drawText(QRect(4, 4, width, _LABEL_HEIGHT), right, self._scale)
        if self.sparkline.isHidden() and self._reason:
            below = self.sparkline.geometry()
            flags = Qt.AlignmentFlag.AlignTop | Qt.TextFlag.TextWordWrap
            painter.drawText(below, flags, self._reason)
        painter.setFont(big)
        known = self._reason is None
        painter.setPen(colour(palette, Tone.TEXT if known else Tone.SECONDARY))
        painter.drawText(4, baseline, self._number)

    def _show(self, number: str, suffix: str, reason: str | None) -> None:
        if (number, suffix) != (self._number, self._suffix):
            self._number, self._suffix = number, suffix
            self.update(0, 0, self.width(), self.sparkline.y())
        if reason != self._reason:
            self._reason = reason
            self._refreshes = 0
            self.update()
            self.setToolTip(self._help if reason is None else f"{self._help}\n{reason}")

    def _describe(self, value: Reading, series: Sequence[float | None], of: float | None) -> None:
        """Tell screen readers, at most every few ticks so that they are not flooded."""
        due = self._refreshes % _DESCRIBE_EVERY == 0
        self._refreshes += 1
        if not due:
            return
        if isinstance(value, Unavailable):
            self.setAccessibleDescription(self.tr("not available: {0}").format(value.reason))
            return
        parts = [str(fmt.metric(value, self._unit))]
        if of is not None:
            parts.append(self.tr("of {0}").format(fmt.metric(of, self._unit)))
        known = [value for value in series if value is not None]
        if known:
            most = fmt.metric(max(known), self._unit)
            parts.append(self.tr("2-minute maximum {0}").format(most))
        self.setAccessibleDescription(", ".join(parts))
