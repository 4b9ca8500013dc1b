"""The user's own policy file as a text that is checked while it is typed, and saved when valid.

The window writes the file itself, with the user's rights; the agent notices it within seconds.
"""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QModelIndex, Qt, QTimer, Signal
from PySide6.QtGui import QFocusEvent, QKeySequence, QShortcut, QTextCursor, QTextFormat
from PySide6.QtWidgets import QFrame, QHBoxLayout, QPlainTextEdit, QTextEdit

from gpupanel.model.decision import Diagnostic
from gpupanel.model.errors import PolicyInvalid
from gpupanel.policy.wishes import SCHEMA, WishFile
from gpupanel.ui import format as fmt
from gpupanel.ui.theme import BODY_PX, Tone, blend, colour, fixed_font
from gpupanel.ui.widgets.card import Card, framed
from gpupanel.ui.widgets.controls import Button, ThinScrollBar
from gpupanel.ui.widgets.table import Cell, Table
from gpupanel.ui.widgets.text import ElidedText, Text

_PAUSE_MS = 300
"""Of typing, before the text is checked."""


class WishEditor(Card):
    """The text, what is wrong with it, and Save.

    Signals:
        checked(bool): Whether the text is valid.
    """

    checked = Signal(bool)

    def __init__(self, file: WishFile) -> None:
        super().__init__()
        self._file = file
        self._known: str | None = None
        self._faults: Sequence[Diagnostic] = ()
        self.text = _SourceField(self.tr("Your policy file"))
        self._pause = QTimer(self, singleShot=True, interval=_PAUSE_MS)
        self._pause.timeout.connect(self.check)
        self.text.textChanged.connect(self._typed)
        self._verdict = Text(wrap=True)
        where = [self.tr("Line"), self.tr("Fault")]
        self.faults = Table(self.tr("Faults in your policy file"), where, (72,), 2, lines=2)
        self.faults.selectionModel().currentRowChanged.connect(self._go_to)
        self._faults_card = framed(self.faults)
        self.reload_button = Button(self.tr("&Reload"))
        self.reload_button.clicked.connect(self.reload)
        self.save_button = Button(self.tr("&Save"))
        self.save_button.clicked.connect(self._save)
        QShortcut(QKeySequence(QKeySequence.StandardKey.Save), self, self._save)
        self._lay_out()

    def reload(self) -> None:
        """Show the file as it is on the disk; what was typed is gone."""
        try:
            self._known = self._file.read()
        except PolicyInvalid as refused:
            self.text.setReadOnly(True)
            self._refuse(str(refused.diagnostics[0]))
            return
        head = self.tr("# Your own limits: they can only tighten what the administrator allows.")
        self.text.setReadOnly(False)
        self.text.setPlainText(f"{head}\n{SCHEMA}" if self._known is None else self._known)
        self.text.document().setModified(False)
        self.check()

    def replace(self, text: str) -> None:
        """Put another text in the place of this one; the user can undo it."""
        cursor = self.text.textCursor()
        cursor.select(QTextCursor.SelectionType.Document)
        cursor.insertText(text)
        self.check()

    def check(self) -> None:
        """Say what is wrong with the text now."""
        self._pause.stop()
        self._faults = self._file.faults(self.text.source())
        rows = [_fault_row(fault) for fault in self._faults]
        self.faults.set_rows(rows)
        self._faults_card.setVisible(bool(rows))
        self.text.mark([(fault.line, fault.column) for fault in self._faults])
        is_changed = self.text.document().isModified()
        self.save_button.setEnabled(is_changed and not rows)
        if rows:
            told = self.tr("Not valid: {0} faults. It cannot be saved like this.")
            one = self.tr("Not valid. It cannot be saved like this.")
            self._say(told.format(len(rows)) if len(rows) > 1 else one, Tone.ERROR)
        elif is_changed:
            self._say(self.tr("Valid, not saved yet."), Tone.WARN)
        elif self._known is None:
            self._say(self.tr("There is no file yet; Save makes it."), Tone.SECONDARY)
        else:
            self._say(self.tr("Valid and saved."), Tone.OK)
        self.checked.emit(not rows)

    def _lay_out(self) -> None:
        foot = QHBoxLayout()
        foot.setSpacing(8)
        foot.addWidget(self._verdict, 1)
        foot.addWidget(self.reload_button)
        foot.addWidget(self.save_button)
        self.body.setSpacing(8)
        path = ElidedText(str(self._file.path), tone=Tone.SECONDARY)
        self.body.addWidget(path)
        self._frame = framed(self.text)
        self.text.focused.connect(self._show_focus)
        self.body.addWidget(self._frame, 1)
        self.body.addWidget(self._faults_card)
        self.body.addLayout(foot)

    def _show_focus(self, has_focus: bool) -> None:
        self._frame.edge = Tone.ACCENT if has_focus else Tone.BORDER
        self._frame.update()

    def _typed(self) -> None:
        self.save_button.setEnabled(False)
        self._pause.start()

    def _save(self) -> None:
        """Checked once more, and never over what somebody else wrote meanwhile."""
        if self.text.isReadOnly():
            return
        self.check()
        if not self.save_button.isEnabled():
            return
        text = self.text.source()
        try:
            if self._file.read() != self._known:
                changed = self.tr("The file was changed by another program: Reload shows it.")
                self._say(changed, Tone.ERROR)
                return
            self._file.save(text)
        except PolicyInvalid as refused:
            self._say(str(refused.diagnostics[0]), Tone.ERROR)
            return
        except OSError as reason:
            told = self.tr("Not saved: {0}").format(reason.strerror or str(reason))
            self._say(told, Tone.ERROR)
            return
        self._known = text
        self.text.document().setModified(False)
        self.check()
        self._say(self.tr("Saved. It is in force within seconds."), Tone.OK)

    def _refuse(self, why: str) -> None:
        self._pause.stop()
        self.save_button.setEnabled(False)
        self._faults_card.hide()
        self._say(why, Tone.ERROR)
        self.checked.emit(False)

    def _say(self, text: str, tone: Tone) -> None:
        self._verdict.set_text(text)
        self._verdict.set_tone(tone)

    def _go_to(self, current: QModelIndex) -> None:
        """A fault that is chosen takes the caret with it."""
        if current.isValid() and current.row() < len(self._faults):
            fault = self._faults[current.row()]
            self.text.go_to(fault.line, fault.column)


