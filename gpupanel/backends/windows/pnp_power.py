"""What Windows notes of a device's power: asking the configuration manager wakes no device."""

from __future__ import annotations

from collections.abc import Callable

_D0 = 1
"""DEVICE_POWER_STATE: working; 4 is D3, and between them no GPU works either."""


class PnpPower:
    """One device; awake where Windows has no record: see ``gpupanel.backends.sleep.Power``."""

    def __init__(self, state: Callable[[], int | None]) -> None:
        self._state = state

    def is_asleep(self) -> bool:
        """Reads the power state that the device was given last."""
        return (self._state() or _D0) > _D0

    def can_sleep(self) -> bool:
        """Whether there is a record of it; whether Windows makes use of it, nobody tells."""
        return self._state() is not None

    def asleep_share(self) -> None:
        """Windows does not count."""
        return
