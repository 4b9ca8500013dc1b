"""Processes: who uses the GPUs, how much and since when, and whether it mines and why."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from time import time
from typing import TYPE_CHECKING

from PySide6.QtCore import QCoreApplication, Qt
from PySide6.QtWidgets import QGridLayout, QStackedWidget, QVBoxLayout, QWidget

from gpupanel.model.gpu import GpuId, GpuKind, ProcessKind, ProcessSample, Reading, Unavailable
from gpupanel.model.metrics import QT_TRANSLATE_NOOP
from gpupanel.ui import format as fmt
from gpupanel.ui.link import LinkState
from gpupanel.ui.pages.base import Page
from gpupanel.ui.store import Store
from gpupanel.ui.theme import SMALL_PX, Tone
from gpupanel.ui.widgets.card import Card
from gpupanel.ui.widgets.controls import Choice
from gpupanel.ui.widgets.evidence import STANDING_TONES, EvidenceCard, class_text, standing_text
from gpupanel.ui.widgets.fields import LineField
from gpupanel.ui.widgets.state_view import StateView
from gpupanel.ui.widgets.table import Cell, Table
from gpupanel.ui.widgets.text import Text

if TYPE_CHECKING:
    from PySide6.QtGui import QHideEvent, QShowEvent

translate = QCoreApplication.translate

_KINDS = {
    ProcessKind.COMPUTE: QT_TRANSLATE_NOOP("ProcessKinds", "Compute"),
    ProcessKind.GRAPHICS: QT_TRANSLATE_NOOP("ProcessKinds", "Graphics"),
    ProcessKind.BOTH: QT_TRANSLATE_NOOP("ProcessKinds", "Both"),
    ProcessKind.UNKNOWN: QT_TRANSLATE_NOOP("ProcessKinds", "Not told"),
}
_MAKERS = ("NVIDIA", "AMD", "Intel")
_ALL_ROWS = 10_000


@dataclass(frozen=True, slots=True)
class Row:
    """A process and what the window knows around it."""

    process: ProcessSample
    gpu_name: str
    now_unix_s: float


@dataclass(frozen=True, slots=True)
class Column:
    """One column of the table: to add one, add a row to COLUMNS.

    Attributes:
        title: Marked for translation.
        width_px: The column of the name takes what is left.
        cell: What stands there.
        sort_key: None of a value that is not known: that comes last in either order.
        is_number: Aligned to the right, and sorted with the greatest first.
    """

    title: str
    width_px: int
    cell: Callable[[Row], Cell]
    sort_key: Callable[[Row], float | str | None]
    is_number: bool = False


def _reading_cell(reading: Reading, text: Callable[[float], str]) -> Cell:
    if isinstance(reading, Unavailable):
        why = translate("Processes", "not known: {0}").format(reading.reason)
        return Cell(fmt.UNKNOWN, Tone.SECONDARY, why, is_number=True)
    return Cell(text(reading), is_number=True)


def _utilization(row: Row) -> Cell:
    reading = row.process.utilization_percent
    cell = _reading_cell(reading, fmt.percent)
    share = 0.0 if isinstance(reading, Unavailable) else reading / 100
    return replace(cell, share=share)


def _engines(row: Row) -> Cell:
    used = {name: share for name, share in row.process.engines.items() if share >= 0.5}
    text = ", ".join(
        f"{name} {fmt.percent(share)}"
        for name, share in sorted(used.items(), key=lambda item: -item[1])
    )
    if text:
        return Cell(text)
    told = translate("Processes", "no engine is at work")
    untold = translate("Processes", "not known: this driver does not tell of engines")
    return Cell(fmt.UNKNOWN, Tone.SECONDARY, told if row.process.engines else untold)


def _since(row: Row) -> Cell:
    started_s = row.process.started_unix_s
    if started_s is None:
        why = translate("Processes", "not known: the system does not tell when it was started")
        return Cell(fmt.UNKNOWN, Tone.SECONDARY, why)
    age_s = max(0.0, row.now_unix_s - started_s)
    when = f"{fmt.day(started_s)} {fmt.clock(started_s)}"
    help_text = translate("Processes", "since {0}, for {1}").format(when, fmt.span(age_s))
    is_recent = age_s < fmt.DAY_S
    return Cell(fmt.clock(started_s) if is_recent else fmt.day(started_s), help=help_text)


def _user(row: Row) -> Cell:
    if row.process.user is None:
        why = translate("Processes", "not known: the system does not tell whose it is")
        return Cell(fmt.UNKNOWN, Tone.SECONDARY, why)
    return Cell(row.process.user)


def _gpu(row: Row) -> Cell:
    """Without the maker: the models tell cards apart."""
    maker, _, model = row.gpu_name.partition(" ")
    short = model if maker in _MAKERS and model else row.gpu_name
    return Cell(short, help=f"{row.gpu_name}\n{row.process.gpu_id}")


def _class(row: Row) -> Cell:
    verdict = row.process.verdict
    if verdict is None:
        return Cell(fmt.UNKNOWN, Tone.SECONDARY, _not_judged())
    return Cell(class_text(verdict), Tone.SECONDARY)


def _verdict(row: Row) -> Cell:
    verdict = row.process.verdict
    if verdict is None:
        return Cell(fmt.UNKNOWN, Tone.SECONDARY, _not_judged())
    help_text = translate("Processes", "probability of mining: {0}; since {1}").format(
        fmt.probability(verdict.posterior), fmt.clock(verdict.since_unix_s)
    )
    return Cell(standing_text(verdict), STANDING_TONES[verdict.standing], help_text)


def _not_judged() -> str:
    return translate("Processes", "not known: it did no work on a GPU yet, or was not looked into")


def _posterior(row: Row) -> float | None:
    return None if row.process.verdict is None else row.process.verdict.posterior


def _number(reading: Reading) -> float | None:
    return None if isinstance(reading, Unavailable) else reading


def _kind(row: Row) -> str:
    return translate("ProcessKinds", _KINDS[row.process.kind])


COLUMNS: tuple[Column, ...] = (
    Column(
        QT_TRANSLATE_NOOP("Processes", "Name"), 136,
        lambda row: Cell(row.process.name),
        lambda row: row.process.name.casefold(),
    ),
    Column(
        QT_TRANSLATE_NOOP("Processes", "PID"), 62,
        lambda row: Cell(str(row.process.pid), Tone.SECONDARY, is_number=True),
        lambda row: float(row.process.pid), is_number=True,
    ),
    Column(
        QT_TRANSLATE_NOOP("Processes", "User"), 70,
        _user, lambda row: row.process.user,
    ),
    Column(
        QT_TRANSLATE_NOOP("Processes", "GPU"), 148,
        _gpu,
        lambda row: row.gpu_name,
    ),
    Column(
        QT_TRANSLATE_NOOP("Processes", "Type"), 80,
        lambda row: Cell(_kind(row), Tone.SECONDARY), _kind,
    ),
    Column(
        QT_TRANSLATE_NOOP("Processes", "Class"), 82,
        _class,
        lambda row: None if row.process.verdict is None else class_text(row.process.verdict),
    ),
    Column(
        QT_TRANSLATE_NOOP("Processes", "Verdict"), 84,
        _verdict, _posterior,
    ),
    Column(
        QT_TRANSLATE_NOOP("Processes", "GPU use"), 84,
        _utilization, lambda row: _number(row.process.utilization_percent), is_number=True,
    ),
    Column(
        QT_TRANSLATE_NOOP("Processes", "Memory"), 80,
        lambda row: _reading_cell(
            row.process.memory_used_bytes, lambda value: str(fmt.memory_of_process(value))
        ),
        lambda row: _number(row.process.memory_used_bytes), is_number=True,
    ),
    Column(
        QT_TRANSLATE_NOOP("Processes", "Running since"), 104,
        _since, lambda row: row.process.started_unix_s, is_number=False,
    ),
    Column(
        QT_TRANSLATE_NOOP("Processes", "Engines"), 0,
        _engines, lambda row: max(row.process.engines.values(), default=None), is_number=False,
    ),
)  # fmt: skip
"""From left to right."""

SORTED_FIRST = next(i for i, column in enumerate(COLUMNS) if column.title == "GPU use")


class ProcessesPage(Page):
    """One table for all GPUs; the agent looks only while the page is seen."""

    def __init__(self, store: Store, title: str) -> None:
        super().__init__(store, title)
        self._offered: tuple[tuple[GpuId, str], ...] | None = None
        self._shown: list[ProcessSample] = []
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
        column.addWidget(self.evidence)
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
        title, sentence = self._nothing_to_show(bool(rows))
        self._state.set_texts(title, sentence)
        self._stack.setCurrentIndex(0 if title else 1)
        self._hidden.set_text("\n".join(map(fmt.sentence, self.store.hidden_processes)))
        self._hidden.setVisible(bool(self.store.hidden_processes))
        self._explain_selected()
        self.subtitle.set_text(self._summary(len(rows)) if processes else "")

    def _explain_selected(self) -> None:
        """The evidence on the selected process, below the table."""
        keys = [row.row() for row in self.table.selectionModel().selectedRows()]
        selected = self._shown[keys[0]] if keys and keys[0] < len(self._shown) else None
        self.evidence.show_process(selected)

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
            Row(one, names.get(one.gpu_id, one.gpu_id), now_s)
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
