"""``It does not mine``: the user's word on a program, asked for twice and given once."""

from __future__ import annotations

from PySide6.QtCore import QObject
from PySide6.QtWidgets import QHBoxLayout, QWidget

from gpupanel.ui import format as fmt
from gpupanel.ui.holds import Holds, ProcessKey
from gpupanel.ui.theme import SMALL_PX, Tone
from gpupanel.ui.widgets.controls import Button
from gpupanel.ui.widgets.text import Text


class Objection(QObject):
    """Two widgets for its owner to place.

    Attributes:
        button: Begins it.
        question: Says what it does and asks, and later what came of it; there only when needed.
    """

    def __init__(self, holds: Holds, parent: QWidget, label: str) -> None:
        """``label`` is of the button: two on one page need two keys."""
        super().__init__(parent)
        self._holds = holds
        self._key: ProcessKey | None = None
        self._is_possible = self._is_asking = False
        self.button = Button(label)
        self.button.setToolTip(
            self.tr("Remembers this program by its content, so that it is not held or suspected.")
        )
        self.button.clicked.connect(self._ask)
        self.yes = Button(self.tr("&Yes, it does not mine"))
        self.yes.clicked.connect(self._object)
        self.cancel = Button(self.tr("Canc&el"))
        self.cancel.clicked.connect(self._give_up)
        self._text = Text(tone=Tone.SECONDARY, size_px=SMALL_PX, wrap=True)
        self.question = QWidget()
        row = QHBoxLayout(self.question)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(8)
        row.addWidget(self._text, 1)
        row.addWidget(self.yes)
        row.addWidget(self.cancel)
        self._show()

    @property
    def buttons(self) -> tuple[Button, ...]:
        """All that take the focus, in their order."""
        return self.button, self.yes, self.cancel

    def show_process(self, key: ProcessKey | None, *, is_possible: bool) -> None:
        """About which program it is, and whether its user may object."""
        if key != self._key:
            self._key, self._is_asking = key, False
        self._is_possible = is_possible
        self._show()

    def _ask(self) -> None:
        self._is_asking = True
        self._show()
        self.cancel.setFocus()

    def _give_up(self) -> None:
        self._is_asking = False
        self._show()
        self.button.setFocus()

    def _object(self) -> None:
        if self._key is not None:
            self._is_asking = False
            self._holds.object_to(self._key)
            self._show()

    def _show(self) -> None:
        told = self._told()
        is_asking = self._is_asking and self._is_possible and not told
        self.button.setVisible(self._is_possible and not told and not is_asking)
        for button in (self.yes, self.cancel):
            button.setVisible(is_asking)
        if is_asking:
            told = self.tr(
                "It is let go, and this program is not held or suspected again. It is remembered "
                "by its content: another version of it is judged anew. Say so only of a program "
                "that you know."
            )
        self._text.set_text(told)
        self.question.setVisible(bool(told))

    def _told(self) -> str:
        """What came of it; empty while nothing was said."""
        why = self._holds.said.get(self._key) if self._key is not None else None
        if why is None:
            return ""
        if why:
            return self.tr("Your word was refused: {0}").format(fmt.sentence(why))
        return self.tr("You said that it does not mine.")
