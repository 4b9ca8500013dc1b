"""What a run proves, in one word and its reasons."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from gpupanel.model.workload import Failed, Finished
from gpupanel.stress.report.record import RunRecord

STABLE_PERCENT = 97.0
"""Worst over best stretch of a run below which a card is not called stable (as in 3DMark)."""

SHORTEST_PROOF_S = 60.0
"""A shorter run may pass, but says little about stability."""

GUARDED = {
    "temperature": "the chip became too hot",
    "power": "the card drew more than its power limit",
    "fan": "the fan stood still on a hot card",
    "sensor_lost": "the temperature could not be read any more",
}


class Word(StrEnum):
    """The verdict itself."""

    PASSED = "passed"
    UNSTEADY = "unsteady"
    """Right results, but a rate that sagged."""
    INCOMPLETE = "incomplete"
    """Right so far, and ended early."""
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class RunVerdict:
    """A word and why."""

    word: Word
    reasons: tuple[str, ...]


def judge(record: RunRecord) -> RunVerdict:
    """Zero work or one wrong result fails; then comes how it ended, then how steady it was."""
    last = record.last
    if isinstance(last, Failed):
        return RunVerdict(Word.FAILED, (f"The run could not be carried out: {last.reason}",))
    faults = _faults(last)
    if faults:
        return RunVerdict(Word.FAILED, (*faults, *last.faults))
    checked = f"{last.checks} results were compared with an independent answer; all agree."
    if last.stop_reason != "time":
        why = GUARDED.get(last.stop_reason, "it was stopped")
        return RunVerdict(Word.INCOMPLETE, (checked, f"The run ended early: {why}."))
    steady = last.stability_percent
    if steady is not None and steady < STABLE_PERCENT:
        sagged = f"The slowest five seconds ran at {steady:.1f} % of the fastest five."
        return RunVerdict(Word.UNSTEADY, (checked, sagged))
    reasons: tuple[str, ...] = (checked,)
    if steady is not None:
        reasons += (f"The slowest five seconds reached {steady:.1f} % of the fastest five.",)
    if last.seconds < SHORTEST_PROOF_S:
        reasons += ("A run of less than a minute says little about stability.",)
    return RunVerdict(Word.PASSED, reasons)


def _faults(last: Finished) -> tuple[str, ...]:
    """What makes a run fail whatever else is true."""
    if last.work == 0:
        return ("No work was done.",)
    if last.errors:
        return (f"{last.errors} of {last.checks} compared results were wrong.",)
    if last.checks == 0:
        return ("Nothing was compared with an independent answer.",)
    return ()
