"""A field for each knob of a load, made anew when another load is chosen."""

from __future__ import annotations

from collections.abc import Mapping

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QHBoxLayout, QVBoxLayout, QWidget

from gpupanel.model.workload import Knob, WorkloadInfo
from gpupanel.ui.theme import SMALL_PX, Tone
from gpupanel.ui.widgets.controls import Choice, NumberField
from gpupanel.ui.widgets.text import Text

Field = Choice | NumberField


class KnobFields(QWidget):
    """Knobs beside each other, each under its name.

    Signals:
        changed(): A value is new.
    """

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._shown: tuple[str, bool] | None = None
        self._knobs: dict[str, tuple[Knob, Field]] = {}
        self._row = QHBoxLayout(self)
        self._row.setContentsMargins(0, 0, 0, 0)
        self._row.setSpacing(12)

    def show_knobs(self, workload: WorkloadInfo, *, is_cpu: bool) -> None:
        """The knobs of ``workload`` at the defaults of this kind of device."""
        if self._shown == (workload.name, is_cpu):
            return
        self._shown = (workload.name, is_cpu)
        while (item := self._row.takeAt(0)) is not None:
            column = item.widget()
            if column is not None:
                column.deleteLater()
        self._knobs = {}
        for knob in workload.knobs:
            field = _field(knob, knob.default_cpu if is_cpu else knob.default)
            signal = field.currentIndexChanged if isinstance(field, Choice) else field.valueChanged
            signal.connect(self.changed)
            self._knobs[knob.name] = (knob, field)
            self._row.addWidget(_labelled(knob, field))
        self._row.addStretch(1)

    def values(self) -> Mapping[str, int]:
        """Every knob as it is set."""
        return {name: _value(field) for name, (_, field) in self._knobs.items()}

    def set_values(self, values: Mapping[str, int]) -> None:
        """Show what a run was started with; knobs that it does not name stay."""
        for name, value in values.items():
            if name not in self._knobs:
                continue
            field = self._knobs[name][1]
            if isinstance(field, Choice):
                field.setCurrentIndex(field.findData(value))
            else:
                field.setValue(value)


def _field(knob: Knob, value: int) -> Field:
    field: Field
    if knob.choices:
        field = Choice()
        for choice in knob.choices:
            field.addItem(str(choice), choice)
        field.setCurrentIndex(field.findData(value))
    else:
        field = NumberField()
        field.setRange(knob.low, knob.high)
        field.setValue(value)
    field.setToolTip(knob.help)
    field.setAccessibleName(knob.name)
    field.setAccessibleDescription(knob.help)
    return field


def _labelled(knob: Knob, field: Field) -> QWidget:
    part = QWidget()
    column = QVBoxLayout(part)
    column.setContentsMargins(0, 0, 0, 0)
    column.setSpacing(4)
    column.addWidget(Text(knob.name.replace("_", " "), tone=Tone.SECONDARY, size_px=SMALL_PX))
    column.addWidget(field, 0, Qt.AlignmentFlag.AlignTop)
    return part


def _value(field: Field) -> int:
    value: int = field.currentData() if isinstance(field, Choice) else field.value()
    return value
