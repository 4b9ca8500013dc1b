"""When a run has to stop for the card's sake: arithmetic on samples, clock passed in.

The parent feeds it, so that a hung worker cannot blind it.
"""

from __future__ import annotations

from gpupanel.model.gpu import GpuKind, Sample, Unavailable

TEMPERATURE_LIMIT_C = {GpuKind.GPU: 90.0, GpuKind.CPU: 95.0}
"""Below where cards and processors slow themselves down in the worst case."""

SENSOR_LOST_S = 5.0
"""A temperature that was there and is gone for this long, for whatever reason, stops the run."""


class Guard:
    """Watches one run's samples and power.

    Attributes:
        energy_j: Power integrated over the run so far; None until two power readings came.
    """

    def __init__(self, kind: GpuKind, limit_c: float | None = None) -> None:
        self.energy_j: float | None = None
        self._limit_c = TEMPERATURE_LIMIT_C[kind] if limit_c is None else limit_c
        self._last_temperature: tuple[float, float] | None = None
        self._last_power: tuple[float, float] | None = None

    def observe(self, sample: Sample, now_s: float) -> None:
        """Take note of one sample of the run's GPU."""
        self._integrate_power(sample, now_s)
        temperature_c = sample.readings.get("temperature_gpu_c", Unavailable("not sampled"))
        if not isinstance(temperature_c, Unavailable):
            self._last_temperature = (now_s, temperature_c)

    def reason_to_stop(self, now_s: float) -> str | None:
        """Why the run has to stop now; None while all is well.

        A card without a temperature sensor is only bounded by time: the sensor cannot get lost.
        """
        if self._last_temperature is None:
            return None
        last_s, temperature_c = self._last_temperature
        if temperature_c >= self._limit_c:
            return "temperature"
        return "sensor_lost" if now_s - last_s > SENSOR_LOST_S else None

    def _integrate_power(self, sample: Sample, now_s: float) -> None:
        """Trapezoids between neighbouring readings; a gap adds nothing."""
        power_w = sample.readings.get("power_draw_w", Unavailable("not sampled"))
        if isinstance(power_w, Unavailable):
            self._last_power = None
            return
        if self._last_power is not None:
            last_s, last_w = self._last_power
            self.energy_j = (self.energy_j or 0.0) + (now_s - last_s) * (last_w + power_w) / 2
        self._last_power = (now_s, power_w)
