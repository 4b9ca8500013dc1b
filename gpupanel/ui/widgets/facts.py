"""Names above values: what a run tells."""

from __future__ import annotations

from collections.abc import Mapping

from PySide6.QtWidgets import QHBoxLayout, QVBoxLayout, QWidget

from gpupanel.model.workload import WorkloadInfo
from gpupanel.ui import format as fmt
from gpupanel.ui.theme import SMALL_PX, Tone
from gpupanel.ui.widgets.text import Text


class Fact(QWidget):
    """A name above a value."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._value = Text(fmt.UNKNOWN, size_px=16, bold=True)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(2)
        column.addWidget(Text(name, tone=Tone.SECONDARY, size_px=SMALL_PX))
        column.addWidget(self._value)

    def set_value(self, text: str, tone: Tone = Tone.TEXT) -> None:
        """Show ``text``."""
        self._value.set_text(text)
        self._value.set_tone(tone)


class ReadingFacts(QWidget):
    """What a load tells beside its rate, a fact each; as many as it has."""

    def __init__(self) -> None:
        super().__init__()
        self._workload: WorkloadInfo | None = None
        self._facts: dict[str, Fact] = {}
        self._row = QHBoxLayout(self)
        self._row.setContentsMargins(0, 0, 0, 0)
        self._row.setSpacing(16)

    def show_readings(self, workload: WorkloadInfo, values: Mapping[str, float]) -> None:
        """Those of ``workload`` that are known; the others are not there."""
        if workload is not self._workload:
            self._make_facts(workload)
        self.setVisible(bool(values))
        for reading in workload.readings:
            fact = self._facts[reading.key]
            fact.setVisible(reading.key in values)
            if reading.key in values:
                fact.set_value(f"{values[reading.key]:.4g}\u00a0{reading.unit}".strip())

    def _make_facts(self, workload: WorkloadInfo) -> None:
        self._workload = workload
        for fact in self._facts.values():
            self._row.removeWidget(fact)
            fact.deleteLater()
        self._facts = {reading.key: Fact(reading.title) for reading in workload.readings}
        for reading in workload.readings:
            self._facts[reading.key].setToolTip(reading.help)
            self._row.addWidget(self._facts[reading.key], 1)
