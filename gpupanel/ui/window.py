"""The one window: navigation, the open page, and what concerns all pages."""

from __future__ import annotations

from time import time
from typing import TYPE_CHECKING

from PySide6.QtCore import QEvent, Signal
from PySide6.QtGui import QCloseEvent, QGuiApplication, QShowEvent
from PySide6.QtWidgets import QHBoxLayout, QStackedWidget, QVBoxLayout, QWidget

from gpupanel.ui.link import LinkState
from gpupanel.ui.navigation import Navigation
from gpupanel.ui.pages import PAGE_NAMES, PAGES, load, title_of
from gpupanel.ui.pages.base import Page
from gpupanel.ui.store import Store
from gpupanel.ui.theme import ThemeChoice, Tone
from gpupanel.ui.widgets.banner import Banner

if TYPE_CHECKING:
    from gpupanel.ui.help import HelpWindow
    from gpupanel.ui.widgets.holds.banner import HoldBanner

DEFAULT_SIZE = (1180, 760)
_LEAST_SIZE = (1024, 680)


class Window(QWidget):
    """Pages are made when first opened and refreshed only while somebody can see them.

    Signals:
        closed(): The user is done.
        theme_chosen(ThemeChoice): The user prefers another theme.
        log_wanted(): The user wants the agent's last words.
    """

    closed = Signal()
    theme_chosen = Signal(object)
    log_wanted = Signal()

    def __init__(self, store: Store, theme: ThemeChoice = ThemeChoice.SYSTEM) -> None:
        super().__init__()
        self.store = store
        self._pages: dict[int, Page] = {}
        self._held: HoldBanner | None = None
        self._help: HelpWindow | None = None
        self.setWindowTitle("gpupanel")
        self.resize(*DEFAULT_SIZE)
        self.setMinimumSize(*_LEAST_SIZE)
        self._navigation = Navigation(theme)
        self._navigation.chosen.connect(self.open_page)
        self._navigation.theme_chosen.connect(self.theme_chosen)
        self._lost = Banner(Tone.WARN, self.tr("Copy &log"))
        self._lost.acted.connect(self.log_wanted)
        self._stack = QStackedWidget()
        self._above = QWidget()
        self._banners = QVBoxLayout(self._above)
        self._banners.setContentsMargins(20, 12, 20, 0)
        self._banners.setSpacing(8)
        self._banners.addWidget(self._lost)
        self._above.hide()
        right = QVBoxLayout()
        right.setContentsMargins(0, 0, 0, 0)
        right.setSpacing(0)
        right.addWidget(self._above)
        right.addWidget(self._stack, 1)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(0)
        row.addWidget(self._navigation)
        row.addLayout(right, 1)
        store.changed.connect(self.refresh)
        self.open_page(0)

    @property
    def page(self) -> Page:
        """The open page."""
        page = self._stack.currentWidget()
        assert isinstance(page, Page)
        return page

    def open_named(self, name: str) -> None:
        """Open the page of that name, one of PAGE_NAMES."""
        self.open_page(PAGE_NAMES.index(name))

    def open_at(self, name: str, what: object) -> None:
        """Open the page of that name where ``what`` stands on it."""
        self.open_named(name)
        self.page.seek(what)

    def open_help(self, name: str, case: str = "") -> None:
        """Show a page of help, and above it what is so in this case."""
        if self._help is None:
            from gpupanel.ui.help import HelpWindow  # few ever ask

            self._help = HelpWindow(self)
        self._help.open_page(name, case)

    def open_page(self, index: int) -> None:
        """Open a page by its index in PAGES."""
        if index not in self._pages:
            page = load(PAGES[index])(self.store, title_of(PAGES[index]))
            page.place_wanted.connect(self.open_at)
            page.help_wanted.connect(self.open_help)
            self._pages[index] = page
            self._stack.addWidget(page)
        self._navigation.select(index)
        self._stack.setCurrentWidget(self._pages[index])
        self.refresh()

    def refresh(self) -> None:
        """Show what the store knows; does nothing while nobody can see it."""
        if not self.isVisible() or self.isMinimized():
            return
        self._show_connection()
        self._show_holds()
        self.page.refresh()

    def showEvent(self, event: QShowEvent) -> None:
        """Qt: what happened while hidden is shown at once."""
        super().showEvent(event)
        self.refresh()

    def changeEvent(self, event: QEvent) -> None:
        """Qt: the same after minimised."""
        super().changeEvent(event)
        if event.type() is QEvent.Type.WindowStateChange:
            self.refresh()

    def closeEvent(self, event: QCloseEvent) -> None:
        """Qt: the window is the application."""
        super().closeEvent(event)
        self.closed.emit()

    def copy(self, text: str) -> None:
        """Put ``text`` on the clipboard."""
        QGuiApplication.clipboard().setText(text)

    def _show_connection(self) -> None:
        store, navigation = self.store, self._navigation
        match store.link_state:
            case LinkState.RUNNING if store.link_is_service:
                navigation.show_connection(self.tr("Service running"), Tone.OK)
            case LinkState.RUNNING if store.link_reason:
                navigation.show_connection(self.tr("Agent running, no service"), Tone.WARN)
            case LinkState.RUNNING:
                navigation.show_connection(self.tr("Agent running"), Tone.OK)
            case LinkState.RESTARTING:
                navigation.show_connection(self.tr("Agent restarting…"), Tone.WARN)
            case _:
                navigation.show_connection(self.tr("Agent starting…"), Tone.SECONDARY)
        has_agent = store.link_state is LinkState.RUNNING
        text = (
            self.tr("{0} An agent of your own reads the GPUs meanwhile.")
            if has_agent
            else self.tr("{0} Readings pause until it is back; it is being restarted.")
        )
        if store.link_reason:
            self._lost.set_text(text.format(store.link_reason))
        self._lost.setVisible(bool(store.link_reason))
        managed = store.policy is not None and store.policy.is_managed
        navigation.show_ownership(self.tr("Managed by your organisation") if managed else "")

    def _show_holds(self) -> None:
        if self._held is None and self.store.holds.all:
            self._held = self._made_hold_banner()
        if self._held is not None:
            self._held.show_holds(time())
        is_held = self._held is not None and not self._held.isHidden()
        self._above.setVisible(is_held or not self._lost.isHidden())

    def _made_hold_banner(self) -> HoldBanner:
        """On most computers nobody is ever held, and the first frame does without."""
        from gpupanel.ui.widgets.holds.banner import HoldBanner

        banner = HoldBanner(self.store)
        banner.line_wanted.connect(lambda key: self.open_at("processes", key))
        banner.help_wanted.connect(lambda case: self.open_help("held", case))
        banner.acted.connect(self._show_holds)
        self._banners.addWidget(banner)
        banner.come_after(self._lost.action)
        return banner
