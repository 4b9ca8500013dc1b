"""Sleeping, idle, unplugged and plugged: the NVML backend on a small sysfs."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gpupanel.backends.base import ProbeState
from gpupanel.backends.nvml import NvmlBackend
from gpupanel.backends.rest import LEFT_ALONE
from gpupanel.model.gpu import GpuState, Unavailable
from tests.backends import nvml_double
from tests.backends.nvml_double import NvmlDouble, gpu_id

FIRST, SECOND = gpu_id(0), gpu_id(1)


class Machine:
    """Two cards in sysfs and in the driver, and the time."""

    def __init__(self, root: Path, library: NvmlDouble) -> None:
        self.now_s = 1000.0
        self.root = root
        self.library = library
        self.backend = NvmlBackend(lambda: self.now_s, root, lambda pid: None, lambda: self.now_s)

    def card(self, index: int, status: str, control: str) -> None:
        power = self.root / f"0000:{0x20 * index + 1:02x}:00.0" / "power"
        power.mkdir(parents=True, exist_ok=True)
        (power.parent / "uevent").write_text("PCI_CLASS=30200\nPCI_ID=10DE:2204\n")
        (power / "runtime_status").write_text(f"{status}\n")
        (power / "control").write_text(f"{control}\n")

    def tick(self, seconds: float = 1) -> dict[str, GpuState]:
        self.now_s += seconds
        gpus = [info.id for info in self.backend.gpus()]
        return {gpu: self.backend.sample(gpu).state for gpu in gpus}


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    machine = Machine(tmp_path, nvml_double.install(monkeypatch))
    other = tmp_path / "0000:00:02.0"
    other.mkdir()
    (other / "uevent").write_text("PCI_CLASS=30000\nPCI_ID=8086:A7A0\n")
    sound = tmp_path / "0000:01:00.1"  # the card's own, for the display's loudspeakers
    sound.mkdir()
    (sound / "uevent").write_text("PCI_CLASS=40300\nPCI_ID=10DE:1AEF\n")
    machine.card(0, "active", "auto")
    machine.card(1, "active", "on")
    return machine


@pytest.fixture
def opened() -> Iterator[list[Path]]:
    """Every file that Python opens, by whichever call; a hook cannot be removed, only be still."""
    files: list[Path] = []
    is_noting = [True]

    def note(event: str, arguments: tuple[object, ...]) -> None:
        if event == "open" and is_noting and isinstance(arguments[0], str | bytes):
            files.append(Path(os.fsdecode(arguments[0])))

    sys.addaudithook(note)
    yield files
    is_noting.clear()


def test_all_asleep_means_no_call_at_all(machine: Machine) -> None:
    machine.card(0, "suspended", "auto")
    machine.card(1, "suspending", "auto")
    result = machine.backend.probe()
    assert result.state is ProbeState.ABSENT
    assert "0000:01:00.0 is asleep" in result.reason
    assert machine.library.all_calls == 0
    machine.card(1, "active", "auto")
    assert machine.backend.probe().state is ProbeState.OK
    assert [gpu.id for gpu in machine.backend.gpus()] == [SECOND]


def test_one_asleep_at_the_start_is_met_when_it_wakes(machine: Machine) -> None:
    machine.card(0, "suspended", "auto")
    result = machine.backend.probe()
    assert (result.state, result.reason) == (
        ProbeState.OK, "the GPU at 0000:01:00.0 is asleep and left alone",
    )  # fmt: skip
    assert list(machine.tick()) == [SECOND]
    machine.card(0, "active", "auto")
    assert machine.backend.look_again().reason == ""
    assert machine.tick() == {SECOND: GpuState.ACTIVE, FIRST: GpuState.ACTIVE}


def test_a_sleeping_gpu_costs_one_read_and_no_call(machine: Machine, opened: list[Path]) -> None:
    machine.card(1, "active", "auto")
    machine.backend.probe()
    machine.tick()
    for index in (0, 1):
        machine.card(index, "suspended", "auto")
    opened.clear()
    machine.library.forget_calls()
    for _ in range(60):
        assert set(machine.tick().values()) == {GpuState.ASLEEP}
    assert machine.library.all_calls == 0
    assert {file.name for file in opened} == {"runtime_status"}
    assert len(opened) == 60 * 2
    assert machine.backend.processes() == ()
    assert machine.library.all_calls == 0


def test_sixty_ticks_asleep_open_nothing_else(machine: Machine, opened: list[Path]) -> None:
    machine.backend.probe()
    machine.tick()
    machine.card(0, "suspended", "auto")
    opened.clear()
    for _ in range(60):
        assert machine.tick()[FIRST] is GpuState.ASLEEP
    ours = [file for file in opened if "0000:01:00.0" in str(file)]
    assert {file.name for file in ours} == {"runtime_status"}
    sample = machine.backend.sample(FIRST)
    assert sample.state_since_unix_s is not None


def test_an_idle_gpu_is_let_go_and_opened_when_another_wakes_it(machine: Machine) -> None:
    machine.card(1, "active", "auto")
    machine.library.set(0, utilization_gpu=0)
    machine.library.set(1, utilization_gpu=0)
    machine.backend.probe()
    for _ in range(60):
        machine.tick()
    assert machine.library.users == 1
    machine.tick()
    assert machine.library.users == 0, "an open NVML would keep the GPUs awake"
    machine.library.forget_calls()
    reading = machine.backend.sample(FIRST).readings["power_draw_w"]
    assert reading == Unavailable(LEFT_ALONE)
    for index in (0, 1):
        machine.card(index, "suspended", "auto")
    assert set(machine.tick().values()) == {GpuState.ASLEEP}
    assert machine.library.all_calls == 0
    machine.card(0, "active", "auto")
    assert machine.tick() == {FIRST: GpuState.ACTIVE, SECOND: GpuState.ASLEEP}
    assert machine.backend.sample(FIRST).readings["power_draw_w"] == 312.45
    assert machine.library.users == 1


def test_a_gpu_that_cannot_sleep_goes_on_while_the_other_rests(machine: Machine) -> None:
    machine.library.set(0, utilization_gpu=0)
    machine.backend.probe()
    for _ in range(70):
        assert set(machine.tick().values()) == {GpuState.ACTIVE}
        assert machine.backend.sample(SECOND).readings["power_draw_w"] == 61.007
    machine.library.forget_calls()
    assert isinstance(machine.backend.sample(FIRST).readings["power_draw_w"], Unavailable)
    assert machine.library.all_calls == 0


def test_a_process_keeps_an_idle_gpu_open(machine: Machine) -> None:
    machine.library.set(0, utilization_gpu=0)
    machine.library.process(0, 4242, 1 << 20)
    machine.backend.probe()
    for _ in range(200):
        machine.tick()
        assert machine.backend.sample(FIRST).readings["power_draw_w"] == 312.45
