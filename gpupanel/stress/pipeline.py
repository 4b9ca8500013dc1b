"""Keeps a device busy with launches of a tuned length, as hard as it is told. Worker only."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from gpupanel.model.errors import WorkloadError
from gpupanel.policy.limiter import Limiter
from gpupanel.stress.orders import Orders

if TYPE_CHECKING:
    from gpupanel.stress.workload import Chunk, Workload

CHUNK_LIMIT_S = 0.25
"""Never near Windows' two seconds after which it resets a GPU."""

TUNING_TRIES = 3
CHUNKS_IN_FLIGHT = 3
"""One runs; the others keep the device busy while the host verifies."""

CAP_WINDOW_S = 0.4
"""One burst and its rest: several chunks long, and short beside the second of a report."""

TICK_S = 1.0
WAKE_INTERVAL_S = 0.1
"""The loop looks for itself this often, should a driver forget to call back."""


class Pipeline:
    """The launches of one load.

    Attributes:
        step_s: Device seconds of the load's smallest launch; follows the clocks while it runs.
    """

    def __init__(self, workload: Workload, orders: Orders, target_s: float) -> None:
        """``target_s``: device seconds that one launch should take."""
        self.step_s = 0.0
        self._target_s = target_s
        self._workload = workload
        self._orders = orders
        self._in_flight: deque[tuple[int, Chunk]] = deque()

    @property
    def chunk_s(self) -> float:
        """Device seconds of one launch as it is tuned now."""
        return self._steps() * self.step_s

    def tune(self) -> None:
        """Find the length of a launch: they double until they are long enough.

        Raises:
            WorkloadError: The smallest one is too long to stay responsive.
        """
        self._timed(1)  # the first launch may compile
        steps, seconds = 1, self._timed(1)
        if seconds > CHUNK_LIMIT_S:  # once more: a busy machine stalls now and then
            seconds = min(self._timed(1) for _ in range(TUNING_TRIES))
        if seconds > CHUNK_LIMIT_S:
            raise WorkloadError(
                f"the smallest launch of this load takes {seconds:.2f} s on this device, "
                "too long to stay responsive: choose smaller knobs"
            )
        while seconds < self._target_s / 2:
            steps *= 2
            seconds = self._timed(steps)
        self.step_s = seconds / steps

    def run(
        self,
        seconds: float,
        percent_at: Callable[[float], int],
        on_done: Callable[[Chunk, float], None],
        on_tick: Callable[[float], None],
    ) -> None:
        """Launch until the time is over or the parent wants an end, then wait for what is left.

        Args:
            seconds: How long.
            percent_at: The share of the device's time to use, by seconds since the start.
            on_done: Told each chunk that is done and its device seconds.
            on_tick: Called about once a second with the monotonic clock.
        """
        start_s = now_s = time.monotonic()
        next_tick_s, deadline_s = start_s + TICK_S, start_s + seconds
        limiter = Limiter(percent_at(0.0), CAP_WINDOW_S)
        while now_s < deadline_s and not self._orders.stop_reason:
            percent = percent_at(now_s - start_s)
            if limiter.cap_percent != percent:
                limiter.set_cap(percent, now_s)
            hold_s = limiter.wait_s(now_s)
            if hold_s == 0 and len(self._in_flight) < CHUNKS_IN_FLIGHT:
                self._launch()
            elif self._in_flight:
                self._settle(limiter, on_done)
            else:
                self._orders.wait(min(hold_s, deadline_s - now_s, next_tick_s - now_s))
            now_s = time.monotonic()
            if now_s >= next_tick_s:
                on_tick(now_s)
                next_tick_s += TICK_S
                now_s = time.monotonic()
        while self._in_flight and not self._orders.stop_reason:
            self._settle(limiter, on_done)

    def _timed(self, steps: int) -> float:
        """Device seconds of one launch, waited for."""
        chunk = self._workload.launch(steps)
        chunk.last.wait()
        self._workload.complete(chunk)
        return device_seconds(chunk)

    def _steps(self) -> int:
        return max(1, round(self._target_s / self.step_s))

    def _launch(self) -> None:
        """The next chunk, which wakes the loop when it is done: some drivers' waits burn a core."""
        import pyopencl as cl

        steps = self._steps()
        chunk = self._workload.launch(steps)
        complete = cl.command_execution_status.COMPLETE
        chunk.last.set_callback(complete, lambda status: self._orders.wake())
        self._in_flight.append((steps, chunk))

    def _settle(self, limiter: Limiter, on_done: Callable[[Chunk, float], None]) -> None:
        """Wait for the oldest chunk and account for it."""
        steps, chunk = self._in_flight[0]
        while not is_complete(chunk):
            if self._orders.stop_reason:
                return
            self._orders.wait(WAKE_INTERVAL_S)
        self._in_flight.popleft()
        seconds = device_seconds(chunk)
        limiter.charge(seconds, time.monotonic())
        self.step_s += 0.2 * (seconds / steps - self.step_s)  # clocks change while it runs
        self._workload.complete(chunk)
        on_done(chunk, seconds)


def is_complete(chunk: Chunk) -> bool:
    """Whether the device is done with it.

    Raises:
        WorkloadError: The device gave up on it.
    """
    import pyopencl as cl

    status: int = chunk.last.command_execution_status
    if status < 0:
        raise WorkloadError(f"the device ended a launch with OpenCL error {status}")
    return bool(status == cl.command_execution_status.COMPLETE)


def device_seconds(chunk: Chunk) -> float:
    """How long a finished chunk kept the device busy, from its events' own clock."""
    nanoseconds: int = chunk.last.profile.end - chunk.first.profile.start
    return max(0, nanoseconds) * 1e-9  # some drivers' clocks step back at times
