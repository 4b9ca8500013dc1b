"""``python -m tests.detection.table``: recall, false alarms and time to detect, as tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from statistics import quantiles

from gpupanel.detection.signatures import Signatures
from tests.detection.harness import (
    Outcome,
    legitimate,
    miners,
    play,
    variants,
    without_miner,
    without_workload,
)

SECONDS = 300.0
Row = tuple[str, ...]


def main() -> None:
    """Print all tables."""
    known = [play(entry, SECONDS) for entry in (*miners(), *variants())]
    print("\nEvery miner, every way to start it (within 5 minutes)")
    print(_table(_by(known, lambda one: one.entry.variant)))
    print("\nBy miner, all ways together")
    print(_table(_by(known, lambda one: one.entry.group)))
    print("\nEach miner as if it had never been heard of")
    print(_table(_by(left_out_miners(), lambda one: one.entry.group)))
    harmless = [play(entry, SECONDS) for entry in legitimate()]
    print("\nPrograms that do not mine, by class")
    print(_table(_by(harmless, lambda one: one.entry.expected.value)))
    print("\nThe same, each as if neither program nor libraries were known")
    print(_table(_by(left_out_workloads(), lambda one: one.entry.expected.value)))
    print("\nHighest posteriors of programs that do not mine")
    top = sorted([*harmless, *left_out_workloads()], key=lambda one: -one.verdict.posterior)[:6]
    for one in top:
        print(f"  {one.verdict.posterior:8.5f}  {one.entry.name}")


def left_out_miners() -> list[Outcome]:
    """Every launch, with nothing known of its own miner."""
    return [
        play(entry, SECONDS, _cached(without_miner, entry.group))
        for entry in (*miners(), *variants())
    ]


def left_out_workloads() -> list[Outcome]:
    """Every legitimate program, with nothing known that speaks for it."""
    return [play(entry, SECONDS, without_workload(entry)) for entry in legitimate()]


_signatures: dict[str, Signatures] = {}


def _cached(make: Callable[[str], Signatures], name: str) -> Signatures:
    return _signatures.setdefault(name, make(name))


def _by(outcomes: Iterable[Outcome], name: Callable[[Outcome], str]) -> list[Row]:
    rows: list[Row] = [("", "n", "told", "held", "told p95 s", "held p95 s")]
    ordered = sorted(outcomes, key=name)
    for group, found in groupby(ordered, key=name):
        rows.append(_row(group, list(found)))
    rows.append(_row("all", ordered))
    return rows


def _row(name: str, found: Sequence[Outcome]) -> Row:
    told = [one.suspected_s for one in found if one.suspected_s is not None]
    held = [one.capped_s for one in found if one.capped_s is not None]
    return (
        name, str(len(found)), _share(told, found), _share(held, found), _p95(told), _p95(held),
    )  # fmt: skip


def _share(some: Sequence[float], of: Sequence[Outcome]) -> str:
    return f"{100 * len(some) / len(of):.1f} %"


def _p95(seconds: Sequence[float]) -> str:
    if not seconds:
        return "–"
    return f"{quantiles([*seconds, seconds[-1]], n=20)[-1]:.0f}"


def _table(rows: Sequence[Row]) -> str:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join(
        "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        for row in rows
    )


if __name__ == "__main__":
    main()
