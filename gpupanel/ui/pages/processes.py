"""Processes: who uses the GPUs, how much and since when, and whether it mines and why."""

from __future__ import annotations

from collections.abc import Hashable
from time import time
from typing import TYPE_CHECKING

from PySide6.QtCore import QCoreApplication, Qt
from PySide6.QtWidgets import QGridLayout, QStackedWidget, QVBoxLayout, QWidget

from gpupanel.model.gpu import GpuId, GpuKind, ProcessSample
from gpupanel.ui import format as fmt
from gpupanel.ui.holds import ProcessKey
from gpupanel.ui.link import LinkState
from gpupanel.ui.pages.base import Page
from gpupanel.ui.store import Store
from gpupanel.ui.theme import SMALL_PX, Tone
from gpupanel.ui.widgets.card import Card
from gpupanel.ui.widgets.controls import Choice
from gpupanel.ui.widgets.evidence import EvidenceCard
from gpupanel.ui.widgets.fields import LineField
from gpupanel.ui.widgets.holds import words
from gpupanel.ui.widgets.processes.columns import COLUMNS, HELD, SORTED_FIRST, Row
from gpupanel.ui.widgets.scrolled import Scrolled
from gpupanel.ui.widgets.state_view import StateView
from gpupanel.ui.widgets.table import Table
from gpupanel.ui.widgets.text import Text

if TYPE_CHECKING:
    from PySide6.QtGui import QHideEvent, QShowEvent

translate = QCoreApplication.translate

_ALL_ROWS = 10_000


