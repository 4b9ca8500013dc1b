"""What happened, to be read and searched: the list below the charts."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from PySide6.QtCore import QCoreApplication, QModelIndex, Signal
from PySide6.QtWidgets import QHBoxLayout

from gpupanel.model.event import EventRecord
from gpupanel.ui import format as fmt
from gpupanel.ui.past import Look
from gpupanel.ui.theme import SMALL_PX, Tone
from gpupanel.ui.widgets.card import Card
from gpupanel.ui.widgets.controls import Choice
from gpupanel.ui.widgets.fields import LineField
from gpupanel.ui.widgets.past.kinds import EVENT_KINDS, label_of, tone_of
from gpupanel.ui.widgets.table import Cell, Table
from gpupanel.ui.widgets.text import Text

translate = QCoreApplication.translate

_SHOWN_ROWS = 8


class EventList(Card):
    """A table with two filters, the newest first.

    Signals:
        pointed(float): At the time of the event of the current row.
    """

    pointed = Signal(float)

    def __init__(self) -> None:
        super().__init__()
        self._look: Look | None = None
        self._gpu_name = ""
        self._listed: list[EventRecord] = []
        self.setAccessibleName(self.tr("Events"))
        self._count = Text(tone=Tone.SECONDARY, size_px=SMALL_PX)
        self.kind = Choice()
        self.kind.setAccessibleName(self.tr("Kind of events"))
        self.kind.addItem(self.tr("All kinds"), "")
        for name, kind in EVENT_KINDS.items():
            self.kind.addItem(translate("Events", kind.label), name)
        self.search = LineField(self.tr("Search the events"), 200)
        self.search.setPlaceholderText(self.tr("Search"))
        self.search.setClearButtonEnabled(True)
        head = QHBoxLayout()
        head.setSpacing(8)
        head.addWidget(Text(self.tr("Events"), size_px=14, bold=True))
        head.addWidget(self._count)
        head.addStretch(1)
        head.addWidget(self.kind)
        head.addWidget(self.search)
        titles = (self.tr("Time"), self.tr("Kind"), self.tr("What happened"))
        self.table = Table(self.tr("Events"), titles, (152, 156), _SHOWN_ROWS)
        self._none = Text(tone=Tone.SECONDARY, wrap=True)
        self.body.addLayout(head)
        self.body.addWidget(self.table)
        self.body.addWidget(self._none)
        self.kind.currentIndexChanged.connect(self._show)
        self.search.textChanged.connect(self._show)
        self.table.selectionModel().currentRowChanged.connect(self._point)

    def show_look(self, look: Look, gpu_name: str) -> None:
        """List the events of ``look``; ids in them become ``gpu_name``."""
        self._look, self._gpu_name = look, gpu_name
        self._show()

    def choose(self, number: int) -> None:
        """Make the event of that number in the look the current row, if it is listed."""
        assert self._look is not None
        event = self._look.events[number]
        if event in self._listed:
            self.table.selectRow(self._listed.index(event))

    def _show(self) -> None:
        look = self._look
        if look is None:
            return
        self._listed = self._matching(look.events)
        rows: dict[Hashable, tuple[Cell, ...]] = {}
        for number, event in enumerate(reversed(self._listed)):
            # Two events may be alike; the newest has the greatest number, also when others come.
            rows[event, len(self._listed) - number] = self._row(event, look)
        self._listed.reverse()
        self.table.renew(rows)
        self.table.setVisible(bool(rows))
        self._none.setVisible(not rows)
        self._none.set_text(
            self.tr("No event matches.")
            if look.events
            else self.tr("Nothing happened in this time that the driver or gpupanel told.")
        )
        self._count.set_text(self._summary(look))

    def _summary(self, look: Look) -> str:
        shown, count = len(self._listed), len(look.events)
        text = fmt.number(count, 0)
        if shown != count:
            text = self.tr("{0} of {1}").format(fmt.number(shown, 0), text)
        if not look.is_complete:
            text = self.tr("{0}, the newest; older ones are left off").format(text)
        return text

    def _matching(self, events: Sequence[EventRecord]) -> list[EventRecord]:
        kind, words = self.kind.currentData(), self.search.text().casefold().split()
        return [
            one
            for one in events
            if (not kind or one.kind == kind)
            and all(word in f"{label_of(one)} {self._text(one)}".casefold() for word in words)
        ]

    def _row(self, event: EventRecord, look: Look) -> tuple[Cell, ...]:
        text = self._text(event)
        when = fmt.moment(event.time_unix_s, look.until_s - look.since_s)
        return (
            Cell(when, Tone.SECONDARY),
            Cell(label_of(event), tone_of(event)),
            Cell(fmt.sentence(text), help=text),
        )

    def _text(self, event: EventRecord) -> str:
        if event.gpu_id and self._gpu_name:
            return event.text.replace(event.gpu_id, self._gpu_name)
        return event.text

    def _point(self, current: QModelIndex) -> None:
        if current.isValid() and current.row() < len(self._listed):
            self.pointed.emit(self._listed[current.row()].time_unix_s)
