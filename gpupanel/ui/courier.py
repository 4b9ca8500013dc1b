"""Brings this user's own limits to the service, which opens nobody's home."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QObject, QTimer

from gpupanel.ui.link import Link, LinkState

INTERVAL_MS = 2000
"""Between two looks at the file; the agent obeys it as fast."""

_MOST_BYTES = 65_536
_NOTHING = "schema = 1\n"


class WishCourier(QObject):
    """Tells the service what the file says: at first, and whenever that is new."""

    def __init__(self, link: Link, file: Path, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._link = link
        self._file = file
        self._told: str | None = None
        link.state_changed.connect(self._look)
        self._timer = QTimer(self, interval=INTERVAL_MS)
        self._timer.timeout.connect(self._look)
        self._timer.start()
        self._look()

    def stop(self) -> None:
        """Look no more."""
        self._timer.stop()

    def _look(self) -> None:
        if self._link.state is not LinkState.RUNNING or not self._link.is_service:
            self._told = None  # another service has not heard of it
            return
        text = _text(self._file)
        if text != self._told:
            self._told = text
            self._link.ask("wishes.set", {"text": text}, self._taken, self._refused)

    def _taken(self, answer: object) -> None:
        del answer
        self._link.complain("")

    def _refused(self, reason: str) -> None:
        self._link.complain(
            self.tr("The service does not keep your own limits: {0}").format(reason)
        )


def _text(file: Path) -> str:
    """What the service is told; a file that is too long or cannot be read it refuses by itself."""
    try:
        with file.open("rb") as opened:
            return opened.read(_MOST_BYTES).decode("utf-8", "replace")
    except FileNotFoundError:
        return _NOTHING
    except OSError as reason:
        return f"# {reason}"
