"""A padlock beside a control that policy bounds; it opens the explanation of who bounds it."""

from __future__ import annotations

from PySide6.QtCore import QPoint, QSize, Qt
from PySide6.QtGui import QPainter, QPaintEvent
from PySide6.QtWidgets import QToolButton, QWidget

from gpupanel import paths
from gpupanel.policy.explain import explain
from gpupanel.policy.keys import POLICY_KEY_BY_NAME
from gpupanel.policy.resolve import EffectivePolicy
from gpupanel.ui.theme import Tone, colour, icon
from gpupanel.ui.widgets.card import Card
from gpupanel.ui.widgets.controls import draw_frame
from gpupanel.ui.widgets.policy.details import KeyDetails
from gpupanel.ui.widgets.policy.words import label_text, value_text

_SIZE_PX = 20
_ICON_PX = 14
_POPUP_PX = 640


class PolicyLock(QToolButton):
    """Hidden while its key says no more than the default, which bounds nothing."""

    def __init__(self, key: str) -> None:
        super().__init__()
        self._key = POLICY_KEY_BY_NAME[key]
        self._policy: EffectivePolicy | None = None
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setFixedSize(_SIZE_PX, _SIZE_PX)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setAccessibleName(self.tr("Policy: {0}").format(label_text(self._key)))
        self.clicked.connect(self._open)
        self.hide()

    def show_policy(self, policy: EffectivePolicy | None, *, matters: bool = True) -> None:
        """Show the padlock if ``policy`` bounds what stands beside it, and that ``matters``."""
        self._policy = policy
        setting = policy.settings[self._key.name] if policy is not None else None
        governs = setting is not None and setting.value != self._key.default
        self.setVisible(matters and governs)
        if setting is not None:
            value = value_text(self._key.name, setting.value)
            told = self.tr("{0} = {1}, set by {2}").format(self._key.name, value, setting.set_by)
            self.setToolTip(told)
            self.setAccessibleDescription(told)

    def sizeHint(self) -> QSize:
        """Qt: a small square."""
        return QSize(_SIZE_PX, _SIZE_PX)

    def paintEvent(self, event: QPaintEvent) -> None:
        """Qt: the padlock, framed under the pointer and with the focus."""
        del event
        painter = QPainter(self)
        palette = self.palette()
        if self.hasFocus() or self.underMouse():
            draw_frame(self, painter, colour(palette, Tone.RAISED), colour(palette, Tone.BORDER))
        image = icon("lock", colour(palette, Tone.WARN), _ICON_PX, self.devicePixelRatioF())
        corner = (_SIZE_PX - _ICON_PX) // 2
        painter.drawPixmap(corner, corner, image)

    def _open(self) -> None:
        """The explanation below; Escape or a click elsewhere closes it."""
        if self._policy is None:
            return
        told = explain(self._policy, self._key.name, str(paths.user_policy_file()))
        popup = _Popup(self)
        popup.details.show_explanation(told)
        popup.open_below(self)


class _Popup(Card):
    """A card above the window, gone when it is closed."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.setWindowFlags(Qt.WindowType.Popup | Qt.WindowType.FramelessWindowHint)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setAttribute(Qt.WidgetAttribute.WA_TranslucentBackground)
        self.setFixedWidth(_POPUP_PX)
        self.details = KeyDetails()
        self.body.setContentsMargins(0, 0, 0, 0)
        self.body.addWidget(self.details)

    def open_below(self, anchor: QWidget) -> None:
        """Below ``anchor``, inside its window."""
        self.setAccessibleName(anchor.accessibleName())
        self.resize(_POPUP_PX, self.heightForWidth(_POPUP_PX))
        window = anchor.window()
        right = window.mapToGlobal(QPoint(window.width() - 12, 0)).x()
        corner = anchor.mapToGlobal(QPoint(0, anchor.height() + 4))
        self.move(min(corner.x(), right - _POPUP_PX), corner.y())
        self.show()
        self.setFocus()
