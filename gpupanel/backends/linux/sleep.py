"""What the Linux kernel notes of a PCI device's power, in files that do not wake it."""

from __future__ import annotations

from pathlib import Path

from gpupanel.backends.linux.sysfs import read_number, read_text

PCI_DEVICES = Path("/sys/bus/pci/devices")

_ASLEEP = {"suspended", "suspending"}

_USUAL_DELAY_MS = 5000
_MOST_DELAY_MS = 60_000


class PciPower:
    """One device; awake where there is no such file: see ``gpupanel.backends.sleep.Power``."""

    def __init__(self, device_dir: Path) -> None:
        """Watch ``device_dir``: ``/sys/bus/pci/devices/0000:01:00.0``."""
        self._device_dir = device_dir

    def is_asleep(self) -> bool:
        """Reads ``power/runtime_status``."""
        return self._text("runtime_status") in _ASLEEP

    def can_sleep(self) -> bool:
        """Reads ``power/control``."""
        return self._text("control") == "auto"

    def asleep_share(self) -> float | None:
        """From the times that the kernel has counted."""
        try:
            active_ms, suspended_ms = (
                read_number(f"{self._device_dir}/power/runtime_{state}_time")
                for state in ("active", "suspended")
            )
        except (OSError, ValueError):
            return None
        total_ms = active_ms + suspended_ms
        return suspended_ms / total_ms if active_ms >= 0 and suspended_ms >= 0 < total_ms else None

    def sleep_delay_s(self) -> float:
        """How long the kernel waits after the last use before it powers the device down."""
        try:
            delay_ms = read_number(f"{self._device_dir}/power/autosuspend_delay_ms")
        except (OSError, ValueError):
            delay_ms = _USUAL_DELAY_MS
        return min(max(delay_ms, 0), _MOST_DELAY_MS) / 1000

    def _text(self, file: str) -> str:
        """Empty where the kernel has no such file."""
        try:
            return read_text(f"{self._device_dir}/power/{file}")
        except OSError:
            return ""
