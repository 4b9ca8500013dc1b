from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from PySide6.QtCore import QByteArray

from gpupanel.ui.past import Tariff
from gpupanel.ui.preferences import Preferences
from gpupanel.ui.theme import ThemeChoice

if TYPE_CHECKING:
    from pathlib import Path


def test_first_start_has_defaults(tmp_path: Path) -> None:
    fresh = Preferences(tmp_path / "window.ini")
    assert fresh.theme is ThemeChoice.SYSTEM
    assert fresh.geometry.isEmpty()
    assert fresh.tariff.price_per_kwh == 0


@pytest.mark.parametrize("choice", list(ThemeChoice))
def test_taste_is_remembered(tmp_path: Path, choice: ThemeChoice) -> None:
    first = Preferences(tmp_path / "window.ini")
    first.theme = choice
    first.geometry = QByteArray(b"\x00\x01place")
    first.tariff = Tariff(0.3217, "CHF")
    del first  # QSettings writes when it goes
    again = Preferences(tmp_path / "window.ini")
    assert again.theme is choice
    assert again.geometry == QByteArray(b"\x00\x01place")
    assert again.tariff == Tariff(0.3217, "CHF")


def test_a_damaged_file_means_defaults(tmp_path: Path) -> None:
    lines = ("[General]", "theme=neon", "geometry=12", "price_per_kwh=-3", "currency=much too long")
    (tmp_path / "window.ini").write_text("\n".join(lines), encoding="utf-8")
    damaged = Preferences(tmp_path / "window.ini")
    assert damaged.theme is ThemeChoice.SYSTEM
    assert damaged.geometry.isEmpty()
    assert damaged.tariff == Tariff(0.0, "much")
