"""Whoever started the service and watches over it: systemd, or Windows' service control manager."""

from __future__ import annotations

from enum import Enum, auto
from typing import Protocol


class Order(Enum):
    """What it may want of the service."""

    STOP = auto()
    READ_POLICY = auto()


class Overseer(Protocol):
    """What it is told."""

    @property
    def watchdog_s(self) -> float | None:
        """It wants a sign of life within this time; None if it wants none."""

    def ready(self, text: str) -> None:
        """Everything serves, and as what; also the end of ``reloading``."""

    def reloading(self) -> None:
        """The policy is being read anew."""

    def stopping(self) -> None:
        """The end was asked for, or is near."""

    def status(self, text: str) -> None:
        """What the service does now, in one line; never waits."""

    def alive(self) -> None:
        """One sign of life; never waits."""
