"""A record as one self-contained HTML page, and as a table for a spreadsheet."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from html import escape

from gpupanel.model.limits import LIMIT_BY_NAME
from gpupanel.model.roofline import Ceiling
from gpupanel.model.workload import Failed, Finished, Started
from gpupanel.stress.catalog import WORKLOAD_BY_NAME
from gpupanel.stress.report.published import Published, published_for
from gpupanel.stress.report.record import TRACED, RunRecord
from gpupanel.stress.report.style import STYLE
from gpupanel.stress.report.svg import Line, bars, roofline, time_plot
from gpupanel.stress.report.units import per_joule_text, rate_text, scaled
from gpupanel.stress.report.verdict import Word, judge

CEILINGS: Mapping[str, tuple[str, str]] = {
    Ceiling.COPY: ("Memory, copy", "B/s"),
    Ceiling.READ: ("Memory, read", "B/s"),
    Ceiling.RANDOM_128B: ("Memory, random 128 B", "B/s"),
    Ceiling.RANDOM_32B: ("Memory, random 32 B", "B/s"),
    Ceiling.FP32: ("Arithmetic, fp32", "FLOP/s"),
    Ceiling.INT32: ("Arithmetic, int32", "OP/s"),
}
"""Title and unit of each ceiling."""

WORDS: Mapping[Word, str] = {
    Word.PASSED: "Passed",
    Word.UNSTEADY: "Right, but not steady",
    Word.INCOMPLETE: "Incomplete",
    Word.FAILED: "Failed",
}

TEMPERATURES = (
    ("chip", "temperature_gpu_c", "a"),
    ("hottest spot", "temperature_hotspot_c", "b"),
    ("memory", "temperature_memory_c", "c"),
)


def as_html(record: RunRecord) -> str:
    """The whole page; nothing in it is loaded from elsewhere."""
    info = WORKLOAD_BY_NAME[record.run.workload]
    title = f"{info.title} on {record.gpu.name}"
    body = [_head(record, title), _verdict(record)]
    if isinstance(record.last, Finished):
        body += [_tiles(record, record.last), _plots(record, record.last)]
    body += [_facts(record), _foot(record)]
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)} – gpupanel</title><style>{STYLE}</style></head>"
        f"<body><main>{''.join(body)}</main></body></html>\n"
    )


def as_csv(record: RunRecord) -> str:
    """One row per report of the run, with the GPU's readings nearest to it; unknown is empty."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["seconds", "work", "work_per_s", "uncapped_work_per_s", "unit", "verified",
                    "errors", *TRACED])  # fmt: skip
    for event in record.progress:
        nearest = min(
            record.trace, key=lambda point: abs(point.seconds - event.seconds), default=None
        )
        readings = nearest.readings if nearest else {}
        table.writerow([f"{event.seconds:.3f}", event.work, event.work_per_s,
                        event.uncapped_work_per_s, event.unit, event.verified, event.errors,
                        *(readings.get(key, "") for key in TRACED)])  # fmt: skip
    return text.getvalue()


def _head(record: RunRecord, title: str) -> str:
    at = datetime.fromtimestamp(record.time_unix_s).astimezone().strftime("%Y-%m-%d %H:%M:%S %z")
    info = WORKLOAD_BY_NAME[record.run.workload]
    return (
        f"<header><p class='kicker'>gpupanel · {escape(info.name)} · {at}</p>"
        f"<h1>{escape(title)}</h1><p>{escape(info.summary)}</p></header>"
    )


def _verdict(record: RunRecord) -> str:
    verdict = judge(record)
    reasons = "".join(f"<li>{escape(reason)}</li>" for reason in verdict.reasons)
    return (
        f"<section class='verdict {verdict.word.value}'><h2>{WORDS[verdict.word]}</h2>"
        f"<ul>{reasons}</ul></section>"
    )


