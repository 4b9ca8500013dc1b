"""``python -m tests.detection.table``: recall, false alarms and time to detect, as tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from statistics import quantiles

from gpupanel.detection.signatures import Signatures
from gpupanel.model.verdict import EvidenceFamily
from tests.detection.harness import (
    HELD_OUT,
    TUNED_ON,
    Outcome,
    legitimate,
    miners,
    patient,
    play,
    variants,
    without_miner,
    without_pools,
    without_workload,
)

SECONDS, PATIENT_S = 300.0, 3600.0
Row = tuple[str, ...]

FIRST = {
    "default": ("67", "80.6 %", "61.2 %"),
    "half": ("67", "58.2 %", "35.8 %"),
    "pulsed": ("67", "67.2 %", "35.8 %"),
    "renamed": ("67", "67.2 %", "35.8 %"),
    "renamed, TLS": ("67", "67.2 %", "35.8 %"),
    "all": ("335", "68.1 %", "40.9 %"),
}
"""What came of the held-out miners when they were judged for the first time, with what was known
and weighed before they were written: n, told, held. Of the held-out programs that do not mine,
none was told or held then."""

IN_GENERAL = {
    "default": ("97.0 %", "89.6 %"),
    "half": ("91.0 %", "73.1 %"),
    "pulsed": ("92.5 %", "77.6 %"),
    "renamed": ("97.0 %", "80.6 %"),
    "renamed, TLS": ("97.0 %", "80.6 %"),
    "all": ("94.9 %", "80.3 %"),
}
"""The same after the rules were mended in general, and before anything that is known of these
miners alone was put into signatures.toml. From then on they are held out no more."""


def main() -> None:
    """Print all tables."""
    known = [play(entry, SECONDS) for entry in (*miners(), *variants())]
    known += [play(entry, PATIENT_S) for entry in patient()]
    print("\nEvery miner, every way to start it (within 5 minutes; the last three of an hour)")
    print(_table(_by(known, lambda one: one.entry.variant)))
    print("\nBy miner, all ways together")
    print(_table(_by(known, lambda one: one.entry.group)))
    print("\nEach miner as if it had never been heard of")
    left_out = left_out_miners()
    print(_table(_by(left_out, lambda one: one.entry.group)))
    print("\nThe same, and no pool's name is known either")
    nameless = left_out_miners(without_pools)
    print(_table(_by(nameless, lambda one: one.entry.group)))
    print("\nMiners that nobody tuned on, first and now")
    unseen = [play(one, SECONDS) for one in (*miners(HELD_OUT), *variants(HELD_OUT))]
    print(_table(_beside_first(_by(unseen, lambda one: one.entry.variant))))
    print("\nNot held, and why")
    for one in [*known, *left_out, *unseen]:
        if one.capped_s is None:
            print(f"  {_not_held(one)}")
    for title, corpus in (("", TUNED_ON), (" and that nobody tuned on", HELD_OUT)):
        harmless = [play(entry, SECONDS) for entry in legitimate(corpus)]
        print(f"\nPrograms that do not mine{title}, by class")
        print(_table(_by(harmless, lambda one: one.entry.expected.value)))
        wrong = [one for one in harmless if one.verdict.process_class is not one.entry.expected]
        print(f"  {len(wrong)} of another class: {', '.join(one.entry.name for one in wrong)}")
        bare = left_out_workloads(corpus)
        print("\nThe same, each as if neither program nor libraries were known")
        print(_table(_by(bare, lambda one: one.entry.expected.value)))
        print("\nHighest posteriors of programs that do not mine")
        for one in sorted([*harmless, *bare], key=lambda one: -one.verdict.posterior)[:6]:
            print(f"  {one.verdict.posterior:8.5f}  {one.entry.name}")


def left_out_miners(
    also: Callable[[Signatures], Signatures] = lambda known: known,
) -> list[Outcome]:
    """Every launch, with nothing known of its own miner."""
    known = {entry.group: also(without_miner(entry.group)) for entry in miners()}
    return [play(entry, SECONDS, known[entry.group]) for entry in (*miners(), *variants())]


def left_out_workloads(corpus: str = TUNED_ON) -> list[Outcome]:
    """Every legitimate program, with nothing known that speaks for it."""
    return [play(entry, SECONDS, without_workload(entry)) for entry in legitimate(corpus)]


def _beside_first(rows: Sequence[Row]) -> list[Row]:
    head, *others = rows
    return [
        (*head, "told first", "held first", "told in general", "held in general"),
        *((*row, *FIRST[row[0]][1:], *IN_GENERAL[row[0]]) for row in others),
    ]


def _not_held(one: Outcome) -> str:
    """What it lacks: evidence, or a second place that it comes from."""
    told = "told" if one.suspected_s is not None else "not told"
    places = {
        f"{line.family.value} in {line.source.value}"
        for line in one.verdict.evidence
        if line.weight_nats >= 2 and line.family is not EvidenceFamily.TELEMETRY
    }
    shown = " ".join(one.entry.facts.arguments)[:64]
    why = ", ".join(sorted(places)) or "nothing"
    return (
        f"{one.entry.group}, {one.entry.variant}: {told}, {one.verdict.posterior:.4f}; "
        f"what speaks: {why}; {shown}"
    )


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
