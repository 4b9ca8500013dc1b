from __future__ import annotations

from dataclasses import asdict
from itertools import product
from typing import TYPE_CHECKING

import pytest
from PySide6.QtGui import QColor

from gpupanel.ui import theme
from gpupanel.ui.theme import DARK, LIGHT, ROLES, ThemeChoice, Tokens, Tone

if TYPE_CHECKING:
    from pytestqt.qtbot import QtBot

BACKGROUNDS = ("window", "surface", "raised")
TEXTS = ("text", "secondary", "accent", "ok", "warn", "error")


def luminance(colour: str) -> float:
    """WCAG 2.2, relative luminance."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    """WCAG 2.2, contrast ratio."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_contrast_formula_on_published_pairs() -> None:
    assert contrast("#000000", "#FFFFFF") == pytest.approx(21)
    assert contrast("#767676", "#FFFFFF") == pytest.approx(4.54, abs=0.005)


@pytest.mark.parametrize("tokens", [DARK, LIGHT], ids=["dark", "light"])
def test_text_can_be_read_on_every_background(tokens: Tokens) -> None:
    colours = asdict(tokens)
    ratios = {
        (text, back): contrast(colours[text], colours[back])
        for text, back in product(TEXTS, BACKGROUNDS)
    }
    assert {pair: ratio for pair, ratio in ratios.items() if ratio < 4.5} == {}
    assert contrast(tokens.on_accent, tokens.accent) >= 4.5


@pytest.mark.parametrize("tokens", [DARK, LIGHT], ids=["dark", "light"])
def test_lines_can_be_seen(tokens: Tokens) -> None:
    """The sparkline runs over its own filling too."""
    filling = theme.blend(QColor(tokens.accent), QColor(tokens.surface), 0.84).name()
    assert contrast(tokens.accent, tokens.surface) >= 3
    assert contrast(tokens.accent, filling) >= 3
    assert contrast(tokens.warn, filling) >= 3


@pytest.mark.parametrize("tokens", [DARK, LIGHT], ids=["dark", "light"])
def test_palette_carries_every_token(tokens: Tokens, qapp: object) -> None:
    made = theme.palette(tokens)
    assert {tone.value: theme.colour(made, tone).name().upper() for tone in Tone} == asdict(tokens)


def test_no_two_tones_share_a_role() -> None:
    assert len(set(ROLES.values())) == len(Tone)


def test_preference_beats_the_desktop(qtbot: QtBot) -> None:
    assert theme.tokens_for(ThemeChoice.DARK) is DARK
    assert theme.tokens_for(ThemeChoice.LIGHT) is LIGHT
    assert theme.tokens_for(ThemeChoice.SYSTEM) in (DARK, LIGHT)


def test_icon_is_drawn_in_its_tint(qapp: object) -> None:
    image = theme.icon("overview", QColor("#FF0000"), 20, 2.0).toImage()
    assert (image.width(), image.height()) == (40, 40)
    drawn = {
        image.pixelColor(x, y).name()
        for x, y in product(range(40), range(40))
        if image.pixelColor(x, y).alpha() == 255
    }
    assert drawn == {"#ff0000"}
