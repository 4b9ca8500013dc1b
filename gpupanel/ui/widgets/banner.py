"""One line across the page for what concerns the whole window, with at most one action."""

from __future__ import annotations

from PySide6.QtCore import QEvent, Signal
from PySide6.QtWidgets import QHBoxLayout, QLabel

from gpupanel.ui.theme import Tone, colour, icon
from gpupanel.ui.widgets.card import Card
from gpupanel.ui.widgets.controls import Button
from gpupanel.ui.widgets.text import Text

_ICON_PX = 20


class Banner(Card):
    """A sentence with an icon; the tone says how bad it is, the words say it too.

    Attributes:
        action: Its button; hidden where there is nothing to do.

    Signals:
        acted(): The button was pressed.
    """

    acted = Signal()

    def __init__(self, tone: Tone, action: str = "", icon_name: str = "warning") -> None:
        super().__init__()
        self._tone = tone
        self._icon_name = icon_name
        self.edge = tone if tone is not Tone.SECONDARY else Tone.BORDER
        self._icon = QLabel()
        self._text = Text(wrap=True)
        self._text.setMinimumHeight(28)
        row = QHBoxLayout()
        row.setSpacing(12)
        row.addWidget(self._icon)
        row.addWidget(self._text, 1)
        self.action = Button(action)
        self.action.setVisible(bool(action))
        self.action.clicked.connect(self.acted)
        row.addWidget(self.action)
        self.body.addLayout(row)
        self.body.setContentsMargins(16, 8, 12, 8)
        self._tint()

    @property
    def text(self) -> str:
        """What it says."""
        return self._text.text()

    def set_text(self, text: str) -> None:
        """What the banner says."""
        self._text.set_text(text)

    def set_tone(self, tone: Tone) -> None:
        """How bad it is."""
        if tone is not self._tone:
            self._tone = self.edge = tone
            self._tint()
            self.update()

    def changeEvent(self, event: QEvent) -> None:
        """Qt: the icon follows the palette."""
        super().changeEvent(event)
        if event.type() is QEvent.Type.PaletteChange:
            self._tint()

    def _tint(self) -> None:
        tint = colour(self.palette(), self._tone)
        self._icon.setPixmap(icon(self._icon_name, tint, _ICON_PX, self.devicePixelRatioF()))
