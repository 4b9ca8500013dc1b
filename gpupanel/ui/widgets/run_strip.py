"""Runs side by side, small: which there are, how each does against its own full speed."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QAbstractButton, QHBoxLayout, QSizePolicy, QWidget

from gpupanel.stress.catalog import WORKLOAD_BY_NAME
from gpupanel.ui import format as fmt
from gpupanel.ui.runs import LiveRun, Phase
from gpupanel.ui.theme import BODY_PX, RADIUS_PX, SMALL_PX, Tone, colour, font

_POINTS = 60
_HEIGHT = 76


class RunChip(QAbstractButton):
    """One run: its load, its rate, and a line of its speed as a share of full speed."""

    def __init__(self, live: LiveRun) -> None:
        super().__init__()
        self.live = live
        self._words = ""
        self._tone = Tone.SECONDARY
        self.setCheckable(True)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setFixedHeight(_HEIGHT)

    def sizeHint(self) -> QSize:
        """Qt: room for a title and a rate."""
        return QSize(200, _HEIGHT)

    def minimumSizeHint(self) -> QSize:
        """Qt: eight of them fit beside each other."""
        return QSize(96, _HEIGHT)

    def refresh(self) -> None:
        """Show what the run does now."""
        live = self.live
        assert live.run is not None
        workload = WORKLOAD_BY_NAME[live.run.workload]
        self._words, self._tone = self._state(workload.unit)
        name = f"{fmt.family_name(workload.family)} · {workload.title}"
        self.setText(name)
        self.setAccessibleName(name)
        self.setAccessibleDescription(self._words)
        self.setToolTip(live.gpu.name if live.gpu else "")
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        """Qt: surface, title, line, words."""
        del event
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        palette = self.palette()
        chosen = self.isChecked() or self.hasFocus()
        edge = colour(palette, Tone.ACCENT if chosen else Tone.BORDER)
        painter.setPen(QPen(edge, 2 if self.hasFocus() else 1))
        painter.setBrush(colour(palette, Tone.SURFACE))
        outline = QRectF(self.rect()).adjusted(1, 1, -1, -1)
        painter.drawRoundedRect(outline, RADIUS_PX, RADIUS_PX)
        inside = outline.adjusted(12, 8, -12, -8)
        self._draw_line(painter, QRectF(inside.left(), inside.top() + 20, inside.width(), 18))
        painter.setFont(font(BODY_PX, bold=True))
        painter.setPen(colour(palette, Tone.TEXT))
        self._draw_text(painter, inside, self.text(), Qt.AlignmentFlag.AlignTop)
        painter.setFont(font(SMALL_PX))
        painter.setPen(colour(palette, self._tone))
        self._draw_text(painter, inside, self._words, Qt.AlignmentFlag.AlignBottom)

    def _state(self, unit: str) -> tuple[str, Tone]:
        live = self.live
        assert live.run is not None
        if live.phase is Phase.FAILED:
            return self.tr("failed"), Tone.ERROR
        latest = live.finished or live.progress
        if latest is None:
            return self.tr("preparing"), Tone.SECONDARY
        if latest.errors:
            return self.tr("{0} errors").format(fmt.number(latest.errors, 0)), Tone.ERROR
        rate = str(fmt.rate(latest.work / max(latest.seconds, 1e-9), unit))
        if live.run.cap_percent < 100:
            cap = self.tr("cap {0}").format(fmt.percent(live.run.cap_percent))
            return f"{rate} · {cap}", Tone.WARN
        return rate, Tone.SECONDARY

    def _draw_line(self, painter: QPainter, area: QRectF) -> None:
        """The rate of each second as a share of the rate while it may work."""
        latest = self.live.finished or self.live.progress
        rates = self.live.rates[-_POINTS:]
        if latest is None or latest.uncapped_work_per_s <= 0 or len(rates) < 2:
            return
        step = area.width() / (_POINTS - 1)
        painter.setPen(QPen(colour(self.palette(), Tone.ACCENT), 1))
        painter.drawPolyline(
            [
                QPointF(
                    area.right() - (len(rates) - 1 - index) * step,
                    area.bottom() - min(rate / latest.uncapped_work_per_s, 1.2) / 1.2
                    * area.height(),
                )
                for index, (_, rate) in enumerate(rates)
            ]
        )  # fmt: skip

    @staticmethod
    def _draw_text(painter: QPainter, area: QRectF, text: str, where: Qt.AlignmentFlag) -> None:
        fitting = painter.fontMetrics().elidedText(
            text, Qt.TextElideMode.ElideRight, int(area.width())
        )
        painter.drawText(area, where | Qt.AlignmentFlag.AlignLeft, fitting)


class RunStrip(QWidget):
    """Chips of all runs in a row; not there while there is only one.

    Signals:
        chosen(LiveRun): Somebody wants to see that one.
    """

    chosen = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self.chips: list[RunChip] = []
        self._row = QHBoxLayout(self)
        self._row.setContentsMargins(0, 0, 0, 0)
        self._row.setSpacing(8)
        self.hide()

    def show_runs(self, runs: Sequence[LiveRun], shown: LiveRun | None) -> None:
        """A chip each; ``shown`` is marked."""
        if [chip.live for chip in self.chips] != list(runs):
            self._make_chips(runs)
        self.setVisible(len(runs) > 1)
        for chip in self.chips:
            chip.setChecked(chip.live is shown)
            chip.refresh()

    def _make_chips(self, runs: Sequence[LiveRun]) -> None:
        for chip in self.chips:
            self._row.removeWidget(chip)
            chip.deleteLater()
        self.chips = [RunChip(live) for live in runs]
        for chip in self.chips:
            chip.clicked.connect(lambda _=False, live=chip.live: self.chosen.emit(live))
            self._row.addWidget(chip, 1)
