"""What this user likes: theme, window place. Taste only; nothing here is ever policy."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QByteArray, QSettings

from gpupanel.ui.theme import ThemeChoice


class Preferences:
    """A small INI file in the user's state directory; unreadable values fall back to defaults."""

    def __init__(self, path: Path) -> None:
        self._file = QSettings(str(path), QSettings.Format.IniFormat)

    @property
    def theme(self) -> ThemeChoice:
        """System unless the user chose."""
        text = str(self._file.value("theme", ""))
        return ThemeChoice(text) if text in list(ThemeChoice) else ThemeChoice.SYSTEM

    @theme.setter
    def theme(self, choice: ThemeChoice) -> None:
        self._file.setValue("theme", choice.value)

    @property
    def geometry(self) -> QByteArray:
        """Place and size of the window as Qt wrote it; empty the first time."""
        value = self._file.value("geometry")
        return value if isinstance(value, QByteArray) else QByteArray()

    @geometry.setter
    def geometry(self, place: QByteArray) -> None:
        self._file.setValue("geometry", place)
