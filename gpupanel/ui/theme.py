"""Two tables of colours, and how they become the palette that every widget paints from.

A theme is a QPalette and nothing else: switching costs half a millisecond, and no style sheet
can leak into a child. Widgets ask their palette for a ``Tone``; none names a colour.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from PySide6.QtCore import QRectF, QSize, Qt
from PySide6.QtGui import (
    QColor,
    QFont,
    QFontDatabase,
    QGuiApplication,
    QPainter,
    QPalette,
    QPixmap,
    QPixmapCache,
)
from PySide6.QtWidgets import QApplication

from gpupanel.paths import data_dir

GRID_PX = 4
RADIUS_PX = 8
BODY_PX = 13
SMALL_PX = 12


class ThemeChoice(StrEnum):
    """What the user prefers."""

    SYSTEM = "system"
    LIGHT = "light"
    DARK = "dark"


class Tone(StrEnum):
    """What a colour means; the palette role that carries it is in ``ROLES``."""

    WINDOW = "window"
    SURFACE = "surface"
    RAISED = "raised"
    BORDER = "border"
    TEXT = "text"
    SECONDARY = "secondary"
    ACCENT = "accent"
    ON_ACCENT = "on_accent"
    OK = "ok"
    WARN = "warn"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Tokens:
    """The colours of one theme, ``#RRGGBB``; contrast is tested for every pair that meets."""

    window: str
    surface: str
    raised: str
    border: str
    text: str
    secondary: str
    accent: str
    on_accent: str
    ok: str
    warn: str
    error: str


DARK = Tokens(
    window="#15171C",
    surface="#1C1F26",
    raised="#262B36",
    border="#343A48",
    text="#E8EAED",
    secondary="#A6ADBB",
    accent="#4FA3F7",
    on_accent="#0B1420",
    ok="#3DD598",
    warn="#F2B544",
    error="#FF8A8A",
)
LIGHT = Tokens(
    window="#F6F7F9",
    surface="#FFFFFF",
    raised="#EBEEF3",
    border="#D5D9E1",
    text="#1A1D24",
    secondary="#586073",
    accent="#0B66C3",
    on_accent="#FFFFFF",
    ok="#0A7048",
    warn="#8A5700",
    error="#B3261E",
)

_Role = QPalette.ColorRole

ROLES: Mapping[Tone, QPalette.ColorRole] = {
    Tone.WINDOW: _Role.Window,
    Tone.SURFACE: _Role.Base,
    Tone.RAISED: _Role.AlternateBase,
    Tone.BORDER: _Role.Mid,
    Tone.TEXT: _Role.WindowText,
    Tone.SECONDARY: _Role.PlaceholderText,
    Tone.ACCENT: _Role.Link,
    Tone.ON_ACCENT: _Role.HighlightedText,
    Tone.OK: _Role.Midlight,
    Tone.WARN: _Role.LinkVisited,
    Tone.ERROR: _Role.BrightText,
}


def tokens_for(choice: ThemeChoice) -> Tokens:
    """The user's preference, else what the desktop says, else light."""
    if choice is ThemeChoice.SYSTEM:
        dark = QGuiApplication.styleHints().colorScheme() == Qt.ColorScheme.Dark
        return DARK if dark else LIGHT
    return DARK if choice is ThemeChoice.DARK else LIGHT


def palette(tokens: Tokens) -> QPalette:
    """The palette that carries ``tokens``; also fills the roles that Fusion looks at."""
    made = QPalette()
    for tone, role in ROLES.items():
        made.setColor(role, QColor(getattr(tokens, tone.value)))
    for role, colour in (
        (_Role.Text, tokens.text),
        (_Role.ButtonText, tokens.text),
        (_Role.Button, tokens.raised),
        (_Role.Highlight, tokens.accent),
        (_Role.Accent, tokens.accent),
        (_Role.ToolTipBase, tokens.raised),
        (_Role.ToolTipText, tokens.text),
        (_Role.Light, tokens.raised),
        (_Role.Dark, tokens.border),
        (_Role.Shadow, tokens.border),
    ):
        made.setColor(role, QColor(colour))
    faded = blend(QColor(tokens.secondary), QColor(tokens.surface), 0.35)
    for role in (_Role.WindowText, _Role.Text, _Role.ButtonText):
        made.setColor(QPalette.ColorGroup.Disabled, role, faded)
    return made


def apply(application: QApplication, choice: ThemeChoice) -> None:
    """Give the whole application the theme of ``choice``."""
    application.setPalette(palette(tokens_for(choice)))


def colour(source: QPalette, tone: Tone) -> QColor:
    """The colour that ``tone`` has in a widget's palette."""
    return source.color(ROLES[tone])


def blend(front: QColor, back: QColor, share_of_back: float) -> QColor:
    """An opaque mixture: filling with it is far cheaper than with a transparent colour."""
    keep = 1.0 - share_of_back
    return QColor(
        round(front.red() * keep + back.red() * share_of_back),
        round(front.green() * keep + back.green() * share_of_back),
        round(front.blue() * keep + back.blue() * share_of_back),
    )


def font(size_px: int = BODY_PX, *, bold: bool = False) -> QFont:
    """The application's family in pixels, with digits of one width so that numbers stand still."""
    made = QFont(QApplication.font())
    made.setPixelSize(size_px)
    made.setWeight(QFont.Weight.DemiBold if bold else QFont.Weight.Normal)
    made.setFeature(QFont.Tag("tnum"), 1)
    return made


def fixed_font(size_px: int) -> QFont:
    """For compiler logs: letters of one width."""
    made = QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont)
    made.setPixelSize(size_px)
    return made


def icon(name: str, tint: QColor, size_px: int, pixel_ratio: float) -> QPixmap:
    """``resources/icons/<name>.svg`` in one colour.

    Raises:
        FileNotFoundError: There is no icon of that name; the installation is incomplete.
    """
    from PySide6.QtSvg import QSvgRenderer

    drawn = QPixmap()
    known_as = f"{name} {tint.name()} {size_px} {pixel_ratio}"
    if QPixmapCache.find(known_as, drawn):
        return drawn
    source = (data_dir("resources") / "icons" / f"{name}.svg").read_text(encoding="utf-8")
    renderer = QSvgRenderer(source.replace("currentColor", tint.name()).encode())
    pixmap = QPixmap(QSize(size_px, size_px) * pixel_ratio)
    pixmap.setDevicePixelRatio(pixel_ratio)
    pixmap.fill(Qt.GlobalColor.transparent)
    painter = QPainter(pixmap)
    renderer.render(painter, QRectF(0, 0, size_px, size_px))
    painter.end()
    QPixmapCache.insert(known_as, pixmap)
    return pixmap
