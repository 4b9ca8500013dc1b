"""A note on the desktop, by whatever the system has for it; imported when there is one to show.

On Linux the notification service of the session is called through systemd's ``busctl``: PySide
cannot send the unsigned number that its ``Notify`` asks for. On Windows notes belong to a tray
icon, which is there only as long as its note.
"""

from __future__ import annotations

import sys

from PySide6.QtCore import QObject, QProcess, QTimer
from PySide6.QtGui import QIcon
from PySide6.QtWidgets import QSystemTrayIcon

from gpupanel.ui.theme import LIGHT, icon

_SECONDS = 10
_ICON_PX = 32
_CLOSE_MS = 500
_MARKUP = str.maketrans({"<": "(", ">": ")", "&": "+"})
"""Some services read mark-up in a note: a program's name must not become any."""


class Desktop(QObject):
    """Shows one note at a time.

    Attributes:
        problem: Why the last note could not be shown; empty while all is well.
    """

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self.problem = ""

    def show_note(self, title: str, text: str) -> None:
        """Show it if it can be shown; returns at once."""
        raise NotImplementedError

    def close(self) -> None:
        """Leave nothing behind."""


class SessionBus(Desktop):
    """The service that freedesktop.org specifies: GNOME, KDE, and most others have it."""

    _CALL = (
        "--user", "--timeout=5", "--quiet", "--", "call", "org.freedesktop.Notifications",
        "/org/freedesktop/Notifications", "org.freedesktop.Notifications", "Notify",
        "susssasa{sv}i", "gpupanel", "0", "gpupanel",
    )  # fmt: skip
    _REST = ("0", "1", "desktop-entry", "s", "gpupanel", str(_SECONDS * 1000))

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self._call = QProcess(self)
        self._call.finished.connect(self._ended)
        self._call.errorOccurred.connect(self._failed)

    def show_note(self, title: str, text: str) -> None:
        """As ``Desktop``; a note that comes while another is handed over is left out."""
        if self._call.state() is QProcess.ProcessState.NotRunning:
            words = (title.translate(_MARKUP), text.translate(_MARKUP))
            self._call.start("busctl", [*self._CALL, *words, *self._REST])

    def close(self) -> None:
        """As ``Desktop``."""
        if self._call.state() is not QProcess.ProcessState.NotRunning:
            self._call.kill()
            self._call.waitForFinished(_CLOSE_MS)

    def _ended(self, code: int) -> None:
        said = bytes(self._call.readAllStandardError().data()).decode(errors="replace").strip()
        self.problem = (said or f"busctl ended with {code}") if code else ""

    def _failed(self) -> None:
        self.problem = self._call.errorString()


class Tray(Desktop):
    """A balloon of Windows, from an icon that goes with it."""

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        from PySide6.QtGui import QColor

        image = icon("gpupanel", QColor(LIGHT.accent), _ICON_PX, 1.0)
        self._icon = QSystemTrayIcon(QIcon(image), self)
        self._icon.setToolTip("gpupanel")
        self._end = QTimer(self, singleShot=True, interval=_SECONDS * 1000)
        self._end.timeout.connect(self._icon.hide)

    def show_note(self, title: str, text: str) -> None:
        """As ``Desktop``."""
        self.problem = "" if QSystemTrayIcon.isSystemTrayAvailable() else "there is no tray"
        self._icon.show()
        self._icon.showMessage(title, text)
        self._end.start()

    def close(self) -> None:
        """As ``Desktop``."""
        self._end.stop()
        self._icon.hide()


if sys.platform == "win32":

    def desktop_here(parent: QObject, *, may_show_tray: bool) -> Desktop | None:
        """As below."""
        return Tray(parent) if may_show_tray else None

else:

    def desktop_here(parent: QObject, *, may_show_tray: bool) -> Desktop | None:
        """What this system has; None where it needs a tray icon and there may be none."""
        del may_show_tray
        return SessionBus(parent)
