"""History: what the agent remembers, on one axis of time; what limited the card; what it took."""

from __future__ import annotations

from pathlib import Path
from time import strftime
from typing import TYPE_CHECKING

from PySide6.QtCore import QCoreApplication, Qt
from PySide6.QtWidgets import (
    QBoxLayout,
    QFileDialog,
    QFrame,
    QHBoxLayout,
    QScrollArea,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from gpupanel.model.gpu import NOT_TOLD, GpuId, Unavailable
from gpupanel.model.metrics import METRIC_BY_KEY
from gpupanel.sampling.ledger import DAY_S
from gpupanel.ui import format as fmt
from gpupanel.ui.export import Exporter
from gpupanel.ui.link import LinkState
from gpupanel.ui.pages.base import Page
from gpupanel.ui.past import Look, Question
from gpupanel.ui.store import Store
from gpupanel.ui.theme import Tone
from gpupanel.ui.widgets.banner import Banner
from gpupanel.ui.widgets.card import Card
from gpupanel.ui.widgets.controls import SCROLL_BAR_PX, Button, Choice, ThinScrollBar
from gpupanel.ui.widgets.fields import MultiChoice, Options
from gpupanel.ui.widgets.past.charts import ChartStack
from gpupanel.ui.widgets.past.energy import EnergyView
from gpupanel.ui.widgets.past.events import EventList
from gpupanel.ui.widgets.past.ledger import LedgerView
from gpupanel.ui.widgets.state_view import StateView

if TYPE_CHECKING:
    from PySide6.QtGui import QResizeEvent

translate = QCoreApplication.translate

MOST_CHARTS = 6
SHOWN_FIRST = (
    "utilization_gpu_percent", "power_draw_w", "temperature_gpu_c", "memory_used_bytes",
    "clock_graphics_mhz",
)  # fmt: skip
_FIRST_CHARTS = 3
_SIDE_BY_SIDE_PX = 760


class HistoryPage(Page):
    """Chooses what to ask; the answers are shown by its parts."""

    def __init__(self, store: Store, title: str) -> None:
        super().__init__(store, title)
        self._listed: tuple[tuple[GpuId, str], ...] = ()
        self._offered: tuple[str, ...] = ()
        self._shown: Look | None = None
        self._exporter = Exporter(self)
        self._exporter.finished.connect(self._tell_exported)
        self._note = Banner(Tone.SECONDARY, self.tr("Dis&miss"), "info")
        self._note.acted.connect(self._note.hide)
        self._note.hide()
        self._state = StateView("history", "", "")
        self._stack = QStackedWidget()
        self._stack.addWidget(self._state)
        self._stack.addWidget(self._make_content())
        self.add(self._make_choices())
        self.add(self._note)
        self.body.addWidget(self._stack, 1)

    def refresh(self) -> None:
        """Ask for what is chosen, and show what was answered."""
        past = self.store.past
        self._list_gpus()
        self._list_metrics()
        past.show(self._question())
        self.energy.show_tariff(past.tariff)
        if past.look is not None and past.look is not self._shown:
            self._shown = past.look
            self._show_look(past.look)
        self._show_ledger()
        title, sentence = self._nothing_to_show()
        self._state.set_texts(title, sentence)
        self._stack.setCurrentIndex(0 if title else 1)
        self._export.setEnabled(not title and not self._exporter.is_busy)
        self.subtitle.set_text(self._summary())

    @property
    def is_settled(self) -> bool:
        """The agent answered, or told why it cannot."""
        past = self.store.past
        return bool(past.refused) or (self._shown is past.look and not past.is_waiting)

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Qt: two cards side by side where there is room."""
        super().resizeEvent(event)
        wide = self.width() >= _SIDE_BY_SIDE_PX
        direction = QBoxLayout.Direction.LeftToRight if wide else QBoxLayout.Direction.TopToBottom
        self._sides.setDirection(direction)

    def export_to(self, path: Path) -> None:
        """Write what is shown into ``path``; what came of it is told on the page."""
        if self._shown is not None and not self._exporter.is_busy:
            self._exporter.write(self._shown, path)
            self.refresh()

    def _make_choices(self) -> Card:
        self.gpu = Choice()
        self.metrics = MultiChoice(self.tr("Charts"), MOST_CHARTS)
        self.span = Options(
            self.tr("Range"),
            (
                (self.tr("Hour"), 3600.0),
                (self.tr("Day"), DAY_S),
                (self.tr("Week"), 7 * DAY_S),
                (self.tr("90 days"), 90 * DAY_S),
            ),
        )
        self._export = Button(self.tr("E&xport…"))
        self._export.clicked.connect(self._choose_file)
        self.gpu.currentIndexChanged.connect(self.refresh)
        self.metrics.chosen.connect(self.refresh)
        self.span.chosen.connect(self.refresh)
        self.gpu.setAccessibleName(self.tr("GPU"))
        row = QHBoxLayout()
        row.setSpacing(12)
        row.addWidget(self.gpu, 1)
        for field in (self.metrics, self.span, self._export):
            row.addWidget(field)
        card = Card()
        card.body.setContentsMargins(12, 12, 12, 12)
        card.body.addLayout(row)
        return card

    def _make_content(self) -> QScrollArea:
        self.charts = ChartStack()
        self.ledger = LedgerView()
        self.energy = EnergyView()
        self.events = EventList()
        self.energy.tariff_chosen.connect(self._choose_tariff)
        self.events.pointed.connect(self.charts.set_cursor)
        self.charts.event_chosen.connect(self.events.choose)
        self._sides = QBoxLayout(QBoxLayout.Direction.LeftToRight)
        self._sides.setSpacing(12)
        self._sides.addWidget(self.ledger, 5)
        self._sides.addWidget(self.energy, 2)
        content = QWidget()
        column = QVBoxLayout(content)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(12)
        column.addWidget(self.charts, 1)
        column.addLayout(self._sides)
        column.addWidget(self.events)
        area = QScrollArea()
        area.setWidget(content)
        area.setWidgetResizable(True)
        area.setFrameShape(QFrame.Shape.NoFrame)
        area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        area.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOn)
        area.setVerticalScrollBar(ThinScrollBar(Qt.Orientation.Vertical))
        area.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        area.viewport().setMinimumWidth(SCROLL_BAR_PX)
        return area

    def _list_gpus(self) -> None:
        """Those that are there, and those of which something is remembered."""
        present = [*fmt.gpu_names(self.store.gpus or ()).items()]
        gone = [
            (gpu_id, self.tr("{0} (not here now)").format(gpu_id))
            for gpu_id in self.store.past.remembered or ()
            if gpu_id not in dict(present)
        ]
        listed = (*present, *gone)
        if listed == self._listed:
            return
        self._listed = listed
        chosen = self.gpu.currentData()
        self.gpu.blockSignals(True)
        self.gpu.clear()
        for gpu_id, name in listed:
            self.gpu.addItem(name, gpu_id)
        self.gpu.setCurrentIndex(max(self.gpu.findData(chosen), 0))
        self.gpu.blockSignals(False)

    def _list_metrics(self) -> None:
        """What is remembered of the GPU; what was chosen of another stays where it can."""
        remembered = (self.store.past.remembered or {}).get(self.gpu.currentData(), ())
        offered = tuple(key for key in METRIC_BY_KEY if key in remembered)
        if offered == self._offered:
            return
        self._offered = offered
        chosen = [key for key in self.metrics.values if key in offered]
        chosen = chosen or [key for key in SHOWN_FIRST if key in offered][:_FIRST_CHARTS]
        self.metrics.set_options(
            [(translate("Metrics", METRIC_BY_KEY[key].label), key) for key in offered],
            chosen or offered[:1],
        )

    def _question(self) -> Question | None:
        gpu_id, metrics = self.gpu.currentData(), self.metrics.values
        return Question(gpu_id, metrics, self.span.value) if gpu_id and metrics else None

    def _show_look(self, look: Look) -> None:
        gpu = self.store.gpu(look.question.gpu_id)
        limit = self.store.reading(look.question.gpu_id, "power_limit_w")
        self.charts.show_look(look, gpu, limit)
        self.events.show_look(look, gpu.name if gpu else "")
        self.energy.show_energy(look.energy, look.energy_since_s, look.question.span_s)

    def _show_ledger(self) -> None:
        gpu_id = self.gpu.currentData()
        sample = self.store.sample(gpu_id) if gpu_id else None
        if sample is not None and isinstance(sample.limited_by, Unavailable):
            why = self.tr("This device does not tell what limits its clocks.")
            if sample.limited_by != NOT_TOLD:
                why = f"{why} {fmt.sentence(sample.limited_by.reason)}"
        else:
            why = self.tr("Nothing is known yet of what limits this device.")
        self.ledger.show_accounts(self.store.past.accounts.get(gpu_id, {}), why)

    def _nothing_to_show(self) -> tuple[str, str]:
        """Title and reason of an empty page; empty when there is something."""
        past = self.store.past
        if self._shown is not None and self._question() is not None:
            return "", ""
        if self.store.link_state is LinkState.RESTARTING:
            return self.tr("The agent was lost"), fmt.sentence(self.store.link_reason)
        if past.refused:
            return self.tr("There is no history to show"), fmt.sentence(past.refused)
        if past.remembered is not None and not self._offered:
            return self.tr("Nothing is remembered of this device yet"), self.tr(
                "Readings appear here a few seconds after the agent first saw them."
            )
        return self.tr("Waiting for the agent"), self.tr(
            "It looks up what it remembers of this device."
        )

    def _summary(self) -> str:
        look = self._shown
        if look is None or self._stack.currentIndex() == 0:
            return ""
        if self.store.past.is_waiting:
            return self.tr("Reading…")
        if self.store.past.refused:
            return fmt.sentence(self.store.past.refused)
        width_s = max(curve.width_s for curve in look.curves.values())
        return self.tr("a point per {0} · as of {1}").format(
            fmt.span(width_s), fmt.clock(look.until_s)
        )

    def _choose_tariff(self, tariff: object) -> None:
        self.store.past.choose_tariff(tariff)  # type: ignore[arg-type]
        if self._shown is not None:
            self._show_look(self._shown)

    def _choose_file(self) -> None:
        name = f"gpupanel-{strftime('%Y-%m-%d-%H%M')}.csv"
        dialog = QFileDialog(self, self.tr("Export what is shown"), str(Path.home() / name))
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.setAcceptMode(QFileDialog.AcceptMode.AcceptSave)
        dialog.setNameFilters([self.tr("Table (*.csv)"), self.tr("JSON (*.json)")])
        dialog.setDefaultSuffix("csv")
        dialog.filterSelected.connect(
            lambda chosen: dialog.setDefaultSuffix("json" if ".json" in chosen else "csv")
        )
        dialog.fileSelected.connect(lambda chosen: self.export_to(Path(chosen)))
        dialog.open()

    def _tell_exported(self, path: str, reason: str) -> None:
        self._note.set_tone(Tone.ERROR if reason else Tone.OK)
        self._note.set_text(
            self.tr("{0} was not written: {1}.").format(path, reason)
            if reason
            else self.tr("Written: {0}").format(path)
        )
        self._note.show()
        self.refresh()
