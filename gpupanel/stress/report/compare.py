"""Two runs beside each other: before and after a change, or one card against another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gpupanel.model.workload import Failed
from gpupanel.stress.report.record import RunRecord
from gpupanel.stress.report.units import per_joule_text, rate_text
from gpupanel.stress.report.verdict import judge

UNKNOWN = "–"


@dataclass(frozen=True, slots=True)
class Figure:
    """One number of both runs; None where a run does not have it."""

    name: str
    title: str
    a: float | None
    b: float | None
    as_text: Callable[[float], str]

    @property
    def ratio(self) -> float | None:
        """B over A."""
        return self.b / self.a if self.a and self.b is not None else None

    @property
    def row(self) -> tuple[str, str, str, str]:
        """As a person reads it."""
        ratio = UNKNOWN if self.ratio is None else f"{self.ratio:.3f}"
        return (self.title, self._text(self.a), self._text(self.b), ratio)

    def _text(self, value: float | None) -> str:
        return UNKNOWN if value is None else self.as_text(value)


@dataclass(frozen=True, slots=True)
class Comparison:
    """All figures of two runs.

    Attributes:
        notes: Why the two may not be comparable.
    """

    verdicts: tuple[str, str]
    figures: tuple[Figure, ...]
    notes: tuple[str, ...]

    @property
    def rows(self) -> list[tuple[str, str, str, str]]:
        """Verdict and figures, for a table of four columns."""
        return [("Verdict", *self.verdicts, ""), *(figure.row for figure in self.figures)]

    def as_json(self) -> dict[str, Any]:
        """The contract of ``gpupanelctl stress compare --json``."""
        return {
            "verdicts": list(self.verdicts),
            "figures": {
                figure.name: {"a": figure.a, "b": figure.b, "ratio": figure.ratio}
                for figure in self.figures
            },
            "notes": list(self.notes),
        }


def compare(a: RunRecord, b: RunRecord) -> Comparison:
    """Every figure that one of the two has."""
    unit = a.progress[0].unit if a.progress else "op"
    sides = (a, b)
    figures = (
        _figure("work_per_s", "Rate", sides, lambda v: rate_text(v, unit)),
        _figure("uncapped_work_per_s", "While it may work", sides, lambda v: rate_text(v, unit)),
        _figure("limit_share", "Share of the limit", sides, lambda v: f"{100 * v:.1f} %"),
        _figure("efficiency_percent", "Efficiency", sides, lambda v: f"{v:.1f} %"),
        _figure("stability_percent", "Slowest over fastest", sides, lambda v: f"{v:.1f} %"),
        _figure("energy_j", "Energy", sides, lambda v: f"{v:.0f} J"),
        Figure("work_per_j", "Work per joule", a.work_per_j, b.work_per_j,
               lambda v: per_joule_text(v, unit)),
        _most("temperature_gpu_c", "Hottest", sides, lambda v: f"{v:.0f} °C"),
        _most("power_draw_w", "Most power", sides, lambda v: f"{v:.0f} W"),
    )  # fmt: skip
    known = tuple(figure for figure in figures if not (figure.a is None and figure.b is None))
    return Comparison((judge(a).word.value, judge(b).word.value), known, _differences(a, b))


def _figure(
    name: str, title: str, sides: tuple[RunRecord, RunRecord], as_text: Callable[[float], str]
) -> Figure:
    """An attribute of Finished."""
    a, b = (None if isinstance(side.last, Failed) else getattr(side.last, name) for side in sides)
    return Figure(name, title, a, b, as_text)


def _most(
    key: str, title: str, sides: tuple[RunRecord, RunRecord], as_text: Callable[[float], str]
) -> Figure:
    """The highest of a traced metric."""
    a, b = (
        max((p.readings[key] for p in side.trace if key in p.readings), default=None)
        for side in sides
    )
    return Figure(f"most_{key}", title, a, b, as_text)


def _differences(a: RunRecord, b: RunRecord) -> tuple[str, ...]:
    """What differs beside the figures."""
    pairs = (
        ("load", a.run.workload, b.run.workload),
        ("GPU", a.gpu.name, b.gpu.name),
        ("driver", a.gpu.driver_version, b.gpu.driver_version),
        ("knobs", a.started and dict(a.started.knobs), b.started and dict(b.started.knobs)),
        ("kernel variant", a.started and a.started.variant, b.started and b.started.variant),
        ("profile", a.run.profile, b.run.profile),
        ("cap", a.run.cap_percent, b.run.cap_percent),
        ("gpupanel", a.gpupanel, b.gpupanel),
    )
    return tuple(f"the {what} differs: {x} and {y}" for what, x, y in pairs if x != y)
