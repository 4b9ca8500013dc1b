"""Energy from power: what a GPU took while it was watched, and what that cost.

The integral of power_draw_w, since a driver's own counter starts anew with the driver and many
have none. A time that nobody watched adds nothing: it is not guessed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from gpupanel.model.gpu import GpuId, Snapshot, Unavailable

POWER_KEY = "power_draw_w"

LONGEST_STEP_S = 5.0
"""Between two readings of one interval; the sampler's slowest pace is a second."""

J_PER_KWH = 3.6e6

ENERGY_SPAN_S = 3600
"""Energy is kept by whole hours."""


class Energy(NamedTuple):
    """What a GPU took.

    Attributes:
        measured_s: The time in which its power was known.
    """

    joules: float
    measured_s: float

    @property
    def kwh(self) -> float:
        """In the unit of bills."""
        return self.joules / J_PER_KWH

    def cost(self, price_per_kwh: float) -> float:
        """In the currency of the price."""
        return self.kwh * price_per_kwh


class EnergyMeter:
    """Turns snapshots into the energy since the one before, by the trapezoidal rule."""

    def __init__(self) -> None:
        self._last: dict[GpuId, tuple[float, float]] = {}

    def step(self, snapshot: Snapshot) -> Mapping[GpuId, Energy]:
        """What each GPU took since the last snapshot; no entry where either end is not known."""
        now_s = snapshot.time_monotonic_s
        took: dict[GpuId, Energy] = {}
        known: dict[GpuId, tuple[float, float]] = {}
        for sample in snapshot.samples:
            power_w = sample.readings.get(POWER_KEY)
            if power_w is None or isinstance(power_w, Unavailable):
                continue
            known[sample.gpu_id] = now_s, power_w
            last_s, last_w = self._last.get(sample.gpu_id, (now_s, power_w))
            if 0 < now_s - last_s <= LONGEST_STEP_S:
                step_s = now_s - last_s
                took[sample.gpu_id] = Energy((last_w + power_w) / 2 * step_s, step_s)
        self._last = known
        return took
