"""How gpupanelctl writes for people."""

from __future__ import annotations

from collections.abc import Sequence

from gpupanel.model.gpu import Reading, Unavailable
from gpupanel.model.metrics import Metric

GIB = 1 << 30


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
