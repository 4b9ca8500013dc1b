"""COLUMNS, the one list of what the table of processes shows of each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from PySide6.QtCore import QCoreApplication

from gpupanel.model.gpu import ProcessKind, ProcessSample, Reading, Unavailable
from gpupanel.model.hold import Hold
from gpupanel.model.metrics import QT_TRANSLATE_NOOP
from gpupanel.ui import format as fmt
from gpupanel.ui.theme import Tone
from gpupanel.ui.widgets.evidence import STANDING_TONES, class_text, standing_text
from gpupanel.ui.widgets.holds import words
from gpupanel.ui.widgets.table import Cell

translate = QCoreApplication.translate

_KINDS = {
    ProcessKind.COMPUTE: QT_TRANSLATE_NOOP("ProcessKinds", "Compute"),
    ProcessKind.GRAPHICS: QT_TRANSLATE_NOOP("ProcessKinds", "Graphics"),
    ProcessKind.BOTH: QT_TRANSLATE_NOOP("ProcessKinds", "Both"),
    ProcessKind.UNKNOWN: QT_TRANSLATE_NOOP("ProcessKinds", "Not told"),
}
_MAKERS = ("NVIDIA", "AMD", "Intel")


@dataclass(frozen=True, slots=True)
class Row:
    """A process and what the window knows around it.

    Attributes:
        hold: What policy does to it, if anything.
        hold_text: The same as a sentence.
    """

    process: ProcessSample
    gpu_name: str
    now_unix_s: float
    hold: Hold | None = None
    hold_text: str = ""


@dataclass(frozen=True, slots=True)
class Column:
    """One column of the table: to add one, add a row to COLUMNS.

    Attributes:
        title: Marked for translation.
        width_px: The column of the name takes what is left.
        cell: What stands there.
        sort_key: None of a value that is not known: that comes last in either order.
        is_number: Aligned to the right, and sorted with the greatest first.
    """

    title: str
    width_px: int
    cell: Callable[[Row], Cell]
    sort_key: Callable[[Row], float | str | None]
    is_number: bool = False


def _reading_cell(reading: Reading, text: Callable[[float], str]) -> Cell:
    if isinstance(reading, Unavailable):
        why = translate("Processes", "not known: {0}").format(reading.reason)
        return Cell(fmt.UNKNOWN, Tone.SECONDARY, why, is_number=True)
    return Cell(text(reading), is_number=True)


def _utilization(row: Row) -> Cell:
    reading = row.process.utilization_percent
    cell = _reading_cell(reading, fmt.percent)
    share = 0.0 if isinstance(reading, Unavailable) else reading / 100
    return replace(cell, share=share)


def _engines(row: Row) -> Cell:
    used = {name: share for name, share in row.process.engines.items() if share >= 0.5}
    text = ", ".join(
        f"{name} {fmt.percent(share)}"
        for name, share in sorted(used.items(), key=lambda item: -item[1])
    )
    if text:
        return Cell(text)
    told = translate("Processes", "no engine is at work")
    untold = translate("Processes", "not known: this driver does not tell of engines")
    return Cell(fmt.UNKNOWN, Tone.SECONDARY, told if row.process.engines else untold)


def _since(row: Row) -> Cell:
    started_s = row.process.started_unix_s
    if started_s is None:
        why = translate("Processes", "not known: the system does not tell when it was started")
        return Cell(fmt.UNKNOWN, Tone.SECONDARY, why)
    age_s = max(0.0, row.now_unix_s - started_s)
    when = f"{fmt.day(started_s)} {fmt.clock(started_s)}"
    help_text = translate("Processes", "since {0}, for {1}").format(when, fmt.span(age_s))
    is_recent = age_s < fmt.DAY_S
    return Cell(fmt.clock(started_s) if is_recent else fmt.day(started_s), help=help_text)


def _user(row: Row) -> Cell:
    if row.process.user is None:
        why = translate("Processes", "not known: the system does not tell whose it is")
        return Cell(fmt.UNKNOWN, Tone.SECONDARY, why)
    return Cell(row.process.user)


def _gpu(row: Row) -> Cell:
    """Without the maker: the models tell cards apart."""
    maker, _, model = row.gpu_name.partition(" ")
    short = model if maker in _MAKERS and model else row.gpu_name
    return Cell(short, help=f"{row.gpu_name}\n{row.process.gpu_id}")


def _class(row: Row) -> Cell:
    verdict = row.process.verdict
    if verdict is None:
        return Cell(fmt.UNKNOWN, Tone.SECONDARY, _not_judged())
    return Cell(class_text(verdict), Tone.SECONDARY)


def _verdict(row: Row) -> Cell:
    verdict = row.process.verdict
    if verdict is None:
        return Cell(fmt.UNKNOWN, Tone.SECONDARY, _not_judged())
    help_text = translate("Processes", "probability of mining: {0}; since {1}").format(
        fmt.probability(verdict.posterior), fmt.clock(verdict.since_unix_s)
    )
    return Cell(standing_text(verdict), STANDING_TONES[verdict.standing], help_text)


def _held(row: Row) -> Cell:
    """What is done to it, and what it gets."""
    hold = row.hold
    if hold is None:
        return Cell("")
    text = words.badge(hold, row.now_unix_s)
    if words.phase(hold, row.now_unix_s) is words.Phase.ACTS and hold.would == "throttle":
        text = translate("Processes", "{0} · gets {1}").format(text, words.efficiency(hold))
    told = "\n".join([row.hold_text, *words.facts(hold, row.now_unix_s)])
    return Cell(text, words.tone(hold, row.now_unix_s), told)


def _not_judged() -> str:
    return translate("Processes", "not known: it did no work on a GPU yet, or was not looked into")


def _posterior(row: Row) -> float | None:
    return None if row.process.verdict is None else row.process.verdict.posterior


def _number(reading: Reading) -> float | None:
    return None if isinstance(reading, Unavailable) else reading


def _kind(row: Row) -> str:
    return translate("ProcessKinds", _KINDS[row.process.kind])


COLUMNS: tuple[Column, ...] = (
    Column(
        QT_TRANSLATE_NOOP("Processes", "Name"), 136,
        lambda row: Cell(row.process.name),
        lambda row: row.process.name.casefold(),
    ),
    Column(
        QT_TRANSLATE_NOOP("Processes", "Held"), 212,
        _held, lambda row: None if row.hold is None else float(row.hold.cap_percent),
    ),
    Column(
        QT_TRANSLATE_NOOP("Processes", "PID"), 62,
        lambda row: Cell(str(row.process.pid), Tone.SECONDARY, is_number=True),
        lambda row: float(row.process.pid), is_number=True,
    ),
    Column(
        QT_TRANSLATE_NOOP("Processes", "User"), 70,
        _user, lambda row: row.process.user,
    ),
    Column(
        QT_TRANSLATE_NOOP("Processes", "GPU"), 148,
        _gpu,
        lambda row: row.gpu_name,
    ),
    Column(
        QT_TRANSLATE_NOOP("Processes", "Type"), 80,
        lambda row: Cell(_kind(row), Tone.SECONDARY), _kind,
    ),
    Column(
        QT_TRANSLATE_NOOP("Processes", "Class"), 82,
        _class,
        lambda row: None if row.process.verdict is None else class_text(row.process.verdict),
    ),
    Column(
        QT_TRANSLATE_NOOP("Processes", "Verdict"), 84,
        _verdict, _posterior,
    ),
    Column(
        QT_TRANSLATE_NOOP("Processes", "GPU use"), 84,
        _utilization, lambda row: _number(row.process.utilization_percent), is_number=True,
    ),
    Column(
        QT_TRANSLATE_NOOP("Processes", "Memory"), 80,
        lambda row: _reading_cell(
            row.process.memory_used_bytes, lambda value: str(fmt.memory_of_process(value))
        ),
        lambda row: _number(row.process.memory_used_bytes), is_number=True,
    ),
    Column(
        QT_TRANSLATE_NOOP("Processes", "Running since"), 104,
        _since, lambda row: row.process.started_unix_s, is_number=False,
    ),
    Column(
        QT_TRANSLATE_NOOP("Processes", "Engines"), 0,
        _engines, lambda row: max(row.process.engines.values(), default=None), is_number=False,
    ),
)  # fmt: skip
"""From left to right."""

HELD = next(i for i, column in enumerate(COLUMNS) if column.title == "Held")
"""Only there while somebody is held."""

SORTED_FIRST = next(i for i, column in enumerate(COLUMNS) if column.title == "GPU use")
