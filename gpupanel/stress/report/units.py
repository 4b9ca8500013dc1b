"""How rates and amounts of work are written in reports and by gpupanelctl: English, scaled."""

from __future__ import annotations

SI_PREFIXES = ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))

SYMBOLS = {
    "hash": "H",
    "flop": "FLOP",
    "op": "OP",
    "byte": "B",
    "token": "tok",
    "frame": "frames",
    "launch": "launches",
}
"""Symbol of each unit of work in the catalog."""


def scaled(value: float, symbol: str) -> str:
    """``1.05 MH``: three significant digits with an SI prefix."""
    for factor, prefix in SI_PREFIXES:
        if value >= factor:
            return f"{value / factor:.3g} {prefix}{symbol}"
    return f"{value:.3g} {symbol}"


def rate_text(work_per_s: float, unit: str) -> str:
    """``1.05 MH/s``; frames per second as players write it."""
    if unit == "frame":
        return f"{work_per_s:.1f} fps"
    return f"{scaled(work_per_s, SYMBOLS[unit])}/s"


def per_joule_text(work_per_j: float, unit: str) -> str:
    """``0.31 MH/J``."""
    return f"{scaled(work_per_j, SYMBOLS[unit])}/J"
