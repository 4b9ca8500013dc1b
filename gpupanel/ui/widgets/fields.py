"""Fields to type in, and a row of buttons of which one is chosen, in the form of the controls."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtGui import (
    QAction,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPalette,
    QWheelEvent,
)
from PySide6.QtWidgets import (
    QButtonGroup,
    QDoubleSpinBox,
    QHBoxLayout,
    QLineEdit,
    QMenu,
    QWidget,
)

from gpupanel.ui.theme import Tone, blend, colour
from gpupanel.ui.widgets.controls import HEIGHT_PX, Button, draw_frame


def _clear(line: QLineEdit) -> None:
    """Its field is painted behind it, by whoever holds it."""
    palette = QPalette()
    palette.setColor(QPalette.ColorRole.Base, Qt.GlobalColor.transparent)
    line.setPalette(palette)


class LineField(QLineEdit):
    """One line of text; the placeholder is its name where there is no label."""

    def __init__(self, name: str, width_px: int) -> None:
        super().__init__()
        self._width_px = width_px
        self.setFrame(False)
        self.setAccessibleName(name)
        self.setMinimumHeight(HEIGHT_PX)
        self.setTextMargins(9, 0, 9, 0)
        _clear(self)

    def sizeHint(self) -> QSize:
        """Qt: as wide as was asked for."""
        return QSize(self._width_px, HEIGHT_PX)

    def minimumSizeHint(self) -> QSize:
        """Qt: a few letters."""
        return QSize(min(self._width_px, 96), HEIGHT_PX)

    def paintEvent(self, event: QPaintEvent) -> None:
        """Qt: our field, Qt's text."""
        painter = QPainter(self)
        palette = self.palette()
        draw_frame(self, painter, colour(palette, Tone.RAISED), colour(palette, Tone.BORDER))
        painter.end()
        super().paintEvent(event)


class DecimalField(QDoubleSpinBox):
    """A number with decimals, without arrows: nobody climbs to a price in steps."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.setFrame(False)
        self.setButtonSymbols(QDoubleSpinBox.ButtonSymbols.NoButtons)
        self.setAccessibleName(name)
        self.setMinimumHeight(HEIGHT_PX)
        self.setKeyboardTracking(False)
        _clear(self.lineEdit())
        self.lineEdit().setTextMargins(9, 0, 0, 0)

    def sizeHint(self) -> QSize:
        """Qt: the longest value."""
        longest = self.textFromValue(self.maximum())
        return QSize(self.fontMetrics().horizontalAdvance(longest) + 28, HEIGHT_PX)

    def minimumSizeHint(self) -> QSize:
        """Qt: the value is never cut."""
        return self.sizeHint()

    def wheelEvent(self, event: QWheelEvent) -> None:
        """Qt: a wheel that scrolls the page must not change a price."""
        event.ignore()

    def paintEvent(self, event: QPaintEvent) -> None:
        """Qt: the field; the number is drawn by the line edit inside."""
        del event
        painter = QPainter(self)
        palette = self.palette()
        draw_frame(self, painter, colour(palette, Tone.RAISED), colour(palette, Tone.BORDER))


class _Option(Button):
    """One of several; raised when it is chosen."""

    def sizeHint(self) -> QSize:
        """Qt: narrower than a button that stands alone."""
        width = self.fontMetrics().size(Qt.TextFlag.TextShowMnemonic, self.text()).width()
        return QSize(width + 24, HEIGHT_PX)

    def paintEvent(self, event: QPaintEvent) -> None:
        """Qt: field and text."""
        del event
        palette = self.palette()
        painter = QPainter(self)
        fill, text = colour(palette, Tone.SURFACE), colour(palette, Tone.SECONDARY)
        edge = colour(palette, Tone.BORDER)
        if self.isChecked():
            accent = colour(palette, Tone.ACCENT)
            fill, text, edge = blend(accent, fill, 0.82), colour(palette, Tone.TEXT), accent
        elif self.underMouse():
            fill = colour(palette, Tone.RAISED)
        draw_frame(self, painter, fill, edge)
        painter.setPen(text)
        flags = Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextShowMnemonic
        painter.drawText(self.rect(), flags, self.text())


class Options(QWidget):
    """A row of buttons of which exactly one is chosen.

    Signals:
        chosen(): ``value`` is another one.
    """

    chosen = Signal()

    def __init__(self, name: str, options: Sequence[tuple[str, Any]]) -> None:
        """``options`` are labels and what each stands for; the first is chosen."""
        super().__init__()
        self.setAccessibleName(name)
        self._values = [value for _, value in options]
        self._group = QButtonGroup(self)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(4)
        for number, (label, _) in enumerate(options):
            button = _Option(label)
            button.setCheckable(True)
            button.setAccessibleDescription(name)
            self._group.addButton(button, number)
            row.addWidget(button)
        self._group.button(0).setChecked(True)
        self._group.idToggled.connect(self._toggled)

    @property
    def value(self) -> Any:  # noqa: ANN401 - whatever the options were made with
        """What is chosen."""
        return self._values[self._group.checkedId()]

    def choose(self, value: Any) -> None:  # noqa: ANN401
        """As if the user had pressed that button."""
        self._group.button(self._values.index(value)).setChecked(True)

    def _toggled(self, _number: int, on: bool) -> None:
        if on:
            self.chosen.emit()


class _StayingMenu(QMenu):
    """Stays open while boxes are ticked: one seldom wants to tick only one."""

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        """Qt: tick, and do not close."""
        action: QAction | None = self.activeAction()
        if action is not None and action.isCheckable() and action.isEnabled():
            action.trigger()
        else:
            super().mouseReleaseEvent(event)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Qt: Space ticks, and does not close."""
        action: QAction | None = self.activeAction()
        if event.key() == Qt.Key.Key_Space and action is not None and action.isEnabled():
            action.trigger()
        else:
            super().keyPressEvent(event)


class MultiChoice(Button):
    """Some of many, in a menu; at least one and at most ``most``.

    Signals:
        chosen(): ``values`` are others.
    """

    chosen = Signal()

    def __init__(self, name: str, most: int) -> None:
        super().__init__()
        self._name, self._most = name, most
        self._menu = _StayingMenu(self)
        self.clicked.connect(self._open)
        self._show()

    @property
    def values(self) -> tuple[Any, ...]:
        """What is ticked, in the order of the menu."""
        return tuple(action.data() for action in self._menu.actions() if action.isChecked())

    def set_options(self, options: Sequence[tuple[str, Any]], chosen: Sequence[Any]) -> None:
        """Offer ``options``, labels and values, with ``chosen`` ticked; tells nobody."""
        self._menu.clear()
        for label, value in options:
            action = self._menu.addAction(label)
            action.setCheckable(True)
            action.setData(value)
            action.setChecked(value in chosen)
            action.toggled.connect(self._toggled)
        self._show()

    def _toggled(self) -> None:
        self._show()
        self.chosen.emit()

    def _show(self) -> None:
        ticked = [action for action in self._menu.actions() if action.isChecked()]
        for action in self._menu.actions():
            last = len(ticked) == 1 and action.isChecked()
            full = len(ticked) >= self._most and not action.isChecked()
            action.setEnabled(not (last or full))
        words = ", ".join(action.text() for action in ticked)
        self.setText(self.tr("{0}: {1} ▾").format(self._name, len(ticked)))
        self.setEnabled(bool(self._menu.actions()))
        self.setAccessibleName(self._name)
        self.setAccessibleDescription(words)
        self.setToolTip(words)
        self.updateGeometry()

    def _open(self) -> None:
        self._menu.popup(self.mapToGlobal(self.rect().bottomLeft()))