def _tiles(record: RunRecord, last: Finished) -> str:
    tiles = [("Rate", rate_text(last.work_per_s, last.unit))]
    if last.limit_share is not None:
        name = CEILINGS[last.limited_by][0] if last.limited_by else ""
        tiles.append(("Share of the device's limit", f"{100 * last.limit_share:.0f} %"))
        tiles.append(("Limited by", name))
    if last.cap_percent < 100:
        tiles.append(("Efficiency under the cap", f"{last.efficiency_percent:.1f} % of uncapped"))
        tiles.append(("Cap by policy", f"{last.cap_percent} %"))
    if last.energy_j is not None:
        tiles.append(("Energy", scaled(last.energy_j, "J")))
    if record.work_per_j is not None:
        tiles.append(("Work per joule", per_joule_text(record.work_per_j, last.unit)))
    info = WORKLOAD_BY_NAME[record.run.workload]
    for reading in info.readings:
        if reading.key in last.readings:
            value = f"{last.readings[reading.key]:.4g} {reading.unit}".strip()
            tiles.append((reading.title, value))
    tiles.append(("Results compared", f"{last.checks}, {last.errors} wrong"))
    cells = "".join(f"<div><dt>{escape(a)}</dt><dd>{escape(b)}</dd></div>" for a, b in tiles)
    return f"<dl class='tiles'>{cells}</dl>"


def _plots(record: RunRecord, last: Finished) -> str:
    unit, seconds = last.unit, max(last.seconds, 1.0)
    rates = [Line("rate", [(p.seconds, p.work_per_s) for p in record.progress])]
    if last.cap_percent < 100:
        uncapped = [(p.seconds, p.uncapped_work_per_s) for p in record.progress]
        rates.append(Line("while it may work", uncapped, "b"))
    plots = [
        _plot("Rate", rates, seconds, lambda v: rate_text(v, unit)),
        _against(record, last),
        _roofline(record.started, last),
        _plot("Power", _traced(record, (("board", "power_draw_w", "a"),
                                        ("limit", "power_limit_w", "b"))),
              seconds, lambda v: f"{v:.0f} W"),
        _plot("Temperature", _traced(record, TEMPERATURES), seconds, lambda v: f"{v:.0f} °C"),
        _plot("Clocks", _traced(record, (("graphics", "clock_graphics_mhz", "a"),
                                         ("memory", "clock_memory_mhz", "b"))),
              seconds, lambda v: f"{v:.0f} MHz"),
        _plot("Work per joule", _work_per_j(record), seconds, lambda v: per_joule_text(v, unit)),
    ]  # fmt: skip
    return f"<section class='plots'>{''.join(plots)}</section>"


def _plot(
    title: str, lines: Sequence[Line], seconds: float, as_text: Callable[[float], str]
) -> str:
    """A plot with its legend; nothing when nothing was reported."""
    drawn = [line for line in lines if line.points]
    if not drawn:
        return ""
    legend = "".join(f"<span class='k{line.tone}'>{escape(line.name)}</span>" for line in drawn)
    keys = f"<p class='legend'>{legend}</p>" if len(drawn) > 1 else ""
    return f"<figure><h3>{title}</h3>{keys}{time_plot(drawn, seconds, as_text)}</figure>"


def _traced(record: RunRecord, series: Sequence[tuple[str, str, str]]) -> list[Line]:
    return [
        Line(name, [(p.seconds, p.readings[key]) for p in record.trace if key in p.readings], tone)
        for name, key, tone in series
    ]


def _work_per_j(record: RunRecord) -> list[Line]:
    """Rate over power, each second, where power is known."""
    powered = [
        (point.seconds, point.readings["power_draw_w"])
        for point in record.trace
        if point.readings.get("power_draw_w", 0.0) > 0
    ]
    if not powered:
        return []
    points = []
    for event in record.progress:
        _, power_w = min(powered, key=lambda point: abs(point[0] - event.seconds))
        points.append((event.seconds, event.work_per_s / power_w))
    return [Line("work per joule", points)]


