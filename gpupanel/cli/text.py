"""How gpupanelctl writes for people."""

from __future__ import annotations

from collections.abc import Sequence

from gpupanel.model.gpu import Reading, Unavailable
from gpupanel.model.metrics import Metric

GIB = 1 << 30
SI_PREFIXES = ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
RATE_UNITS = {"hash": "H/s", "flop": "FLOP/s", "frame": "fps"}


def columns(rows: Sequence[Sequence[str]]) -> str:
    """Rows as aligned columns, two spaces apart; the first row is the heading."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = (
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        for row in rows
    )
    return "\n".join(line.rstrip() for line in lines)


def reading_text(metric: Metric, reading: Reading) -> str:
    """``62 °C``; a dash for what is not known."""
    if isinstance(reading, Unavailable):
        return "–"
    if metric.unit == "B":
        return f"{reading / GIB:.1f} GiB"
    return f"{reading:.0f} {metric.unit}"


def rate_text(work_per_s: float, unit: str) -> str:
    """``1.05 MH/s``; the unit of a load, scaled."""
    if unit == "frame":
        return f"{work_per_s:.1f} fps"
    for factor, prefix in SI_PREFIXES:
        if work_per_s >= factor:
            return f"{work_per_s / factor:.2f} {prefix}{RATE_UNITS[unit]}"
    return f"{work_per_s:.1f} {RATE_UNITS[unit]}"
