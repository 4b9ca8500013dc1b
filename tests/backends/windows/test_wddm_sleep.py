"""GPUs on Windows that sleep, rest, are lost, come and go, on doubles of its libraries."""

from __future__ import annotations

import pytest

from gpupanel.backends.wddm import WddmBackend
from gpupanel.backends.windows import win32_devices as devices
from gpupanel.model.gpu import GpuState
from tests.backends.fake_windows import (
    INTEL,
    LAPTOP_NVIDIA,
    NVIDIA,
    Clock,
    FakeWindows,
    backend_on,
    second_look,
    why,
)

POWER = (devices._DEVICE, 32)


def test_a_sleeping_gpu_costs_one_read_of_its_power_state(
    windows: FakeWindows, clock: Clock
) -> None:
    for card in windows.cards:
        card.state = 4
    backend = backend_on(windows, clock)
    backend.probe()
    windows.calls.clear()
    windows.properties_read.clear()
    for _ in range(60):
        clock.now_s += 1
        sample = backend.sample(NVIDIA)
        assert (sample.state, sample.state_since_unix_s) == (GpuState.ASLEEP, 1_700_001_000.0)
        assert set(sample.as_json()["unavailable"].values()) == {"asleep"}
    assert windows.properties_read == [POWER] * 60
    assert set(windows.calls) == {"CM_Locate_DevNodeW", "CM_Get_DevNode_PropertyW"}
    assert backend.processes() == ()
    assert set(windows.calls) == {"CM_Locate_DevNodeW", "CM_Get_DevNode_PropertyW"}


def test_it_wakes_up_is_known_then_and_sleeps_again(windows: FakeWindows, clock: Clock) -> None:
    card = windows.cards[1]
    card.state = 4
    backend = backend_on(windows, clock)
    backend.probe()
    assert backend.gpus()[1].memory_total_bytes is None
    card.state = 1
    second_look(windows, clock)
    assert backend.sample(NVIDIA).state is GpuState.ACTIVE
    assert backend.gpus()[1].memory_total_bytes == 8 << 30
    card.state = 4
    clock.now_s += 1
    sample = backend.sample(NVIDIA)
    assert sample.state_since_unix_s == 1_700_000_000.0 + clock.now_s
    assert [gate.record().wakes for gate in backend.gates().values()] == [0, 1]


def test_an_idle_gpu_that_can_sleep_is_left_alone(
    backend: WddmBackend, windows: FakeWindows, clock: Clock
) -> None:
    second_look(windows, clock)
    assert backend.sample(NVIDIA).readings["temperature_gpu_c"] == 61.5
    for second in range(1, 20):
        clock.now_s += 1
        windows.calls.clear()
        readings = backend.sample(NVIDIA).readings
        asked = windows.calls["D3DKMTOpenAdapterFromLuid"]
        assert asked == (1 if second <= 10 else 0)
    assert why(readings["temperature_gpu_c"]) == "idle: left alone so that it can fall asleep"
    assert readings["utilization_gpu_percent"] == 0
    windows.cards[1].type_bits = 0b11  # a desktop's only card is asked always
    windows.cards[1].luid = LAPTOP_NVIDIA + 1
    clock.now_s += 1
    assert backend.sample(NVIDIA).readings["temperature_gpu_c"] == 61.5


def test_a_gpu_whose_driver_restarts_is_lost_and_found_under_its_new_number(
    backend: WddmBackend, windows: FakeWindows, clock: Clock
) -> None:
    card = windows.cards[1]
    card.luid = None
    lost = backend.sample(NVIDIA)
    assert lost.state is GpuState.LOST
    assert "Windows has stopped this GPU" in why(lost.readings["power_draw_w"])
    card.luid, card.dedicated_bytes = 0x1_0000_0005, 12 << 30
    clock.now_s += 1
    found = backend.sample(NVIDIA)
    assert found.state is GpuState.ACTIVE
    assert found.readings["memory_total_bytes"] == 12 << 30
    assert windows.open_adapters == 0


@pytest.mark.parametrize("status", [0xC00002B6, 0xC01E0003])
def test_a_gpu_that_goes_while_it_is_asked_is_lost(
    backend: WddmBackend, windows: FakeWindows, status: int
) -> None:
    windows.cards[0].status[62] = status
    assert backend.sample(INTEL).state is GpuState.LOST
    assert windows.open_adapters == 0
