"""Package power of the processor: the kernel's RAPL energy counters, differentiated."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gpupanel.backends.base import checked
from gpupanel.backends.linux.sysfs import read_number, read_text, unreadable
from gpupanel.model.gpu import Reading, Unavailable
from gpupanel.model.metrics import METRIC_BY_KEY

_NO_COUNTER = Unavailable("the kernel has no energy counter for this processor (intel-rapl)")
_MOST_W = METRIC_BY_KEY["power_draw_w"].high


@dataclass(frozen=True, slots=True)
class _Zone:
    """One processor package.

    Attributes:
        range_uj: The counter starts over behind this value.
    """

    folder: str
    range_uj: int


class PackagePower:
    """The power of all processor packages of this machine together."""

    def __init__(self, root: Path, clock_s: Callable[[], float], least_span_s: float) -> None:
        self._clock_s = clock_s
        self._least_span_s = least_span_s
        self._zones = _packages(root / "sys/class/powercap")
        self._since: tuple[float, tuple[int, ...]] | None = None

    def draw_w(self) -> Reading:
        """Mean power since the last call that gave a number; the first call starts measuring."""
        if not self._zones:
            return _NO_COUNTER
        now_s = self._clock_s()
        try:
            energies_uj = tuple(read_number(f"{zone.folder}/energy_uj") for zone in self._zones)
        except (OSError, ValueError) as error:
            self._since = None
            return unreadable(error, f"{self._zones[0].folder}/energy_uj")
        if self._since is None:
            self._since = (now_s, energies_uj)
            return Unavailable("measuring")
        span_s = now_s - self._since[0]
        if span_s < self._least_span_s:
            return Unavailable("measuring")
        before_uj, self._since = self._since[1], (now_s, energies_uj)
        return self._mean_w(span_s, before_uj, energies_uj)

    def limit_w(self) -> Reading:
        """The long-term limit that the kernel enforces now."""
        return self._sum_w("constraint_0_power_limit_uw")

    def limit_most_w(self) -> float | None:
        """The greatest limit that the packages accept, or None where they do not tell."""
        most_w = self._sum_w("constraint_0_max_power_uw")
        return None if isinstance(most_w, Unavailable) or most_w <= 0 else most_w

    def _mean_w(
        self, span_s: float, before_uj: tuple[int, ...], after_uj: tuple[int, ...]
    ) -> Reading:
        # After a long sleep a counter may have started over more than once.
        if span_s * _MOST_W * 1e6 > min(zone.range_uj for zone in self._zones):
            return Unavailable("measuring")
        spent_uj = sum(
            (after - before) % (zone.range_uj + 1)
            for zone, before, after in zip(self._zones, before_uj, after_uj, strict=True)
        )
        return checked("power_draw_w", spent_uj / 1e6 / span_s)

    def _sum_w(self, file: str) -> Reading:
        if not self._zones:
            return _NO_COUNTER
        try:
            return checked(
                "power_limit_w",
                sum(read_number(f"{zone.folder}/{file}") for zone in self._zones) / 1e6,
            )
        except (OSError, ValueError) as error:
            return unreadable(error, f"{self._zones[0].folder}/{file}")


def _packages(powercap: Path) -> tuple[_Zone, ...]:
    """The zones that are whole packages: not their cores, not psys, not the same by MMIO."""
    zones = []
    for folder in sorted(powercap.glob("intel-rapl:*")):
        try:
            if read_text(f"{folder}/name").startswith("package"):
                zones.append(_Zone(str(folder), read_number(f"{folder}/max_energy_range_uj")))
        except (OSError, ValueError):
            continue  # a zone that does not say what it is cannot be added up
    return tuple(zones)
