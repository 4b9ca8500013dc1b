"""What a page shows when it has nothing to show: icon, title, one sentence."""

from __future__ import annotations

from PySide6.QtCore import QEvent, Qt
from PySide6.QtWidgets import QLabel, QVBoxLayout, QWidget

from gpupanel.ui.theme import Tone, colour, icon
from gpupanel.ui.widgets.text import Text

_ICON_PX = 40


class StateView(QWidget):
    """Centred in whatever room it gets."""

    def __init__(self, icon_name: str, title: str, sentence: str) -> None:
        super().__init__()
        self._icon_name = icon_name
        self._icon = QLabel()
        self._title = Text(title, size_px=16, bold=True)
        self._sentence = Text(sentence, tone=Tone.SECONDARY, wrap=True)
        layout = QVBoxLayout(self)
        layout.setSpacing(8)
        layout.addStretch(1)
        for label in (self._icon, self._title, self._sentence):
            label.setAlignment(Qt.AlignmentFlag.AlignCenter)
            layout.addWidget(label)
        layout.addStretch(1)
        self._tint()

    def set_texts(self, title: str, sentence: str) -> None:
        """Say something else."""
        self._title.set_text(title)
        self._sentence.set_text(sentence)

    def changeEvent(self, event: QEvent) -> None:
        """Qt: the icon follows the palette."""
        super().changeEvent(event)
        if event.type() is QEvent.Type.PaletteChange:
            self._tint()

    def _tint(self) -> None:
        tint = colour(self.palette(), Tone.SECONDARY)
        self._icon.setPixmap(icon(self._icon_name, tint, _ICON_PX, self.devicePixelRatioF()))
