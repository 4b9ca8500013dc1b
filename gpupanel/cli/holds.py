"""Holds as gpupanelctl prints them; no noun of its own, but part of two."""

from __future__ import annotations

from collections.abc import Sequence
from time import time

from gpupanel.cli.text import columns
from gpupanel.model.gpu import Unavailable
from gpupanel.model.hold import Hold
from gpupanel.policy.faults import printable

_HEADING = ("PROGRAM", "PID", "PROCESSES", "USER", "ACTION", "CAP", "GETS", "HELD BY")
_UNKNOWN = "–"


def action_text(hold: Hold, now_s: float) -> str:
    """What is done, or would be, or begins when."""
    if hold.action == "observe":
        return f"would {hold.would}"
    if now_s < hold.acts_unix_s:
        return f"{hold.action} in {hold.acts_unix_s - now_s:.0f} s"
    if hold.problem or (hold.action != "notify" and not hold.means):
        return f"{hold.action}, not in force"
    return hold.action


def short_text(hold: Hold, now_s: float) -> str:
    """The same in one cell, with the cap and what came of it."""
    text = action_text(hold, now_s)
    if hold.action != "throttle":
        return text
    return f"{text}, {gets_text(hold)} of {hold.cap_percent} %"


def gets_text(hold: Hold) -> str:
    """The measured efficiency."""
    reading = hold.efficiency_percent
    return _UNKNOWN if isinstance(reading, Unavailable) else f"{reading:.0f} %"


def holds_text(holds: Sequence[Hold]) -> str:
    """A table, and below it why each is held."""
    now_s = time()
    rows = [
        (
            printable(hold.name),
            str(hold.pid),
            str(hold.processes),
            printable(hold.user or _UNKNOWN),
            action_text(hold, now_s),
            f"{hold.cap_percent} %",
            gets_text(hold),
            printable(hold.means or _UNKNOWN),
        )
        for hold in holds
    ]
    reasons = [
        f"{printable(hold.name)} ({hold.pid}): {printable(text)}"
        for hold in holds
        for text in (hold.reason, hold.problem)
        if text
    ]
    return "\n".join([columns([_HEADING, *rows]), *reasons])
