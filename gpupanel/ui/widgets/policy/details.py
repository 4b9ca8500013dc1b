"""One policy key in full: the same that ``gpupanelctl policy explain`` tells."""

from __future__ import annotations

from PySide6.QtCore import QCoreApplication, Qt
from PySide6.QtWidgets import QFrame, QGridLayout, QHBoxLayout, QScrollArea, QVBoxLayout, QWidget

from gpupanel.policy.explain import Explanation, place
from gpupanel.ui.theme import SMALL_PX, Tone
from gpupanel.ui.widgets.controls import ThinScrollBar
from gpupanel.ui.widgets.policy.words import help_text, label_text, level_text, value_text
from gpupanel.ui.widgets.text import Text

translate = QCoreApplication.translate

_SHORT_ROWS = ("Level", "Bounds", "Tighter", "Default", "Since", "Switch")
_LONG_ROWS = ("Set by", "Change")


class KeyDetails(QWidget):
    """Value and help above; short facts at the left, long ones and what lost at the right."""

    def __init__(self) -> None:
        super().__init__()
        self._title = Text(size_px=14, bold=True, wrap=True)
        self._help = Text(tone=Tone.SECONDARY, wrap=True)
        self._values: dict[str, Text] = {}
        self._names: dict[str, Text] = {}
        self._beaten = Text(size_px=SMALL_PX, wrap=True)
        self._beaten_name = _name(self.tr("Conflicts"))
        columns = QHBoxLayout()
        columns.setSpacing(24)
        columns.addLayout(self._make_grid(_SHORT_ROWS), 2)
        right = self._make_grid(_LONG_ROWS)
        right.addWidget(self._beaten_name, len(_LONG_ROWS), 0, Qt.AlignmentFlag.AlignTop)
        right.addWidget(self._beaten, len(_LONG_ROWS), 1)
        right.setRowStretch(len(_LONG_ROWS) + 1, 1)
        columns.addLayout(right, 3)
        column = QVBoxLayout(self)
        column.setContentsMargins(16, 12, 16, 12)
        column.setSpacing(4)
        column.addWidget(self._title)
        column.addWidget(self._help)
        column.addSpacing(4)
        column.addLayout(columns)
        column.addStretch(1)

    def show_explanation(self, told: Explanation) -> None:
        """Replace what is told."""
        key, setting = told.key, told.setting
        value = value_text(key.name, setting.value)
        self._title.set_text(f"{label_text(key)}: {value}")
        self._help.set_text(help_text(key))
        rows = dict(told.rows)
        for name, text in self._values.items():
            text.set_text(rows.get(name, ""))
            text.setVisible(name in rows)
            self._names[name].setVisible(name in rows)
        lines = [
            f"{value_text(key.name, one.value)} · {level_text(one.level)} · {place(one)}: {one.why}"
            for one in setting.overridden
        ]
        self._beaten.set_text("\n".join(lines) or self.tr("Nobody says anything else."))
        self._beaten.set_tone(Tone.WARN if lines else Tone.TEXT)
        self.setAccessibleName(key.name)
        self.setAccessibleDescription(f"{label_text(key)}: {value}. {help_text(key)}")

    def _make_grid(self, names: tuple[str, ...]) -> QGridLayout:
        grid = QGridLayout()
        grid.setHorizontalSpacing(12)
        grid.setVerticalSpacing(2)
        grid.setColumnStretch(1, 1)
        for row, name in enumerate(names):
            self._names[name] = _name(translate("Explanation", name))
            self._values[name] = Text(size_px=SMALL_PX, wrap=True)
            grid.addWidget(self._names[name], row, 0, Qt.AlignmentFlag.AlignTop)
            grid.addWidget(self._values[name], row, 1)
        grid.setRowStretch(len(names) + 1, 1)
        return grid


class ScrolledDetails(QScrollArea):
    """Details in what room there is; the keyboard scrolls them."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.details = KeyDetails()
        self.setAccessibleName(name)
        self.setWidget(self.details)
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setVerticalScrollBar(ThinScrollBar(Qt.Orientation.Vertical))
        self.viewport().setAutoFillBackground(False)
        self.details.setAutoFillBackground(False)


def _name(text: str) -> Text:
    return Text(text, tone=Tone.SECONDARY, size_px=SMALL_PX)
