"""Plots of a report as SVG text: lines over time, a roofline, and rates beside each other.

Colours are classes; the page's style sheet gives them a value for light and for dark.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 560, 220
LEFT, TOP, RIGHT, BOTTOM = 78, 14, 14, 28
GRID_LINES = 4

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Line:
    """One series: its name, its points and the class of its colour."""

    name: str
    points: Points
    tone: str = "a"


@dataclass(frozen=True, slots=True)
class Axis:
    """One direction of a plot: its range and whether it is logarithmic."""

    low: float
    high: float
    is_log: bool = False

    def share(self, value: float) -> float:
        """Where a value lies between the ends, 0 to 1."""
        low, high, at = self.low, self.high, value
        if self.is_log:
            low, high, at = math.log10(low), math.log10(high), math.log10(max(value, self.low))
        return min(max((at - low) / (high - low), 0.0), 1.0)


def time_plot(lines: Sequence[Line], seconds: float, as_text: Callable[[float], str]) -> str:
    """Values over the run's time, from zero up."""
    values = [value for line in lines for _, value in line.points]
    step = nice_step(max(values, default=1.0) / GRID_LINES)
    top = step * math.ceil(max(values, default=1.0) / step + 1e-9)
    x, y = Axis(0.0, seconds), Axis(0.0, top)
    parts = [_grid_line(y.share(i * step), as_text(i * step)) for i in range(round(top / step) + 1)]
    tick_s = nice_step(seconds / 6)
    parts += [_x_label(x.share(i * tick_s), f"{i * tick_s:g} s") for i in range(7)
              if i * tick_s <= seconds]  # fmt: skip
    parts += [_polyline(line, x, y) for line in lines if line.points]
    described = "; ".join(
        f"{line.name}: {as_text(line.points[-1][1])} at the end" for line in lines if line.points
    )
    return _figure(parts, described)


def roofline(
    bytes_per_s: float,
    op_per_s: float,
    at: tuple[float, float],
    as_text: Callable[[float], str],
) -> str:
    """The roof that memory and arithmetic make, and where the load stands under it.

    Args:
        bytes_per_s: Of memory, measured.
        op_per_s: Of arithmetic, measured.
        at: Operations per byte of the load, and operations per second that it reached.
        as_text: Of operations per second.
    """
    ridge = op_per_s / bytes_per_s
    x = Axis(min(ridge, at[0]) / 10, max(ridge, at[0]) * 10, is_log=True)
    y = Axis(min(at[1], x.low * bytes_per_s) / 2, op_per_s * 3, is_log=True)
    roof = Line("roof", [(x.low, x.low * bytes_per_s), (ridge, op_per_s), (x.high, op_per_s)], "b")
    parts = [_grid_line(y.share(v), as_text(v)) for v in _decades(y)]
    parts += [_x_label(x.share(v), f"{v:g} op/B") for v in _decades(x)]
    parts += [_polyline(roof, x, y), _dot(x.share(at[0]), y.share(at[1]))]
    reached = 100 * at[1] / min(op_per_s, at[0] * bytes_per_s)
    return _figure(parts, f"the load reaches {reached:.0f} % of the roof above it")


def bars(rows: Sequence[tuple[str, float, str]], as_text: Callable[[float], str]) -> str:
    """Rates beside each other: (name, rate, class of the colour), the longest as wide as it goes.

    Args:
        rows: At least one, with a rate above 0.
        as_text: Of a rate.
    """
    top = max(rate for _, rate, _ in rows)
    height, left, room = 30, 190, WIDTH - 190 - 96
    parts = []
    for index, (name, rate, tone) in enumerate(rows):
        y = 6 + index * height
        width = max(2.0, rate / top * room)
        parts.append(
            f'<text class="l" x="{left - 10}" y="{y + 15}" text-anchor="end">{escape(name)}</text>'
            f'<rect class="f{tone}" x="{left}" y="{y}" width="{width:.1f}" height="20" rx="4"/>'
            f'<text class="v" x="{left + width + 8:.1f}" y="{y + 15}">{escape(as_text(rate))}'
            "</text>"
        )
    described = ", ".join(f"{name} {as_text(rate)}" for name, rate, _ in rows)
    return _figure(parts, described, height=12 + len(rows) * height)


def nice_step(least: float) -> float:
    """The smallest 1, 2, 2.5 or 5 times a power of ten that is not below ``least``."""
    if least <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(least))
    return next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= least)


def _decades(axis: Axis) -> list[float]:
    exponents = range(math.ceil(math.log10(axis.low)), math.floor(math.log10(axis.high)) + 1)
    return [10.0**exponent for exponent in exponents]


def _x(share: float) -> float:
    return LEFT + share * (WIDTH - LEFT - RIGHT)


def _y(share: float) -> float:
    return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)


def _grid_line(share: float, label: str) -> str:
    y = _y(share)
    return (
        f'<line class="g" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        f'<text class="l" x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{escape(label)}</text>'
    )


def _x_label(share: float, label: str) -> str:
    return (
        f'<text class="l" x="{_x(share):.1f}" y="{HEIGHT - 8}" text-anchor="middle">{label}</text>'
    )


def _polyline(line: Line, x: Axis, y: Axis) -> str:
    points = " ".join(f"{_x(x.share(a)):.1f},{_y(y.share(b)):.1f}" for a, b in line.points)
    return f'<polyline class="s{line.tone}" points="{points}"/>'


def _dot(x_share: float, y_share: float) -> str:
    return f'<circle class="fa" cx="{_x(x_share):.1f}" cy="{_y(y_share):.1f}" r="5"/>'


def _figure(parts: Sequence[str], description: str, height: int = HEIGHT) -> str:
    label = escape(description, quote=True)
    inside = "".join(parts)
    return f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{label}">{inside}</svg>'
