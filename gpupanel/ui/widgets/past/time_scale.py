"""One axis of time for everything on the History page: where a moment lies, and what to write."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from gpupanel.ui import format as fmt

LEFT_PX, RIGHT_PX = 68, 12
_LABEL_PX = 76
_MINUTE_S, _HOUR_S, _DAY_S = 60, 3600, 86400
_STEPS_S = (
    *(_MINUTE_S * number for number in (1, 2, 5, 10, 15, 30)),
    *(_HOUR_S * number for number in (1, 2, 3, 6, 12)),
    *(_DAY_S * number for number in (1, 2, 7, 14, 28)),
)


@dataclass(frozen=True, slots=True)
class TimeScale:
    """A span of the wall clock across the width of a widget."""

    since_s: float
    until_s: float
    width_px: float

    def x(self, time_s: float) -> float:
        """Where ``time_s`` lies, from the widget's left edge."""
        room = max(self.width_px - LEFT_PX - RIGHT_PX, 1.0)
        return LEFT_PX + (time_s - self.since_s) / (self.until_s - self.since_s) * room

    def time_s(self, x: float) -> float:
        """Inverse of ``x``, kept within the span."""
        room = max(self.width_px - LEFT_PX - RIGHT_PX, 1.0)
        share = min(max((x - LEFT_PX) / room, 0.0), 1.0)
        return self.since_s + share * (self.until_s - self.since_s)

    def ticks(self) -> Iterator[tuple[float, str]]:
        """Round times of the reader's clock, with what to write below them."""
        room = max(self.width_px - LEFT_PX - RIGHT_PX, 1.0)
        span_s = self.until_s - self.since_s
        fitting = (one for one in _STEPS_S if span_s / one * _LABEL_PX <= room)
        step_s = next(fitting, _STEPS_S[-1])
        moment = datetime.fromtimestamp(self.since_s).replace(hour=0, minute=0, second=0)
        if step_s >= _DAY_S:
            # Days by their number: steps through midnights stay true when clocks are changed.
            moment -= timedelta(days=moment.toordinal() % (step_s // _DAY_S))
        while (time_s := moment.replace(microsecond=0).timestamp()) <= self.until_s:
            if time_s >= self.since_s:
                yield time_s, self._label(moment, time_s, step_s)
            moment += timedelta(seconds=step_s)

    @staticmethod
    def _label(moment: datetime, time_s: float, step_s: int) -> str:
        if step_s >= 2 * _DAY_S:
            return fmt.day(time_s)
        at_midnight = (moment.hour, moment.minute) == (0, 0)
        return fmt.weekday(time_s) if at_midnight else fmt.time_of_day(time_s)
