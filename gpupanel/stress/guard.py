"""When a run has to stop for the card's sake: arithmetic on samples, clock passed in.

The parent feeds it, so that a hung worker cannot blind it.
"""

from __future__ import annotations

from collections.abc import Mapping

from gpupanel.model.gpu import GpuKind, Sample, Unavailable

TEMPERATURE_LIMITS_C: Mapping[GpuKind, Mapping[str, float]] = {
    GpuKind.GPU: {
        "temperature_gpu_c": 90.0,
        "temperature_hotspot_c": 105.0,
        "temperature_memory_c": 105.0,
    },
    GpuKind.CPU: {"temperature_gpu_c": 95.0},
}
"""Below where cards and processors slow themselves down in the worst case."""

SLOWDOWN_MARGIN_C = 3.0
"""A card that states where it slows down is stopped this far below."""

POWER_OVERSHOOT = 1.15
"""Over the enforced limit by more than regulation explains."""

FAN_NEEDED_C = 75.0
"""Cards that rest their fans start them at 50 to 65 degrees."""

HOLD_S = 2.0
"""Too much power, or a fan that stands, counts after this long."""

SENSOR_LOST_S = 3.0
"""A temperature that was there and is gone for this long, for whatever reason, stops the run."""


class Guard:
    """Watches one run's samples and power.

    Attributes:
        energy_j: Power integrated over the run so far; None until two power readings came.
        limits_c: Temperatures at which the run stops, by metric.
    """

    def __init__(
        self, kind: GpuKind, stated: Mapping[str, float] | None = None, limit_c: float | None = None
    ) -> None:
        """Begin without having seen anything.

        Args:
            kind: Of the GPU.
            stated: Limits that the GPU itself states, as in GpuInfo.
            limit_c: The chip's own limit where policy sets a lower one.
        """
        self.energy_j: float | None = None
        self.limits_c = {
            key: min(bound, (stated or {}).get(key, bound + SLOWDOWN_MARGIN_C) - SLOWDOWN_MARGIN_C)
            for key, bound in TEMPERATURE_LIMITS_C[kind].items()
        }
        if limit_c is not None:
            own = self.limits_c["temperature_gpu_c"]
            self.limits_c["temperature_gpu_c"] = min(own, limit_c)
        self._seen_s: dict[str, float] = {}
        self._too_hot = False
        self._since_s: dict[str, float | None] = {"power": None, "fan": None}
        self._last_power: tuple[float, float] | None = None

    def observe(self, sample: Sample, now_s: float) -> None:
        """Take note of one sample of the run's GPU."""
        self._integrate_power(sample, now_s)
        for key, limit_c in self.limits_c.items():
            temperature_c = _value(sample, key)
            if temperature_c is not None:
                self._seen_s[key] = now_s
                self._too_hot = self._too_hot or temperature_c >= limit_c
        self._note("power", _overshoots(sample), now_s)
        self._note("fan", _fan_stands(sample), now_s)

    def reason_to_stop(self, now_s: float) -> str | None:
        """Why the run has to stop now; None while all is well.

        A card without a temperature sensor is only bounded by time: the sensor cannot get lost.
        """
        if self._too_hot:
            return "temperature"
        for reason, since_s in self._since_s.items():
            if since_s is not None and now_s - since_s >= HOLD_S:
                return reason
        if any(now_s - seen_s > SENSOR_LOST_S for seen_s in self._seen_s.values()):
            return "sensor_lost"
        return None

    def _note(self, reason: str, is_so: bool, now_s: float) -> None:
        """Remember since when it has been so without a break."""
        if not is_so:
            self._since_s[reason] = None
        elif self._since_s[reason] is None:
            self._since_s[reason] = now_s

    def _integrate_power(self, sample: Sample, now_s: float) -> None:
        """Trapezoids between neighbouring readings; a gap adds nothing."""
        power_w = _value(sample, "power_draw_w")
        if power_w is None:
            self._last_power = None
            return
        if self._last_power is not None:
            last_s, last_w = self._last_power
            self.energy_j = (self.energy_j or 0.0) + (now_s - last_s) * (last_w + power_w) / 2
        self._last_power = (now_s, power_w)


def _value(sample: Sample, key: str) -> float | None:
    reading = sample.readings.get(key, Unavailable("not sampled"))
    return None if isinstance(reading, Unavailable) else reading


def _overshoots(sample: Sample) -> bool:
    power_w, limit_w = _value(sample, "power_draw_w"), _value(sample, "power_limit_w")
    return power_w is not None and limit_w is not None and power_w > POWER_OVERSHOOT * limit_w > 0


def _fan_stands(sample: Sample) -> bool:
    """A fan that says 0 while the chip is hot; a card that tells of no fan has none to stand."""
    temperature_c = _value(sample, "temperature_gpu_c")
    speeds = [_value(sample, key) for key in ("fan_speed_percent", "fan_speed_rpm")]
    told = [speed for speed in speeds if speed is not None]
    return bool(told) and max(told) == 0 and (temperature_c or 0.0) >= FAN_NEEDED_C
