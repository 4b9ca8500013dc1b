"""What every page is: a title row above a body, refreshed from the store while it is seen."""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QHBoxLayout, QVBoxLayout, QWidget

from gpupanel.ui.store import Store
from gpupanel.ui.theme import SMALL_PX, Tone
from gpupanel.ui.widgets.controls import SCROLL_BAR_PX
from gpupanel.ui.widgets.text import Text


class Page(QWidget):
    """A page reads the store and calls its methods; it knows no other page.

    Signals:
        place_wanted(str, object): The user wants to see something on the page of that name.
        help_wanted(str, str): The user wants a page of help, and what is so in this case.
    """

    place_wanted = Signal(str, object)
    help_wanted = Signal(str, str)

    def __init__(self, store: Store, title: str) -> None:
        super().__init__()
        self.store = store
        self.setAccessibleName(title)
        self.subtitle = Text(tone=Tone.SECONDARY, size_px=SMALL_PX)
        head = QHBoxLayout()
        head.addWidget(Text(title, size_px=20, bold=True))
        head.addStretch(1)
        head.addWidget(self.subtitle)
        head.setContentsMargins(0, 0, SCROLL_BAR_PX, 0)
        self.body = QVBoxLayout(self)
        self.body.setContentsMargins(20, 16, 20 - SCROLL_BAR_PX, 20)
        self.body.setSpacing(12)
        self.body.addLayout(head)

    def add(self, widget: QWidget, stretch: int = 0) -> None:
        """Append ``widget`` below what is there, clear of where a scroll bar would be."""
        row = QHBoxLayout()
        row.setContentsMargins(0, 0, SCROLL_BAR_PX, 0)
        row.addWidget(widget)
        self.body.addLayout(row, stretch)

    @property
    def is_settled(self) -> bool:
        """Whether everything that was asked for is shown: a picture waits for it."""
        return True

    def seek(self, what: object) -> None:
        """Bring ``what`` into view; a page that lists nothing of its kind leaves it."""

    def refresh(self) -> None:
        """Show what the store knows now; called on each change while the page is visible."""
        raise NotImplementedError