class ProcessesPage(Page):
    """One table for all GPUs; the agent looks only while the page is seen."""

    def __init__(self, store: Store, title: str) -> None:
        super().__init__(store, title)
        self._offered: tuple[tuple[GpuId, str], ...] | None = None
        self._shown: list[ProcessSample] = []
        self._sought: ProcessKey | None = None
        self._state = StateView("processes", "", "")
        titles = [translate("Processes", column.title) for column in COLUMNS]
        widths = [column.width_px for column in COLUMNS[:-1]]
        self.table = Table(self.tr("Processes"), titles, widths, _ALL_ROWS)
        self.table.let_scroll_sideways()
        self.table.align_right(i for i, column in enumerate(COLUMNS) if column.is_number)
        head = self.table.be_sortable(SORTED_FIRST, Qt.SortOrder.DescendingOrder)
        head.sortIndicatorChanged.connect(self._sort_by)
        card = Card()
        card.body.setContentsMargins(4, 4, 4, 4)
        card.body.addWidget(self.table)
        self._hidden = Text(tone=Tone.SECONDARY, size_px=SMALL_PX, wrap=True)
        listed = QWidget()
        column = QVBoxLayout(listed)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(12)
        column.addWidget(card, 1)
        self.evidence = EvidenceCard(store)
        self.table.selectionModel().selectionChanged.connect(self._explain_selected)
        self.evidence.place_wanted.connect(self.place_wanted)
        self.evidence.help_wanted.connect(self.help_wanted)
        self._below = Scrolled(self.evidence)
        self._below.hide()
        column.addWidget(self._below)
        column.addWidget(self._hidden)
        self._stack = QStackedWidget()
        self._stack.addWidget(self._state)
        self._stack.addWidget(listed)
        self.add(self._make_choices())
        self.add(self._stack, 1)

    def refresh(self) -> None:
        """The processes of the last second that pass the filter."""
        self._offer_gpus()
        processes = self.store.processes
        rows = self._rows(processes or ())
        self._shown = [row.process for row in rows]
        self.table.renew({self._key(row): tuple(c.cell(row) for c in COLUMNS) for row in rows})
        self.table.show_column(HELD, any(row.hold is not None for row in rows))
        title, sentence = self._nothing_to_show(bool(rows))
        self._state.set_texts(title, sentence)
        self._stack.setCurrentIndex(0 if title else 1)
        self._hidden.set_text("\n".join(map(fmt.sentence, self.store.hidden_processes)))
        self._hidden.setVisible(bool(self.store.hidden_processes))
        self._select_sought()
        self._explain_selected()
        self.subtitle.set_text(self._summary(len(rows)) if processes else "")

    def _explain_selected(self) -> None:
        """The evidence on the selected process, below the table."""
        keys = [row.row() for row in self.table.selectionModel().selectedRows()]
        selected = self._shown[keys[0]] if keys and keys[0] < len(self._shown) else None
        self.evidence.show_process(selected)
        self._below.setVisible(selected is not None)

    def seek(self, what: object) -> None:
        """The line of a process, as soon as the agent tells of it."""
        if isinstance(what, tuple):
            self.search.clear()
            self.gpu.setCurrentIndex(0)
            self._sought = what
            self.refresh()

    def _select_sought(self) -> None:
        keys = [(one.pid, one.started) for one in self._shown]
        if self._sought in keys:
            self.table.selectRow(keys.index(self._sought))
            self.table.setFocus()
            self._sought = None

    @property
    def is_settled(self) -> bool:
        """The agent looked."""
        return self.store.processes is not None

    def showEvent(self, event: QShowEvent) -> None:
        """Qt: looking at every process costs something."""
        super().showEvent(event)
        self.store.want_processes(True)

    def hideEvent(self, event: QHideEvent) -> None:
        """Qt: nobody looks any more."""
        super().hideEvent(event)
        self.store.want_processes(False)

    def _make_choices(self) -> Card:
        self.search = LineField(self.tr("Filter"), 240)
        self.search.setPlaceholderText(self.tr("Name, user or PID"))
        self.search.setClearButtonEnabled(True)
        self.gpu = Choice()
        self.order = Choice()
        for column in COLUMNS:
            self.order.addItem(translate("Processes", column.title))
        self.order.setCurrentIndex(SORTED_FIRST)
        grid = QGridLayout()
        grid.setHorizontalSpacing(12)
        grid.setVerticalSpacing(4)
        fields = (
            (self.tr("&Filter"), self.search),
            (self.tr("&GPU"), self.gpu),
            (self.tr("Sort &by"), self.order),
        )
        for place, (label, field) in enumerate(fields):
            title = Text(label, tone=Tone.SECONDARY, size_px=SMALL_PX)
            title.setBuddy(field)
            field.setAccessibleName(label.replace("&", ""))
            grid.addWidget(title, 0, place)
            grid.addWidget(field, 1, place)
        grid.setColumnStretch(0, 2)
        grid.setColumnStretch(1, 2)
        grid.setColumnStretch(2, 1)
        self.search.textChanged.connect(self.refresh)
        self.gpu.currentIndexChanged.connect(self.refresh)
        self.order.activated.connect(self._choose_order)
        card = Card()
        card.body.addLayout(grid)
        return card

    def _offer_gpus(self) -> None:
        offered = tuple(fmt.gpu_names(self.store.gpus or ()).items())
        if offered == self._offered:
            return
        self._offered = offered
        chosen = self.gpu.currentData()
        self.gpu.blockSignals(True)
        self.gpu.clear()
        self.gpu.addItem(self.tr("All GPUs"), "")
        for gpu_id, name in offered:
            self.gpu.addItem(name, gpu_id)
        self.gpu.setCurrentIndex(max(self.gpu.findData(chosen), 0))
        self.gpu.blockSignals(False)

    def _choose_order(self, column: int) -> None:
        descending = COLUMNS[column].is_number
        order = Qt.SortOrder.DescendingOrder if descending else Qt.SortOrder.AscendingOrder
        self.table.horizontalHeader().setSortIndicator(column, order)

    def _sort_by(self, column: int) -> None:
        self.order.setCurrentIndex(column)
        self.refresh()

    def _rows(self, processes: tuple[ProcessSample, ...]) -> list[Row]:
        names = dict(self._offered or ())
        now_s = time()
        gpu_id = self.gpu.currentData()
        words = self.search.text().casefold().split()
        rows = [
            self._row(one, names.get(one.gpu_id, one.gpu_id), now_s)
            for one in processes
            if (not gpu_id or one.gpu_id == gpu_id)
            and all(word in f"{one.name} {one.user} {one.pid}".casefold() for word in words)
        ]
        head = self.table.horizontalHeader()
        key = COLUMNS[head.sortIndicatorSection()].sort_key
        descending = head.sortIndicatorOrder() is Qt.SortOrder.DescendingOrder
        # By pid first: a stable sort keeps that order among equals, second after second.
        rows.sort(key=lambda row: (row.process.gpu_id, row.process.pid))
        known = [row for row in rows if key(row) is not None]
        unknown = [row for row in rows if key(row) is None]
        return sorted(known, key=lambda row: _comparable(key(row)), reverse=descending) + unknown

    def _row(self, process: ProcessSample, gpu_name: str, now_s: float) -> Row:
        hold = self.store.holds.of((process.pid, process.started))
        told = words.headline(hold, self.store.policy, now_s) if hold is not None else ""
        return Row(process, gpu_name, now_s, hold, told)

    @staticmethod
    def _key(row: Row) -> Hashable:
        return row.process.gpu_id, row.process.pid, row.process.started

    def _nothing_to_show(self, has_rows: bool) -> tuple[str, str]:
        """Title and reason of an empty page; empty when there is something."""
        store = self.store
        if has_rows:
            return "", ""
        if store.link_state is LinkState.RESTARTING:
            return self.tr("The agent was lost"), fmt.sentence(store.link_reason)
        if store.processes is None:
            return self.tr("Looking at the processes…"), self.tr(
                "The agent looks once a second, and only while this page is open."
            )
        if store.processes:
            return self.tr("No process matches"), self.tr(
                "{0} are hidden by the filter or by the choice of the GPU."
            ).format(fmt.number(len(store.processes), 0))
        return self._why_no_process()

    def _why_no_process(self) -> tuple[str, str]:
        gpus, backends = self.store.gpus or (), self.store.backends
        if any(backend.name == "replay" for backend in backends):
            return self.tr("A recording holds no processes"), self.tr(
                "Whose programs ran when it was made is nobody's business."
            )
        if not any(gpu.kind is GpuKind.GPU for gpu in gpus):
            return self.tr("No GPU, so no process of one"), self.tr(
                "Drivers tell who uses a GPU. The processor is used by every program; your "
                "system's own monitor lists them."
            )
        return self.tr("No program uses a GPU now"), self.tr(
            "Programs appear here within a second of their first use."
        )

    def _summary(self, shown: int) -> str:
        processes = self.store.processes or ()
        count = fmt.number(len(processes), 0)
        if shown != len(processes):
            count = self.tr("{0} of {1}").format(fmt.number(shown, 0), count)
        kind = self.tr("{0} process") if len(processes) == 1 else self.tr("{0} processes")
        return kind.format(count)


def _comparable(key: float | str | None) -> tuple[float, str]:
    """Numbers as numbers, words as words; of one column, all keys are of one kind."""
    return (0.0, key) if isinstance(key, str) else (key or 0.0, "")
