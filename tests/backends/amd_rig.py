"""A recorded AMD card in a sysfs that a test changes."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from gpupanel.backends.amdgpu import AmdgpuBackend
from gpupanel.backends.base import ProbeState
from gpupanel.model.gpu import Sample

Rig = Callable[[str], tuple[AmdgpuBackend, Path]]


@pytest.fixture
def amd_rig(recorded_card: Callable[[str], Path], sysfs_of: Callable[..., Path]) -> Rig:
    """``amd_rig("rx580")``: an unprobed backend on that card, and the card's folder."""

    def made(card: str) -> tuple[AmdgpuBackend, Path]:
        root = sysfs_of(recorded_card(f"amd-{card}"))
        (device,) = (root / "sys/bus/pci/drivers/amdgpu").iterdir()
        backend = AmdgpuBackend(root, clock_s=lambda: 0.0, clock_unix_s=lambda: 1000.0)
        return backend, device

    return made


def sample_of(backend: AmdgpuBackend) -> Sample:
    if not backend.gpus():
        assert backend.probe().state is ProbeState.OK
    (gpu,) = backend.gpus()
    return backend.sample(gpu.id)


def sensor(device: Path, name: str) -> Path:
    return next(device.glob("hwmon/hwmon*")) / name


def refuse(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def refuse(*_: int) -> bytes:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "pread", refuse)
