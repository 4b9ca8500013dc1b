"""How hard a run works over its time: all the way, or in steps. Pure; the clock is passed in.

Cards that hold full load fail at half of it, where they boost to their highest clocks (OCCT calls
its own test of that adaptive).
"""

from __future__ import annotations

STEADY = "steady"
STEPS = "steps"
PROFILES = (STEADY, STEPS)

STEP_S = 2.0
STEPS_PERCENT = (20, 40, 60, 80, 100, 60, 20, 100)
"""Up slowly, down and up at once: both kinds of change upset power delivery."""

RAMP_FROM_PERCENT = 10


def load_percent(profile: str, elapsed_s: float) -> int:
    """The share of the device's time that the run may use now, 1 to 100.

    Args:
        profile: One of PROFILES.
        elapsed_s: Since measuring began.
    """
    if profile == STEADY:
        return 100
    return STEPS_PERCENT[int(elapsed_s / STEP_S) % len(STEPS_PERCENT)]


def ramp_percent(elapsed_s: float, ramp_s: float) -> int:
    """The share before measuring begins: from a tenth to all of it, evenly."""
    share = min(1.0, elapsed_s / ramp_s)
    return round(RAMP_FROM_PERCENT + share * (100 - RAMP_FROM_PERCENT))
