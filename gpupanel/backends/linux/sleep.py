"""Whether a GPU sleeps, from files that do not wake it.

The category's chronic fault: a monitor that asks a sleeping laptop GPU how warm it is keeps it at
15 W. Every backend asks its gate before it asks its driver, and leaves a sleeping GPU alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from gpupanel.backends.base import unavailable_sample
from gpupanel.model.gpu import GpuId, GpuState, Sample

PCI_DEVICES = Path("/sys/bus/pci/devices")

ASLEEP_REASON = "asleep"

_ASLEEP = {"suspended", "suspending"}


class SleepGate:
    """The power state of one PCI device on Linux; open where there is no such file.

    Attributes:
        wakes: How often the GPU has woken up since the gate was made.
    """

    def __init__(self, device_dir: Path, clock_unix_s: Callable[[], float] = time.time) -> None:
        """Watch one device.

        Args:
            device_dir: The PCI device in sysfs: ``/sys/bus/pci/devices/0000:01:00.0``.
            clock_unix_s: For "asleep since".
        """
        self.wakes = 0
        self._status_file = device_dir / "power" / "runtime_status"
        self._control_file = device_dir / "power" / "control"
        self._clock_unix_s = clock_unix_s
        self._asleep_since_unix_s: float | None = None

    def is_asleep(self) -> bool:
        """Read the power state; nothing else may be read of the GPU while this is True."""
        asleep = _text(self._status_file) in _ASLEEP
        if asleep and self._asleep_since_unix_s is None:
            self._asleep_since_unix_s = self._clock_unix_s()
        elif not asleep and self._asleep_since_unix_s is not None:
            self._asleep_since_unix_s = None
            self.wakes += 1
        return asleep

    def can_sleep(self) -> bool:
        """Whether the kernel may power it down when nobody uses it: let go of idle handles then."""
        return _text(self._control_file) == "auto"

    def asleep_sample(self, gpu_id: GpuId) -> Sample:
        """What to report of a sleeping GPU."""
        sample = unavailable_sample(gpu_id, ASLEEP_REASON, GpuState.ASLEEP)
        return replace(sample, state_since_unix_s=self._asleep_since_unix_s)


def _text(file: Path) -> str:
    """Empty where the kernel has no such file: a GPU that cannot sleep is awake."""
    try:
        return file.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""
