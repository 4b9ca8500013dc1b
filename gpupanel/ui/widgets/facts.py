"""Names above values: what a run tells."""

from __future__ import annotations

from collections.abc import Mapping

from PySide6.QtWidgets import QGridLayout, QVBoxLayout, QWidget

from gpupanel.model.workload import WorkloadInfo
from gpupanel.ui import format as fmt
from gpupanel.ui.theme import BODY_PX, SMALL_PX, Tone
from gpupanel.ui.widgets.text import ElidedText, Text

_COLUMNS = 8


class Fact(QWidget):
    """A name above a value."""

    def __init__(self, name: str, *, small: bool = False) -> None:
        super().__init__()
        self._value = Text(fmt.UNKNOWN, size_px=BODY_PX if small else 16, bold=True)
        self._name = ElidedText(name, tone=Tone.SECONDARY, size_px=SMALL_PX)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0 if small else 2)
        column.addWidget(self._name)
        column.addWidget(self._value)

    def set_value(self, text: str, tone: Tone = Tone.TEXT) -> None:
        """Show ``text``."""
        self._value.set_text(text)
        self._value.set_tone(tone)


class ReadingFacts(QWidget):
    """What a load tells beside its rate, a small fact each; as many as it has, in rows."""

    def __init__(self) -> None:
        super().__init__()
        self._workload: WorkloadInfo | None = None
        self._facts: dict[str, Fact] = {}
        self._grid = QGridLayout(self)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setHorizontalSpacing(12)
        self._grid.setVerticalSpacing(6)
        for column in range(_COLUMNS):
            self._grid.setColumnStretch(column, 1)

    def show_readings(self, workload: WorkloadInfo, values: Mapping[str, float]) -> None:
        """Those of ``workload`` that are known; the others are not there."""
        if workload is not self._workload:
            self._make_facts(workload)
        self.setVisible(bool(values))
        for reading in workload.readings:
            fact = self._facts[reading.key]
            fact.setVisible(reading.key in values)
            if reading.key in values:
                fact.set_value(fmt.figure(values[reading.key], reading.unit))

    def _make_facts(self, workload: WorkloadInfo) -> None:
        self._workload = workload
        for fact in self._facts.values():
            self._grid.removeWidget(fact)
            fact.deleteLater()
        self._facts = {}
        for index, reading in enumerate(workload.readings):
            fact = Fact(reading.title, small=True)
            fact.setToolTip(reading.help)
            self._facts[reading.key] = fact
            self._grid.addWidget(fact, *divmod(index, _COLUMNS))
