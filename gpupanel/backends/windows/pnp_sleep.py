"""Whether a GPU sleeps, on Windows: the SleepGate of Plug and Play.

The configuration manager remembers the last power state that it gave a device; asking for it
is no access to the device.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from gpupanel.backends.base import unavailable_sample
from gpupanel.backends.linux.sleep import ASLEEP_REASON
from gpupanel.model.gpu import GpuId, GpuState, Sample

_D0 = 1
"""DEVICE_POWER_STATE: working; 4 is D3, and between them no GPU works either."""


class PnpGate:
    """The power state of one device; open where Windows has no record of it.

    Attributes:
        wakes: How often the GPU has woken up since the gate was made.
    """

    def __init__(self, state: Callable[[], int | None], clock_unix_s: Callable[[], float]) -> None:
        self.wakes = 0
        self._state = state
        self._clock_unix_s = clock_unix_s
        self._asleep_since_unix_s: float | None = None

    def is_asleep(self) -> bool:
        """Read the power state; a GPU of which Windows has none is awake."""
        asleep = (self._state() or _D0) > _D0
        if asleep and self._asleep_since_unix_s is None:
            self._asleep_since_unix_s = self._clock_unix_s()
        elif not asleep and self._asleep_since_unix_s is not None:
            self._asleep_since_unix_s = None
            self.wakes += 1
        return asleep

    def asleep_sample(self, gpu_id: GpuId) -> Sample:
        """What to report of a sleeping GPU."""
        sample = unavailable_sample(gpu_id, ASLEEP_REASON, GpuState.ASLEEP)
        return replace(sample, state_since_unix_s=self._asleep_since_unix_s)
