"""What this user likes: theme, window place, price of energy. Taste only, never policy."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QByteArray, QLocale, QSettings

from gpupanel.ui.past import Tariff
from gpupanel.ui.theme import ThemeChoice

MOST_PRICE = 9999.0
MOST_CURRENCY = 4


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

    @property
    def tariff(self) -> Tariff:
        """No price, in the currency of the desktop's country, until the user enters one."""
        here = QLocale().currencySymbol(QLocale.CurrencySymbolFormat.CurrencyIsoCode)
        try:
            price = float(str(self._file.value("price_per_kwh", "0")))
        except ValueError:
            price = 0.0
        currency = str(self._file.value("currency", here))[:MOST_CURRENCY]
        return Tariff(price if 0 <= price <= MOST_PRICE else 0.0, currency)

    @tariff.setter
    def tariff(self, tariff: Tariff) -> None:
        self._file.setValue("price_per_kwh", str(tariff.price_per_kwh))
        self._file.setValue("currency", tariff.currency)
