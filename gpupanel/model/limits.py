"""LIMITS, the one table of what can hold a GPU's clocks down.

Every vendor's bits map to these few words, so that a person can compare cards and the ledger can
add up time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gpupanel.model.metrics import QT_TRANSLATE_NOOP


@dataclass(frozen=True, slots=True)
class Limit:
    """One reason.

    Attributes:
        name: Stable, for programs.
        is_fault: Whether a person should look into it: heat and lack of power, as against rest
            and settings.
    """

    name: str
    label: str
    help: str
    is_fault: bool = False


LIMITS: tuple[Limit, ...] = (
    Limit(
        "power_cap",
        QT_TRANSLATE_NOOP("Limits", "Power limit"),
        QT_TRANSLATE_NOOP("Limits", "The board draws what its power limit allows."),
    ),
    Limit(
        "thermal",
        QT_TRANSLATE_NOOP("Limits", "Temperature"),
        QT_TRANSLATE_NOOP("Limits", "The chip or its memory is as hot as it may be."),
        is_fault=True,
    ),
    Limit(
        "current",
        QT_TRANSLATE_NOOP("Limits", "Current"),
        QT_TRANSLATE_NOOP("Limits", "The regulators give what they can."),
    ),
    Limit(
        "voltage",
        QT_TRANSLATE_NOOP("Limits", "Voltage"),
        QT_TRANSLATE_NOOP("Limits", "The chip is at its highest safe voltage."),
    ),
    Limit(
        "hardware_slowdown",
        QT_TRANSLATE_NOOP("Limits", "Hardware slowdown"),
        QT_TRANSLATE_NOOP("Limits", "The card protects itself: heat, or too little power."),
        is_fault=True,
    ),
    Limit(
        "power_brake",
        QT_TRANSLATE_NOOP("Limits", "Power brake"),
        QT_TRANSLATE_NOOP("Limits", "The system's power supply asked the card to slow down."),
        is_fault=True,
    ),
    Limit(
        "clock_setting",
        QT_TRANSLATE_NOOP("Limits", "Clock setting"),
        QT_TRANSLATE_NOOP("Limits", "Somebody set a lower clock."),
    ),
    Limit(
        "sync_boost",
        QT_TRANSLATE_NOOP("Limits", "Sync boost"),
        QT_TRANSLATE_NOOP("Limits", "The card keeps in step with others."),
    ),
    Limit(
        "display",
        QT_TRANSLATE_NOOP("Limits", "Display clock"),
        QT_TRANSLATE_NOOP("Limits", "The display sets the clock."),
    ),
    Limit(
        "idle",
        QT_TRANSLATE_NOOP("Limits", "Idle"),
        QT_TRANSLATE_NOOP("Limits", "There is nothing to do."),
    ),
    Limit(
        "other",
        QT_TRANSLATE_NOOP("Limits", "Other"),
        QT_TRANSLATE_NOOP("Limits", "A reason that only the vendor's tools name."),
    ),
)

LIMIT_BY_NAME: Mapping[str, Limit] = {limit.name: limit for limit in LIMITS}