def _against(record: RunRecord, last: Finished) -> str:
    """The measured rate beside what the device could do and what others published."""
    rows = [("measured", last.work_per_s, "a")]
    if last.cap_percent < 100:
        rows.append(("while it may work", last.uncapped_work_per_s, "b"))
    if last.limit_per_s is not None:
        rows.append(("limit of this device", last.limit_per_s, "c"))
    published = published_for(record.gpu.name, record.run.workload)
    if published is not None:
        rows += _published_rows(published)
    if len(rows) == 1 or last.work_per_s == 0:
        return ""
    note = f"<p class='note'>Published: {escape(published.source)}.</p>" if published else ""
    plot = bars(rows, lambda v: rate_text(v, last.unit))
    return f"<figure><h3>Beside the limit</h3>{plot}{note}</figure>"


def _published_rows(published: Published) -> list[tuple[str, float, str]]:
    rows = []
    if published.hash_per_s:
        rows.append(("published for this card", published.hash_per_s, "d"))
    if published.lhr_hash_per_s:
        rows.append(("with NVIDIA's limiter", published.lhr_hash_per_s, "d"))
    return rows


def _roofline(started: Started | None, last: Finished) -> str:
    """Drawn where the load touches memory and arithmetic, and both were measured."""
    if started is None or last.uncapped_work_per_s == 0:
        return ""
    memory = _binding(started, (Ceiling.RANDOM_128B, Ceiling.RANDOM_32B, Ceiling.READ,
                                Ceiling.COPY))  # fmt: skip
    arithmetic = _binding(started, (Ceiling.FP32, Ceiling.INT32))
    if memory is None or arithmetic is None:
        return ""
    ops, op_bytes = started.cost[arithmetic], started.cost[memory]
    at = (ops / op_bytes, last.uncapped_work_per_s * ops)
    symbol = CEILINGS[arithmetic][1].removesuffix("/s")
    plot = roofline(
        started.ceilings[memory],
        started.ceilings[arithmetic],
        at,
        lambda v: f"{scaled(v, symbol)}/s",
    )
    names = f"{CEILINGS[memory][0]}; {CEILINGS[arithmetic][0]}"
    return f"<figure><h3>Roofline</h3>{plot}<p class='note'>{names}, measured.</p></figure>"


def _binding(started: Started, among: Sequence[Ceiling]) -> Ceiling | None:
    """The one of these ceilings that the load needs most of."""
    known = [c for c in among if c in started.ceilings and started.cost.get(c, 0) > 0]
    return max(known, key=lambda c: started.cost[c] / started.ceilings[c], default=None)


def _facts(record: RunRecord) -> str:
    rows = [("Asked for", f"{record.run.seconds:g} s, profile {record.run.profile}")]
    started = record.started
    if started is not None:
        rows += [
            ("OpenCL device", f"{started.device} ({started.platform})"),
            ("Kernel variant", started.variant),
            ("Launch", f"{started.chunk_ms:.1f} ms"),
            ("Knobs", ", ".join(f"{k} = {v}" for k, v in started.knobs.items())),
            *(("Note", note) for note in started.notes),
        ]
        rows += [
            (title, f"{scaled(started.ceilings[name], unit.removesuffix('/s'))}/s, measured")
            for name, (title, unit) in CEILINGS.items()
            if name in started.ceilings
        ]
    rows.append(("Driver", record.gpu.driver_version or ""))
    rows.append(("Clocks were held down by", _limits_text(record)))
    cells = "".join(f"<tr><th>{escape(a)}</th><td>{escape(b)}</td></tr>" for a, b in rows if b)
    return f"<section><h2>How it was measured</h2><table>{cells}</table></section>"


def _limits_text(record: RunRecord) -> str:
    """Share of the samples at which each limit held."""
    counts: dict[str, int] = {}
    for point in record.trace:
        for name in point.limited_by:
            counts[name] = counts.get(name, 0) + 1
    return ", ".join(
        f"{LIMIT_BY_NAME[name].label if name in LIMIT_BY_NAME else name} "
        f"{100 * count / len(record.trace):.0f} % of the time"
        for name, count in sorted(counts.items(), key=lambda entry: -entry[1])
    )


def _foot(record: RunRecord) -> str:
    failed = isinstance(record.last, Failed)
    shares = "" if failed else " Mining loads hash synthetic headers: no pool, no share."
    return f"<footer>Made by gpupanel {escape(record.gpupanel)}.{shares}</footer>"
