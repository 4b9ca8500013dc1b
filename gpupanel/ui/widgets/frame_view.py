"""The picture that a gaming load draws, as large as there is room, never out of shape."""

from __future__ import annotations

from PySide6.QtCore import QRect, QSize, Qt
from PySide6.QtGui import QImage, QPainter, QPaintEvent
from PySide6.QtWidgets import QSizePolicy, QWidget

from gpupanel.ui.theme import Tone, colour


class FrameView(QWidget):
    """Shows bytes as they lie in the shared memory of a run."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._sequence = -1
        self._pixels = b""
        self._image = QImage()
        self.setAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setAccessibleName(name)

    @property
    def empty(self) -> bool:
        """No picture came yet."""
        return self._image.isNull()

    def minimumSizeHint(self) -> QSize:
        """Qt: 16 to 9."""
        return QSize(320, 180)

    def sizeHint(self) -> QSize:
        """Qt: 16 to 9."""
        return QSize(400, 225)

    def clear(self) -> None:
        """Forget the picture of the run before."""
        self._sequence, self._pixels, self._image = -1, b"", QImage()
        self.update()

    def show_frame(self, sequence: int, width: int, height: int, rgbx: bytes) -> None:
        """Show ``rgbx`` (4 bytes per pixel, rows top down) if it is another picture than before."""
        if sequence == self._sequence:
            return
        self._sequence = sequence
        self._pixels = rgbx  # QImage looks at these bytes as long as it lives
        self._image = QImage(self._pixels, width, height, 4 * width, QImage.Format.Format_RGBX8888)
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        """Qt: the picture, centred."""
        del event
        painter = QPainter(self)
        painter.fillRect(self.rect(), colour(self.palette(), Tone.SURFACE))
        if self._image.isNull():
            return
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        size = self._image.size().scaled(self.size(), Qt.AspectRatioMode.KeepAspectRatio)
        place = QRect(0, 0, size.width(), size.height())
        place.moveCenter(self.rect().center())
        painter.drawImage(place, self._image)
