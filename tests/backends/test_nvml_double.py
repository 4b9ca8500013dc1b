"""The double itself, driven by the real pynvml: eight GPUs, and setters that remember.

What controls will set is set here as they will: with rights, without, and out of bounds.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pynvml
import pytest

from gpupanel.backends.linux.proc import Identity
from gpupanel.backends.nvml import NvmlBackend
from gpupanel.model.gpu import GpuState
from tests.backends import nvml_double
from tests.backends.nvml_double import NvmlDouble, gpu_id

GPUS = 8


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Iterator[NvmlDouble]:
    library = nvml_double.install(monkeypatch, GPUS)
    pynvml.nvmlInit()
    yield library
    pynvml.nvmlShutdown()


@pytest.fixture
def card(library: NvmlDouble) -> Any:
    return pynvml.nvmlDeviceGetHandleByIndex(0)


def test_eight_gpus_each_with_its_own_values(library: NvmlDouble, tmp_path: Path) -> None:
    for gpu in range(GPUS):
        library.set(gpu, power_mw=100_000 + 1000 * gpu, temperature=40 + gpu, fan_percent=20 + gpu)
        library.process(gpu, 4000 + gpu, (gpu + 1) << 30)
    library.set(5, gone=nvml_double.GPU_IS_LOST)
    backend = NvmlBackend(
        pci_devices=tmp_path / "no sysfs", identify=lambda pid: Identity(pid, "miner", "ada")
    )
    backend.probe()
    library.set(5, gone=0)
    backend.look_again()
    ids = [info.id for info in backend.gpus()]
    assert sorted(ids) == [gpu_id(n) for n in range(GPUS)]
    samples = {gpu: backend.sample(gpu) for gpu in ids}
    assert {one.state for one in samples.values()} == {GpuState.ACTIVE}
    for n in range(GPUS):
        readings = samples[gpu_id(n)].readings
        assert (readings["power_draw_w"], readings["temperature_gpu_c"]) == (100 + n, 40 + n)
    assert {row.gpu_id: row.memory_used_bytes for row in backend.processes()} == {
        gpu_id(n): (n + 1) << 30 for n in range(GPUS)
    }
    backend.close()


def test_a_power_limit_is_read_back_on_its_gpu_alone(library: NvmlDouble, card: Any) -> None:
    pynvml.nvmlDeviceSetPowerManagementLimit(card, 200_000)
    assert pynvml.nvmlDeviceGetPowerManagementLimit(card) == 200_000
    assert pynvml.nvmlDeviceGetEnforcedPowerLimit(card) == 200_000
    for limit_mw in (149_999, 450_001):
        with pytest.raises(pynvml.NVMLError_InvalidArgument):
            pynvml.nvmlDeviceSetPowerManagementLimit(card, limit_mw)
    assert pynvml.nvmlDeviceGetPowerManagementLimit(card) == 200_000
    other = pynvml.nvmlDeviceGetHandleByIndex(1)
    assert pynvml.nvmlDeviceGetPowerManagementLimit(other) == 420_000
    pynvml.nvmlDeviceSetPowerManagementLimit(
        card, pynvml.nvmlDeviceGetPowerManagementDefaultLimit(card)
    )
    assert pynvml.nvmlDeviceGetPowerManagementLimit(card) == 450_000


@pytest.mark.parametrize(
    ("domain", "lock", "reset", "free"),
    [("GRAPHICS", "SetGpu", "ResetGpu", 2520), ("MEM", "SetMemory", "ResetMemory", 10501)],
)
def test_a_locked_clock_is_what_the_clock_does_until_it_is_reset(
    card: Any, domain: str, lock: str, reset: str, free: int
) -> None:
    def clock() -> int:
        mhz: int = pynvml.nvmlDeviceGetClockInfo(card, getattr(pynvml, f"NVML_CLOCK_{domain}"))
        return mhz

    assert clock() == free
    getattr(pynvml, f"nvmlDevice{lock}LockedClocks")(card, 300, 900)
    assert clock() == 900
    with pytest.raises(pynvml.NVMLError_InvalidArgument):
        getattr(pynvml, f"nvmlDevice{lock}LockedClocks")(card, 900, 300)
    getattr(pynvml, f"nvmlDevice{reset}LockedClocks")(card)
    assert clock() == free


def test_a_fan_speed_is_by_hand_until_the_fan_is_automatic_again(card: Any) -> None:
    pynvml.nvmlDeviceSetFanSpeed_v2(card, 1, 77)
    assert pynvml.nvmlDeviceGetFanSpeed_v2(card, 1) == 77
    assert pynvml.nvmlDeviceGetTargetFanSpeed(card, 1) == 77
    assert pynvml.nvmlDeviceGetFanControlPolicy_v2(card, 1) == 1
    pynvml.nvmlDeviceSetDefaultFanSpeed_v2(card, 1)
    assert pynvml.nvmlDeviceGetFanSpeed_v2(card, 1) == 43
    assert pynvml.nvmlDeviceGetFanControlPolicy_v2(card, 1) == 0
    pynvml.nvmlDeviceSetFanControlPolicy(card, 1, 1)
    assert pynvml.nvmlDeviceGetFanControlPolicy_v2(card, 1) == 1
    with pytest.raises(pynvml.NVMLError_InvalidArgument):
        pynvml.nvmlDeviceSetFanSpeed_v2(card, 2, 50)
    with pytest.raises(pynvml.NVMLError_InvalidArgument):
        pynvml.nvmlDeviceSetFanControlPolicy(card, 1, 7)


SETTERS: tuple[tuple[str, tuple[int, ...]], ...] = (
    ("nvmlDeviceSetPowerManagementLimit", (200_000,)),
    ("nvmlDeviceSetGpuLockedClocks", (300, 900)),
    ("nvmlDeviceSetMemoryLockedClocks", (405, 810)),
    ("nvmlDeviceResetGpuLockedClocks", ()),
    ("nvmlDeviceResetMemoryLockedClocks", ()),
    ("nvmlDeviceSetFanSpeed_v2", (0, 50)),
    ("nvmlDeviceSetDefaultFanSpeed_v2", (0,)),
    ("nvmlDeviceSetFanControlPolicy", (0, 1)),
    ("nvmlDeviceSetPersistenceMode", (1,)),
)


@pytest.mark.parametrize(("setter", "arguments"), SETTERS)
def test_without_rights_every_setter_refuses_and_changes_nothing(
    library: NvmlDouble, card: Any, setter: str, arguments: tuple[int, ...]
) -> None:
    remembered = (
        "requested_mw", "enforced_mw", "locked_low", "locked_high", "locked_memory_low",
        "locked_memory_high", "fan_policy", "fan_target", "fan_percent", "persistence",
    )  # fmt: skip
    before = [library.get(0, name) for name in remembered]
    library.as_user()
    with pytest.raises(pynvml.NVMLError_NoPermission):
        getattr(pynvml, setter)(card, *arguments)
    assert [library.get(0, name) for name in remembered] == before
    library.as_user(is_user=False)
    getattr(pynvml, setter)(card, *arguments)
