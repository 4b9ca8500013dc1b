"""The charts of one look, one below the other on one axis, with the events between the times."""

from __future__ import annotations

from functools import partial

from PySide6.QtCore import QCoreApplication, Signal
from PySide6.QtWidgets import QVBoxLayout

from gpupanel.model.gpu import GpuInfo, Reading, Unavailable
from gpupanel.model.metrics import METRIC_BY_KEY
from gpupanel.ui import format as fmt
from gpupanel.ui.past import Look
from gpupanel.ui.theme import Tone
from gpupanel.ui.widgets.card import Card
from gpupanel.ui.widgets.past.chart import PastChart
from gpupanel.ui.widgets.past.kinds import tone_of
from gpupanel.ui.widgets.past.lane import EventLane

translate = QCoreApplication.translate

_PERCENT_TOP = 100.0
_MOST_LINES = 60
"""Of marks through the charts; more would hide the curves, and the lane has them all."""


class ChartStack(Card):
    """Charts that share an axis and a cursor.

    Signals:
        event_chosen(int): The event of that number in the look.
    """

    event_chosen = Signal(int)

    def __init__(self) -> None:
        super().__init__()
        self._look: Look | None = None
        self._charts: dict[str, PastChart] = {}
        self._lane = EventLane()
        self._lane.cursor_moved.connect(self.set_cursor)
        self._lane.chosen.connect(self.event_chosen)
        self._column = QVBoxLayout()
        self._column.setSpacing(4)
        self.body.setContentsMargins(8, 8, 8, 4)
        self.body.setSpacing(4)
        self.body.addLayout(self._column, 1)
        self.body.addWidget(self._lane)

    def show_look(self, look: Look, gpu: GpuInfo | None, power_limit_w: Reading) -> None:
        """Show ``look``; ``gpu`` knows the top of some scales, and may have left."""
        self._look = look
        if tuple(self._charts) != look.question.metrics:
            self._rebuild(look.question.metrics)
        span = look.since_s, look.until_s
        marks = [
            (one.time_unix_s, tone_of(one))
            for one in look.events
            if tone_of(one) in (Tone.ERROR, Tone.WARN, Tone.ACCENT)
        ][-_MOST_LINES:]
        for key, chart in self._charts.items():
            limit = None
            if key == "power_draw_w" and not isinstance(power_limit_w, Unavailable):
                limit = power_limit_w
            chart.show_curve(look.curves[key], span, _whole(key, gpu), limit, marks)
        self._lane.show_events(look.events, span)

    def set_cursor(self, time_s: float | None) -> None:
        """Move the cursors of all charts together."""
        for chart in self._charts.values():
            chart.set_cursor(time_s)
        self._lane.set_cursor(time_s)

    def _rebuild(self, metrics: tuple[str, ...]) -> None:
        for chart in self._charts.values():
            self._column.removeWidget(chart)
            chart.hide()
            chart.deleteLater()
        self._charts = {}
        for key in metrics:
            metric = METRIC_BY_KEY[key]
            label = translate("Metrics", metric.label)
            chart = PastChart(label, metric.unit, partial(self._why, key))
            chart.setToolTip(translate("Metrics", metric.help))
            chart.cursor_moved.connect(self.set_cursor)
            self._charts[key] = chart
            self._column.addWidget(chart, 1)
            # Behind the chart before in the order of the Tab key, before the lane.
            self.setTabOrder(chart, self._lane)

    def _why(self, key: str, time_s: float) -> str:
        """Why nothing is known at a time, as far as the look itself tells."""
        look = self._look
        assert look is not None
        states = [
            one
            for one in look.events
            if one.gpu_id and one.kind in ("asleep", "awake", "lost", "recovered")
        ]
        before = [one for one in states if one.time_unix_s <= time_s]
        if before and before[-1].kind in ("asleep", "lost"):
            since = fmt.moment(before[-1].time_unix_s, look.until_s - look.since_s)
            if before[-1].kind == "asleep":
                return self.tr("the GPU slept since {0}").format(since)
            return self.tr("the GPU was lost since {0}").format(since)
        others = (curve for other, curve in look.curves.items() if other != key)
        if any(curve.at(time_s) is not None for curve in others):
            return self.tr("the device did not tell it")
        return self.tr("nobody watched")


def _whole(key: str, gpu: GpuInfo | None) -> float | None:
    """What the values of a metric are a part of."""
    if METRIC_BY_KEY[key].unit == "%":
        return _PERCENT_TOP
    total = gpu.memory_total_bytes if gpu and key == "memory_used_bytes" else None
    return None if total is None else float(total)
