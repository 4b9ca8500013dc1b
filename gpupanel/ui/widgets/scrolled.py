"""A widget in what room there is: as tall as it wants to be, and scrolled where that is less."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QObject, QSize, Qt
from PySide6.QtWidgets import QFrame, QScrollArea, QSizePolicy, QWidget

from gpupanel.ui.widgets.controls import ThinScrollBar

_LEAST_PX = 132


class Scrolled(QScrollArea):
    """Upwards and downwards only; what takes the focus inside comes into view."""

    def __init__(self, content: QWidget) -> None:
        super().__init__()
        self._content = content
        self.setWidget(content)
        content.installEventFilter(self)
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setVerticalScrollBar(ThinScrollBar(Qt.Orientation.Vertical))
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Maximum)

    def sizeHint(self) -> QSize:
        """Qt: what the content takes at this width."""
        hint, taken = self._content.sizeHint(), self._content.heightForWidth(self.width())
        return QSize(hint.width(), max(hint.height(), taken))

    def minimumSizeHint(self) -> QSize:
        """Qt: a few lines; the content is never wider than there is room for."""
        width = self._content.minimumSizeHint().width()
        return QSize(width, min(_LEAST_PX, self.sizeHint().height()))

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Qt: the content asks for another height."""
        if event.type() is QEvent.Type.LayoutRequest:
            self.updateGeometry()
        return super().eventFilter(watched, event)
