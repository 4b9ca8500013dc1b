"""What a run has done so far, as arithmetic; the clock is passed in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from gpupanel.model.roofline import Limit
from gpupanel.model.workload import Finished, Progress, Run

STABILITY_INTERVAL_S = 5.0
"""Long enough that one stall of the machine does not decide, short enough to see a card sag."""

MOST_FAULTS = 16
"""So many are told in words; all are counted."""


@dataclass(slots=True)
class _Mark:
    """Where the totals stood at one instant."""

    time_s: float
    work: float = 0.0
    device_s: float = 0.0


class Meter:
    """Adds up work, device time and wall time of one run.

    The uncapped rate is work over device time: what the device does while it is allowed to work.
    Efficiency is the rate over wall time as a percentage of that.

    Attributes:
        verified: Comparisons with the oracle so far.
        errors: Those that failed.
        limit: The most that the device could do; None if not measured.
        readings: The latest of what the load tells beside its rate.
    """

    def __init__(self, run: Run, unit: str, now_s: float) -> None:
        self.verified = 0
        self.errors = 0
        self.limit: Limit | None = None
        self.readings: Mapping[str, float] = {}
        self._faults: list[str] = []
        self._interval = _Mark(now_s)
        self._interval_rates: list[float] = []
        self._run = run
        self._unit = unit
        self._start_s = now_s
        self._last_report = _Mark(now_s)
        self._work = 0.0
        self._device_s = 0.0

    def add(self, work: float, device_s: float) -> None:
        """One chunk is done; it kept the device busy for ``device_s``."""
        self._work += work
        self._device_s += device_s

    def check(self, faults: Iterable[str | None]) -> None:
        """Comparisons with the oracle: what each found wrong, None where it agreed."""
        for fault in faults:
            self.verified += 1
            if fault is not None:
                self.errors += 1
                self._faults.append(fault)
        del self._faults[MOST_FAULTS:]

    def elapsed_s(self, now_s: float) -> float:
        """Wall time since measuring began."""
        return now_s - self._start_s

    def progress(self, now_s: float) -> Progress:
        """The event for the time since the last call."""
        last, self._last_report = self._last_report, self._mark(now_s)
        self._close_interval(now_s)
        return Progress(
            workload=self._run.workload,
            gpu=self._run.gpu,
            seconds=self.elapsed_s(now_s),
            work=self._work,
            work_per_s=_rate(self._work - last.work, now_s - last.time_s),
            uncapped_work_per_s=_rate(self._work - last.work, self._device_s - last.device_s),
            unit=self._unit,
            verified=self.verified,
            errors=self.errors,
            faults=tuple(self._faults),
            readings=self.readings,
        )

    def finished(self, now_s: float, cap_percent: int, stop_reason: str) -> Finished:
        """The last event of the run."""
        work_per_s = _rate(self._work, self.elapsed_s(now_s))
        uncapped_work_per_s = _rate(self._work, self._device_s)
        return Finished(
            workload=self._run.workload,
            gpu=self._run.gpu,
            seconds=self.elapsed_s(now_s),
            work=self._work,
            work_per_s=work_per_s,
            unit=self._unit,
            limit_per_s=self.limit.per_s if self.limit else None,
            limit_share=uncapped_work_per_s / self.limit.per_s if self.limit else None,
            verified=self.verified > 0 and self.errors == 0 and self._work > 0,
            errors=self.errors,
            checks=self.verified,
            cap_percent=cap_percent,
            uncapped_work_per_s=uncapped_work_per_s,
            efficiency_percent=100 * _rate(work_per_s, uncapped_work_per_s),
            energy_j=None,
            stop_reason=stop_reason,
            limited_by=self.limit.ceiling.value if self.limit else None,
            stability_percent=self._stability_percent(),
            faults=tuple(self._faults),
            readings=self.readings,
        )

    def _mark(self, now_s: float) -> _Mark:
        return _Mark(now_s, self._work, self._device_s)

    def _close_interval(self, now_s: float) -> None:
        since = self._interval
        if now_s - since.time_s < STABILITY_INTERVAL_S or self._device_s == since.device_s:
            return
        rate = _rate(self._work - since.work, self._device_s - since.device_s)
        self._interval_rates.append(rate)
        self._interval = self._mark(now_s)

    def _stability_percent(self) -> float | None:
        """Worst over best interval; one interval alone says nothing."""
        if len(self._interval_rates) < 2 or max(self._interval_rates) == 0:
            return None
        return 100 * min(self._interval_rates) / max(self._interval_rates)


def _rate(amount: float, per: float) -> float:
    """0 before anything happened: a rate over no time is no work, not a fault."""
    return amount / per if per > 0 else 0.0
