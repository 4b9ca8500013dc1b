"""How evenly frames follow each other: times in, the figures that players compare out."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np  # noqa: TID253 - worker process only

FRAMES_KEPT = 16384
"""Figures are over this many frames; a run of minutes at any rate, and bounded memory."""

_SMOOTHING = 0.1


class Pacing:
    """Frame times, and what a few profiled frames spent their time on."""

    def __init__(self) -> None:
        """No frame yet."""
        self._times_s = np.zeros(FRAMES_KEPT)
        self._count = 0
        self._means_ms: dict[str, float] = {}

    def add(self, frame_s: float) -> None:
        """One frame was shown this long after the one before it."""
        self._times_s[self._count % FRAMES_KEPT] = frame_s
        self._count += 1

    def start_over(self) -> None:
        """Forget the frame times so far; what the parts take stays known."""
        self._count = 0

    def part(self, key: str, value: float) -> None:
        """One measurement of a part of a frame; its running mean is kept."""
        mean = self._means_ms.get(key, value)
        self._means_ms[key] = mean + _SMOOTHING * (value - mean)

    def readings(self) -> Mapping[str, float]:
        """By the keys of the catalog; empty before the first frame.

        "1 percent low" has two definitions in the field, and tools disagree: the rate of the
        frame time that 1 % of the frames exceed, and the mean rate of those slowest 1 %.
        """
        if not self._count:
            return {}
        times_s = np.sort(self._times_s[: min(self._count, FRAMES_KEPT)])
        p50_s, p99_s = np.quantile(times_s, [0.50, 0.99])
        slowest_s = times_s[-max(1, times_s.size // 100) :].mean()
        return {
            "frame_time_p50_ms": 1000.0 * float(p50_s),
            "frame_time_p99_ms": 1000.0 * float(p99_s),
            "fps_1_percent_low_percentile": 1.0 / float(p99_s),
            "fps_1_percent_low_mean": 1.0 / float(slowest_s),
            **self._means_ms,
        }
