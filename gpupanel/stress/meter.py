"""What a run has done so far, as arithmetic; the clock is passed in."""

from __future__ import annotations

from dataclasses import dataclass

from gpupanel.model.workload import Finished, Progress, Run


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
    """

    def __init__(self, run: Run, unit: str, now_s: float) -> None:
        self.verified = 0
        self.errors = 0
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

    def elapsed_s(self, now_s: float) -> float:
        """Wall time since measuring began."""
        return now_s - self._start_s

    def progress(self, now_s: float) -> Progress:
        """The event for the time since the last call."""
        last, self._last_report = self._last_report, _Mark(now_s, self._work, self._device_s)
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
            limit_per_s=None,
            limit_share=None,
            verified=self.verified > 0 and self.errors == 0 and self._work > 0,
            errors=self.errors,
            checks=self.verified,
            cap_percent=cap_percent,
            uncapped_work_per_s=uncapped_work_per_s,
            efficiency_percent=100 * _rate(work_per_s, uncapped_work_per_s),
            energy_j=None,
            stop_reason=stop_reason,
        )


def _rate(amount: float, per: float) -> float:
    """0 before anything happened: a rate over no time is no work, not a fault."""
    return amount / per if per > 0 else 0.0