class _SourceField(QPlainTextEdit):
    """Letters of one width; Tab leaves it, as in every other field.

    Signals:
        focused(bool): It has the focus, or not any more.
    """

    focused = Signal(bool)

    def __init__(self, name: str) -> None:
        super().__init__()
        self.setAccessibleName(name)
        self.setFont(fixed_font(BODY_PX))
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setTabChangesFocus(True)
        self.setLineWrapMode(QPlainTextEdit.LineWrapMode.NoWrap)
        self.setVerticalScrollBar(ThinScrollBar(Qt.Orientation.Vertical))
        self.setHorizontalScrollBar(ThinScrollBar(Qt.Orientation.Horizontal))
        self.setViewportMargins(8, 6, 4, 6)
        self.setMinimumHeight(96)

    def mark(self, places: Sequence[tuple[int, int]]) -> None:
        """Underline what stands at these lines and columns, from 1; 0 is nowhere."""
        back = colour(self.palette(), Tone.SURFACE)
        line_back = blend(colour(self.palette(), Tone.ERROR), back, 0.85)
        marks = []
        for line, column in places:
            if line == 0:
                continue
            whole, word = QTextEdit.ExtraSelection(), QTextEdit.ExtraSelection()
            whole.cursor = self._at(line, 1)
            whole.format.setBackground(line_back)
            whole.format.setProperty(QTextFormat.Property.FullWidthSelection, True)
            word.cursor = self._at(line, column)
            if not word.cursor.movePosition(_Move.EndOfWord, QTextCursor.MoveMode.KeepAnchor):
                word.cursor.movePosition(_Move.NextCharacter, QTextCursor.MoveMode.KeepAnchor)
            word.format.setUnderlineStyle(word.format.UnderlineStyle.WaveUnderline)
            word.format.setUnderlineColor(colour(self.palette(), Tone.ERROR))
            marks += [whole, word]
        self.setExtraSelections(marks)

    def go_to(self, line: int, column: int) -> None:
        """Put the caret there."""
        if line:
            self.setTextCursor(self._at(line, column))
            self.setFocus()

    def focusInEvent(self, event: QFocusEvent) -> None:
        """Qt: the frame shows it."""
        super().focusInEvent(event)
        self.focused.emit(True)

    def focusOutEvent(self, event: QFocusEvent) -> None:
        """Qt: the frame shows it."""
        super().focusOutEvent(event)
        self.focused.emit(False)

    def source(self) -> str:
        """The text as it is; Qt's plain text has spaces where no-break spaces were."""
        return self.document().toRawText().replace("\u2029", "\n")

    def _at(self, line: int, column: int) -> QTextCursor:
        """Columns are characters; Qt counts UTF-16."""
        block = self.document().findBlockByNumber(line - 1)
        cursor = QTextCursor(self.document())
        if block.isValid():
            before = block.text()[: max(column, 1) - 1].encode("utf-16-le", "surrogatepass")
            cursor.setPosition(block.position() + len(before) // 2)
        return cursor


_Move = QTextCursor.MoveOperation


def _fault_row(fault: Diagnostic) -> tuple[Cell, ...]:
    where = f"{fault.line}:{fault.column}" if fault.line else fmt.UNKNOWN
    return Cell(where, Tone.ERROR), Cell(fmt.sentence(fault.text), help=str(fault))
