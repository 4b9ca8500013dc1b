"""Pauses in which an idle GPU is not read, because every read starts its way to sleep over."""

from __future__ import annotations

from pathlib import Path

from gpupanel.backends.linux.sleep import SleepGate
from gpupanel.backends.linux.sysfs import read_number, read_text
from gpupanel.model.gpu import Reading, Unavailable

LEFT_ALONE = "idle, and left alone so that it can fall asleep"

_IDLE_S = 60.0
_IDLE_PERCENT = 1.0
"""Idle time is counted in milliseconds, and reading it is work for some GPUs."""

_MARGIN_S = 5.0
_USUAL_DELAY_MS = 5000
_MOST_DELAY_MS = 60_000


class Rest:
    """One GPU's pauses.

    A GPU that shows a picture, or that the system keeps awake, is read all the time; so is one
    that stayed awake through a pause, until it was used again: somebody else holds it.
    """

    def __init__(self, device_dir: Path, gate: SleepGate) -> None:
        self._device_dir = device_dir
        self._gate = gate
        self._idle_since_s: float | None = None
        self._until_s: float | None = None

    def is_on(self, now_s: float) -> bool:
        """Whether the GPU is to be left alone."""
        return self._until_s is not None and now_s < self._until_s

    def end(self) -> None:
        """The GPU fell asleep, or is used."""
        self._idle_since_s = self._until_s = None

    def consider(self, now_s: float, utilization_percent: Reading) -> None:
        """Begin a pause after a time without work; an unknown utilization may be work."""
        busy = isinstance(utilization_percent, Unavailable) or utilization_percent >= _IDLE_PERCENT
        if busy or not self._gate.can_sleep() or self._shows_a_picture():
            self.end()
            return
        if self._idle_since_s is None:
            self._idle_since_s = now_s
        if self._until_s is None and now_s - self._idle_since_s >= _IDLE_S:
            self._until_s = now_s + self._delay_s() + _MARGIN_S

    def _delay_s(self) -> float:
        """How long the kernel waits after a read before it lets the GPU sleep."""
        try:
            delay_ms = read_number(f"{self._device_dir}/power/autosuspend_delay_ms")
        except (OSError, ValueError):
            delay_ms = _USUAL_DELAY_MS
        return min(max(delay_ms, 0), _MOST_DELAY_MS) / 1000

    def _shows_a_picture(self) -> bool:
        for connector in self._device_dir.glob("drm/card*/card*-*/enabled"):
            try:
                if read_text(str(connector)) == "enabled":
                    return True
            except OSError:
                continue  # unplugged while we looked
        return False
