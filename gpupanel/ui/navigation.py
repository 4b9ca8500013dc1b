"""The column on the left: pages above, connection and ownership below."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QPoint, QRect, QRectF, QSize, Qt, Signal
from PySide6.QtGui import (
    QActionGroup,
    QFocusEvent,
    QKeySequence,
    QPainter,
    QPaintEvent,
    QPen,
    QPixmap,
    QShortcut,
)
from PySide6.QtWidgets import (
    QAbstractButton,
    QButtonGroup,
    QHBoxLayout,
    QLabel,
    QMenu,
    QVBoxLayout,
    QWidget,
)

from gpupanel.ui.pages import PAGES, PageInfo, title_of
from gpupanel.ui.theme import SMALL_PX, ThemeChoice, Tone, blend, colour, font, icon
from gpupanel.ui.widgets.controls import Button
from gpupanel.ui.widgets.text import Text

_WIDTH = 196
_ICON_PX = 20
_KEYBOARD = (
    Qt.FocusReason.TabFocusReason,
    Qt.FocusReason.BacktabFocusReason,
    Qt.FocusReason.ShortcutFocusReason,
)


class NavigationButton(QAbstractButton):
    """One page; Up and Down move between them, Ctrl and its number open it from anywhere."""

    def __init__(self, page: PageInfo) -> None:
        super().__init__()
        self._icon_name = page.icon
        self._pixmaps: dict[Tone, QPixmap] = {}
        self.setText(title_of(page))
        self.setCheckable(True)
        self.setFixedHeight(36)
        self.setFont(font())
        self.setAttribute(Qt.WidgetAttribute.WA_Hover)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self._by_key = False

    def focusInEvent(self, event: QFocusEvent) -> None:
        """Qt: the ring is for those who steer with the keyboard."""
        self._by_key = event.reason() in _KEYBOARD
        super().focusInEvent(event)

    def sizeHint(self) -> QSize:
        """Qt: as wide as the column."""
        return QSize(_WIDTH - 24, 36)

    def changeEvent(self, event: QEvent) -> None:
        """Qt: icons follow the palette."""
        super().changeEvent(event)
        if event.type() is QEvent.Type.PaletteChange:
            self._pixmaps.clear()

    def paintEvent(self, event: QPaintEvent) -> None:
        """Qt: selection, icon, title."""
        del event
        palette = self.palette()
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        surface, raised = colour(palette, Tone.SURFACE), colour(palette, Tone.RAISED)
        fill = raised if self.isChecked() else surface
        if self.underMouse() and not self.isChecked():
            fill = blend(raised, surface, 0.5)
        ring = colour(palette, Tone.ACCENT) if self.hasFocus() and self._by_key else fill
        painter.setPen(QPen(ring, 1))
        painter.setBrush(fill)
        painter.drawRoundedRect(QRectF(self.rect()).adjusted(0.5, 0.5, -0.5, -0.5), 6, 6)
        if self.isChecked():
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(colour(palette, Tone.ACCENT))
            painter.drawRoundedRect(QRectF(2, 10, 3, self.height() - 20), 1.5, 1.5)
        tone = Tone.ACCENT if self.isChecked() else Tone.SECONDARY
        painter.drawPixmap(14, 8, self._pixmap(tone))
        painter.setPen(colour(palette, Tone.TEXT if self.isChecked() else Tone.SECONDARY))
        room = QRect(44, 0, self.width() - 48, self.height())
        painter.drawText(room, Qt.AlignmentFlag.AlignVCenter, self.text())

    def _pixmap(self, tone: Tone) -> QPixmap:
        if tone not in self._pixmaps:
            tint = colour(self.palette(), tone)
            self._pixmaps[tone] = icon(self._icon_name, tint, _ICON_PX, self.devicePixelRatioF())
        return self._pixmaps[tone]


class Navigation(QWidget):
    """The column.

    Signals:
        chosen(int): Index in PAGES.
        theme_chosen(ThemeChoice): The user prefers another theme.
    """

    chosen = Signal(int)
    theme_chosen = Signal(object)

    def __init__(self, theme: ThemeChoice) -> None:
        super().__init__()
        self.setFixedWidth(_WIDTH)
        column = QVBoxLayout(self)
        column.setContentsMargins(12, 16, 12, 12)
        column.setSpacing(4)
        column.addLayout(self._make_head())
        column.addSpacing(12)
        self._group = QButtonGroup(self)
        for index, page in enumerate(PAGES):
            button = NavigationButton(page)
            # The button's own shortcut would animate a click and open the page 100 ms later.
            shortcut = QShortcut(QKeySequence(f"Ctrl+{index + 1}"), self)
            shortcut.activated.connect(lambda index=index: self.chosen.emit(index))
            button.setToolTip(f"{button.text()} (Ctrl+{index + 1})")
            self._group.addButton(button, index)
            column.addWidget(button)
        self._group.idClicked.connect(self.chosen)
        column.addStretch(1)
        column.addLayout(self._make_foot(theme))

    def select(self, index: int) -> None:
        """Mark the page that is open."""
        self._group.button(index).setChecked(True)

    def show_connection(self, text: str, tone: Tone) -> None:
        """How it stands with the agent; the dot is part of the words for those who see it."""
        self._connection.set_text(f"● {text}")
        self._connection.set_tone(tone)

    def show_ownership(self, text: str) -> None:
        """Who decides about this computer; empty for the user alone."""
        self._ownership.set_text(text)
        self._ownership.setVisible(bool(text))

    def changeEvent(self, event: QEvent) -> None:
        """Qt: icons follow the palette."""
        super().changeEvent(event)
        if event.type() is QEvent.Type.PaletteChange:
            self._tint()

    def paintEvent(self, event: QPaintEvent) -> None:
        """Qt: the surface and its right edge."""
        del event
        painter = QPainter(self)
        painter.fillRect(self.rect(), colour(self.palette(), Tone.SURFACE))
        edge = QRect(self.width() - 1, 0, 1, self.height())
        painter.fillRect(edge, colour(self.palette(), Tone.BORDER))

    def _make_head(self) -> QHBoxLayout:
        self._logo = QLabel()
        head = QHBoxLayout()
        head.setContentsMargins(12, 0, 0, 0)
        head.setSpacing(10)
        head.addWidget(self._logo)
        head.addWidget(Text("gpupanel", size_px=16, bold=True), 1)
        return head

    def _make_foot(self, theme: ThemeChoice) -> QHBoxLayout:
        self._connection = Text("", tone=Tone.SECONDARY, size_px=SMALL_PX)
        self._ownership = Text("", tone=Tone.SECONDARY, size_px=SMALL_PX, wrap=True)
        self._ownership.hide()
        self._theme = Button()
        self._theme.setFixedSize(32, 32)
        self._theme.setAccessibleName(self.tr("Theme"))
        self._theme.setToolTip(self.tr("Theme"))
        self._menu = self._make_theme_menu(theme)
        self._theme.clicked.connect(self._open_menu)
        words = QVBoxLayout()
        words.setSpacing(4)
        words.addWidget(self._connection)
        words.addWidget(self._ownership)
        foot = QHBoxLayout()
        foot.setContentsMargins(4, 0, 0, 0)
        foot.addLayout(words, 1)
        foot.addWidget(self._theme, 0, Qt.AlignmentFlag.AlignBottom)
        self._tint()
        return foot

    def _make_theme_menu(self, theme: ThemeChoice) -> QMenu:
        menu = QMenu(self)
        choices = QActionGroup(menu)
        for choice, label in (
            (ThemeChoice.SYSTEM, self.tr("As the system")),
            (ThemeChoice.LIGHT, self.tr("Light")),
            (ThemeChoice.DARK, self.tr("Dark")),
        ):
            action = choices.addAction(label)
            action.setCheckable(True)
            action.setChecked(choice is theme)
            action.triggered.connect(
                lambda _checked=False, choice=choice: self.theme_chosen.emit(choice)
            )
            menu.addAction(action)
        return menu

    def _open_menu(self) -> None:
        above = self._theme.mapToGlobal(self._theme.rect().topLeft())
        self._menu.popup(above - QPoint(0, self._menu.sizeHint().height()))

    def _tint(self) -> None:
        ratio = self.devicePixelRatioF()
        self._logo.setPixmap(icon("gpupanel", colour(self.palette(), Tone.ACCENT), 24, ratio))
        self._theme.setIcon(icon("theme", colour(self.palette(), Tone.SECONDARY), 20, ratio))
        self._theme.setIconSize(QSize(20, 20))
