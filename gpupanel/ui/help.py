"""A page of ``resources/help`` in a window of its own; imported when somebody asks."""

from __future__ import annotations

from PySide6.QtCore import Qt, QUrl
from PySide6.QtGui import QKeyEvent, QTextDocument
from PySide6.QtWidgets import QTextBrowser, QVBoxLayout, QWidget

from gpupanel.paths import data_dir
from gpupanel.ui.theme import SMALL_PX, Tone
from gpupanel.ui.widgets.card import Card
from gpupanel.ui.widgets.controls import ThinScrollBar
from gpupanel.ui.widgets.text import Text

_SIZE = (680, 560)


class HelpWindow(QWidget):
    """The page below what concerns this case; Escape closes it."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent, Qt.WindowType.Window)
        self.resize(*_SIZE)
        self._case = Text(wrap=True)
        self._case.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self._frame = Card()
        self._frame.body.setSpacing(4)
        self._frame.body.addWidget(
            Text(self.tr("In your case, policy says"), tone=Tone.SECONDARY, size_px=SMALL_PX)
        )
        self._frame.body.addWidget(self._case)
        self.page = QTextBrowser()
        self.page.setFrameShape(QTextBrowser.Shape.NoFrame)
        self.page.setVerticalScrollBar(ThinScrollBar(Qt.Orientation.Vertical))
        self.page.setSearchPaths([str(data_dir("resources") / "help")])
        self.page.setTabChangesFocus(True)
        self.page.document().setDocumentMargin(12)
        column = QVBoxLayout(self)
        column.setContentsMargins(16, 16, 16, 16)
        column.setSpacing(12)
        column.addWidget(self._frame)
        column.addWidget(self.page, 1)

    def open_page(self, name: str, case: str = "") -> None:
        """Show ``resources/help/<name>.md``, and ``case`` above it."""
        self._case.set_text(case)
        self._frame.setVisible(bool(case))
        url = QUrl(f"{name}.md")
        self.page.setSource(url, QTextDocument.ResourceType.MarkdownResource)
        title = self.page.document().firstBlock().text()
        self.setWindowTitle(title)
        self.page.setAccessibleName(title)
        self.show()
        self.raise_()
        self.activateWindow()
        self.page.setFocus()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Qt: Escape leaves."""
        if event.key() == Qt.Key.Key_Escape:
            self.close()
        else:
            super().keyPressEvent(event)
