"""The window's process: one QApplication, one link, one store, one window; and a clean end."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Sequence
from types import FrameType
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, QSocketNotifier, QTimer
from PySide6.QtWidgets import QApplication

from gpupanel import __version__, children
from gpupanel.ipc.transport import installed_service
from gpupanel.paths import user_policy_file, user_state_dir
from gpupanel.ui import theme
from gpupanel.ui.link import Link
from gpupanel.ui.past import Tariff
from gpupanel.ui.preferences import Preferences
from gpupanel.ui.runs import Runs
from gpupanel.ui.store import Store
from gpupanel.ui.theme import ThemeChoice
from gpupanel.ui.window import Window

if TYPE_CHECKING:
    from argparse import Namespace

    from gpupanel.ui.notify.desktop import Desktop
    from gpupanel.ui.notify.notifier import Notifier


class Panel(QObject):
    """Everything of one running window, wired; ``close`` leaves nothing behind."""

    def __init__(self, link: Link, choice: ThemeChoice) -> None:
        super().__init__()
        self.link = link
        self._notifier: Notifier | None = None
        self.runs = Runs(parent=self)
        self.store = Store(self.runs, self, link)
        self.window = Window(self.store, choice)
        link.state_changed.connect(
            lambda: self.store.set_link(
                link.state, link.reason or link.service_problem, link.is_service
            )
        )
        link.gpus_received.connect(self.store.set_gpus)
        link.history_received.connect(self.store.set_history)
        link.snapshot_received.connect(self.store.add_snapshot)
        link.policy_received.connect(self.store.set_policy)
        link.processes_received.connect(self.store.set_processes)
        link.holds_received.connect(self.store.holds.take)
        self.runs.changed.connect(lambda: link.guard(self.runs.active))
        self.window.log_wanted.connect(lambda: self.window.copy(link.log))
        self.window.closed.connect(self.close)

    def tell_of_holds(self) -> None:
        """Tell on the desktop when programs are held from now on; a picture tells nobody."""
        self.link.holds_received.connect(self._begin_to_tell)

    def close(self) -> None:
        """End the runs and the agent; called twice is called once."""
        if self._notifier is not None:
            self._notifier.close()
            self._courier.stop()
        self.runs.close()
        self.link.close()

    def _begin_to_tell(self) -> None:
        """The agent told for the first time."""
        if self._notifier is None:
            from gpupanel.ui.notify.notifier import Notifier  # after the first frame

            self._notifier = Notifier(self.store, self.link, self._find_desktop, self)
            from gpupanel.ui.courier import WishCourier

            self._courier = WishCourier(self.link, user_policy_file(), self)

    def _find_desktop(self) -> Desktop | None:
        from gpupanel.ui.notify.desktop import desktop_here

        policy = self.store.policy
        may_show_tray = policy is not None and policy.is_true("ui.show_tray")
        return desktop_here(self, may_show_tray=may_show_tray)


class _Signals:
    """Ctrl+C and SIGTERM close the window; Qt's loop would not let Python see them."""

    def __init__(self, window: Window) -> None:
        self._window = window

    def __enter__(self) -> None:
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        self._notifier = QSocketNotifier(self._reader.fileno(), QSocketNotifier.Type.Read)
        self._notifier.activated.connect(self._drain)
        self._before = {
            number: signal.signal(number, self._close) for number in (signal.SIGINT, signal.SIGTERM)
        }
        signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)

    def __exit__(self, *_: object) -> None:
        signal.set_wakeup_fd(-1)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._notifier.setEnabled(False)
        self._reader.close()
        self._writer.close()

    def _drain(self) -> None:
        """Python runs its handlers as soon as it runs anything; this is that."""
        self._reader.recv(64)

    def _close(self, _number: int, _frame: FrameType | None) -> None:
        """Python runs this wherever it is, also in the middle of painting: close after that."""
        QTimer.singleShot(0, self._window.close)


def make_application(choice: ThemeChoice) -> QApplication:
    """The one QApplication: our palette on Fusion, the same on every system."""
    application = QApplication(sys.argv[:1])
    application.setApplicationName("gpupanel")
    application.setApplicationVersion(__version__)
    application.setDesktopFileName("gpupanel")
    application.setStyle("Fusion")
    application.setFont(theme.font())
    theme.apply(application, choice)
    return application


def main(argv: Sequence[str]) -> int:
    """``gpupanel``: open the window, or render one page into a file and quit."""
    if not argv:
        return _open_window(Link(service=installed_service()))
    from gpupanel.ui import screenshot

    options = screenshot.parse(argv)
    agent = children.command("agent")
    link = (
        Link([*agent, "--replay", os.path.abspath(options.replay)])
        if options.replay
        else Link(service=installed_service())
    )
    return _take_screenshot(options, link) if options.screenshot else _open_window(link)


def _open_window(link: Link) -> int:
    preferences = Preferences(user_state_dir() / "window.ini")
    application = make_application(preferences.theme)
    panel = Panel(link, preferences.theme)
    window = panel.window
    window.restoreGeometry(preferences.geometry)

    def choose_theme(choice: ThemeChoice) -> None:
        preferences.theme = choice
        theme.apply(application, choice)

    def choose_tariff(tariff: Tariff) -> None:
        preferences.tariff = tariff

    def follow_system() -> None:
        theme.apply(application, preferences.theme)

    def remember() -> None:
        preferences.geometry = window.saveGeometry()

    panel.tell_of_holds()
    panel.store.past.tariff = preferences.tariff
    panel.store.past.tariff_chosen.connect(choose_tariff)
    window.theme_chosen.connect(choose_theme)
    window.closed.connect(remember)
    application.styleHints().colorSchemeChanged.connect(follow_system)
    window.show()
    QTimer.singleShot(0, panel.link.start)
    with _Signals(window):
        code = application.exec()
    panel.close()
    return code


def _take_screenshot(options: Namespace, link: Link) -> int:
    from gpupanel.ui.screenshot import Photographer

    os.environ["QT_QPA_PLATFORM"] = "offscreen"
    choice = ThemeChoice(options.theme or ThemeChoice.SYSTEM)
    application = make_application(choice)
    panel = Panel(link, choice)
    window = panel.window
    if options.size is not None:
        window.resize(options.size)
    window.open_named(options.page)
    window.show()
    panel.link.start()
    failure = Photographer(panel.store, window).take(options.screenshot, options.load)
    window.close()
    application.processEvents()
    if failure:
        print(f"gpupanel: {failure}", file=sys.stderr)  # noqa: T201 - asked for on a command line
    return 1 if failure else 0
