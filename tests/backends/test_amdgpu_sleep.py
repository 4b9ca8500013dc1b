"""AMD GPUs that sleep, rest, are lost and come back, on recorded sysfs."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from gpupanel.backends.amdgpu import AmdgpuBackend
from gpupanel.backends.sleep import ASLEEP_REASON
from gpupanel.model.gpu import GpuState, Unavailable
from tests.backends.amd_rig import Rig, refuse, sample_of

_COUNT_OPENS = """
import json, os, sys
from pathlib import Path
from gpupanel.backends.amdgpu import AmdgpuBackend

root, was_awake = Path(sys.argv[1]), sys.argv[2] == "awake"
(device,) = (root / "sys/bus/pci/drivers/amdgpu").iterdir()
status = device / "power/runtime_status"
status.write_text("active" if was_awake else "suspended")
backend = AmdgpuBackend(root)
backend.probe()
(gpu,) = backend.gpus()
backend.sample(gpu.id)
status.write_text("suspended")
seen = []
sys.addaudithook(
    lambda event, arguments: seen.append(str(arguments[0]))
    if event in {"open", "os.listdir", "os.scandir"} else None
)
pread = os.pread
os.pread = lambda *rest: seen.append("pread") or pread(*rest)
states = {backend.sample(gpu.id).state.value for _ in range(60)}
print(json.dumps({"states": sorted(states), "seen": seen, "status": str(status)}))
"""


@pytest.mark.parametrize("before", ["awake", "asleep"])
def test_a_suspended_gpu_is_asked_for_its_power_state_and_nothing_else(
    amd_rig: Rig, tmp_path: Path, before: str
) -> None:
    amd_rig("rx6900xt")
    done = subprocess.run(
        [sys.executable, "-c", _COUNT_OPENS, str(tmp_path), before],
        capture_output=True, text=True, check=True, timeout=60,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )  # fmt: skip
    told = json.loads(done.stdout)
    assert told["states"] == ["asleep"]
    opened = [path for path in told["seen"] if path == "pread" or path.startswith(str(tmp_path))]
    assert len(opened) == 60
    assert {Path(path).name for path in opened} == {"runtime_status"}


def _could_sleep(device: Path, load: str) -> None:
    for name, text in {
        "power/control": "auto\n",
        "power/runtime_status": "active\n",
        "power/autosuspend_delay_ms": "5000\n",
        "gpu_busy_percent": load,
    }.items():
        (device / name).write_text(text)


def _seconds_read(device: Path, seconds: int) -> list[int]:
    """In which of ``seconds`` the card was read."""
    now_s = [0.0]
    backend = AmdgpuBackend(device.parents[4].parent, clock_s=lambda: now_s[0])
    read = []
    for second in range(seconds):
        now_s[0] = float(second)
        sample = sample_of(backend)
        assert sample.state is GpuState.ACTIVE
        reading = sample.readings["power_draw_w"]
        if not isinstance(reading, Unavailable):
            read.append(second)
        else:
            assert "left alone" in reading.reason
    return read


def test_an_idle_card_gets_the_time_to_fall_asleep(amd_rig: Rig) -> None:
    _, device = amd_rig("rx6900xt")
    _could_sleep(device, "0\n")
    # The kernel waits 5 s for a read before it lets the card sleep: the pause is longer.
    # It stayed awake all the same, so somebody else holds it, and no second pause would help.
    assert _seconds_read(device, 200) == [*range(61), *range(70, 200)]


@pytest.mark.parametrize("reason", ["works", "shows a picture", "is kept awake"])
def test_a_card_that_cannot_sleep_is_read_all_the_time(amd_rig: Rig, reason: str) -> None:
    _, device = amd_rig("rx6900xt")
    _could_sleep(device, "3\n" if reason == "works" else "0\n")
    if reason == "shows a picture":
        (device / "drm/card0/card0-DP-1").mkdir()
        (device / "drm/card0/card0-DP-1/enabled").write_text("enabled\n")
    if reason == "is kept awake":
        (device / "power/control").write_text("on\n")
    assert _seconds_read(device, 100) == list(range(100))


def test_a_card_that_slept_is_known_in_full_once_awake(amd_rig: Rig) -> None:
    backend, device = amd_rig("rx6900xt")
    (device / "power/runtime_status").write_text("suspended\n")
    sample = sample_of(backend)
    assert (sample.state, sample.state_since_unix_s) == (GpuState.ASLEEP, 1000.0)
    assert set(sample.readings.values()) == {Unavailable(ASLEEP_REASON)}
    assert backend.gpus()[0].limits == {}
    (device / "power/runtime_status").write_text("active\n")
    assert sample_of(backend).state is GpuState.ACTIVE
    assert backend.gpus()[0].limits["power_limit_w"] == 332


def test_a_driver_that_will_not_wake_the_card_means_asleep(
    amd_rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend, _ = amd_rig("rx7800xt")
    assert sample_of(backend).state is GpuState.ACTIVE
    refuse(monkeypatch, errno.EPERM)
    sample = sample_of(backend)
    assert sample.state is GpuState.ASLEEP
    assert set(sample.readings.values()) == {Unavailable(ASLEEP_REASON)}


def test_a_card_that_is_gone_is_lost_and_comes_back(
    amd_rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend, device = amd_rig("rx7800xt")
    assert sample_of(backend).state is GpuState.ACTIVE
    with monkeypatch.context() as gone:
        refuse(gone, errno.ENODEV)
        (device / "drm").rename(device / "no-drm")
        for _ in range(2):
            sample = sample_of(backend)
            assert (sample.state, sample.state_since_unix_s) == (GpuState.LOST, 1000.0)
    (device / "no-drm").rename(device / "drm")
    sample = sample_of(backend)
    assert sample.state is GpuState.ACTIVE
    assert sample.readings["power_draw_w"] == 32


def test_one_tick_opens_its_power_state_alone_after_the_first(
    amd_rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend, device = amd_rig("rx6900xt")
    sample_of(backend)
    opened = []
    real = os.open

    def noted(path: str, *rest: int) -> int:
        opened.append(path)
        return real(path, *rest)

    monkeypatch.setattr(os, "open", noted)
    assert sample_of(backend).readings["power_draw_w"] == 36
    address = device.name
    assert [path.rpartition(address)[2] for path in opened] == ["/power/runtime_status"]
