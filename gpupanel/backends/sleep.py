"""The gate that every backend asks before it asks its driver, and that says who woke a GPU.

The category's chronic fault: a monitor that asks a sleeping laptop GPU how warm it is keeps it at
15 W. A sleeping GPU is left alone, and that it was is counted and can be checked.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Protocol, runtime_checkable

from gpupanel.backends.base import unavailable_sample
from gpupanel.model.gpu import GpuId, GpuState, Sample
from gpupanel.model.sleep import SleepRecord

ASLEEP_REASON = "asleep"


class Power(Protocol):
    """What the system notes of one GPU's power; asking it is no access to the GPU."""

    def is_asleep(self) -> bool:
        """Whether it is powered down, or on its way; False where the system does not tell."""

    def can_sleep(self) -> bool:
        """Whether the system may power it down when nobody uses it."""

    def asleep_share(self) -> float | None:
        """Of the time since its driver was loaded, 0 to 1; None where nobody counts."""


class SleepGate:
    """One GPU's power state, and its history since the gate was made.

    A wake-up is ours when the GPU slept as our calls of drivers began and is awake when they end:
    those calls went to other GPUs or to a library, and must not have touched this one.
    """

    def __init__(self, power: Power, clock_unix_s: Callable[[], float] = time.time) -> None:
        self._power = power
        self._clock_unix_s = clock_unix_s
        self._asleep_since_unix_s: float | None = None
        self._slept_as_calls_began = False
        self._wakes = 0
        self._wakes_by_us = 0

    def is_asleep(self) -> bool:
        """Read the power state; nothing else may be asked of the GPU while this is True."""
        asleep = self._power.is_asleep()
        if asleep and self._asleep_since_unix_s is None:
            self._asleep_since_unix_s = self._clock_unix_s()
        elif not asleep and self._asleep_since_unix_s is not None:
            self._asleep_since_unix_s = None
            self._wakes += 1
            self._wakes_by_us += self._slept_as_calls_began
        self._slept_as_calls_began = asleep
        return asleep

    def calls_ended(self) -> None:
        """No driver is being called any more: whoever wakes the GPU from now on, it is not us."""
        if self._slept_as_calls_began:
            self.is_asleep()
        self._slept_as_calls_began = False

    def can_sleep(self) -> bool:
        """Whether idle handles should be let go of."""
        return self._power.can_sleep()

    def asleep_sample(self, gpu_id: GpuId) -> Sample:
        """What to report of a sleeping GPU."""
        sample = unavailable_sample(gpu_id, ASLEEP_REASON, GpuState.ASLEEP)
        return replace(sample, state_since_unix_s=self._asleep_since_unix_s)

    def record(self) -> SleepRecord:
        """What is known of the GPU's sleep."""
        return SleepRecord(
            can_sleep=self._power.can_sleep(),
            asleep_since_unix_s=self._asleep_since_unix_s,
            wakes=self._wakes,
            wakes_by_us=self._wakes_by_us,
            asleep_share=self._power.asleep_share(),
        )


@runtime_checkable
class Sleepers(Protocol):
    """A backend whose GPUs may sleep."""

    def gates(self) -> Mapping[str, SleepGate]:
        """By GPU id; by ``pci:<address>`` where the GPU slept so far and its id is not known."""
