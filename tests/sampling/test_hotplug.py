"""Cards and drivers that come, go and come back while the sampler runs: noticed, said, survived."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gpupanel.backends.amdgpu import AmdgpuBackend
from gpupanel.backends.base import Backend, ProbeState
from gpupanel.backends.intel import IntelBackend
from gpupanel.backends.nvml import NvmlBackend
from gpupanel.backends.registry import Opened
from gpupanel.model.event import EventRecord
from gpupanel.model.gpu import GpuState, Snapshot, Unavailable
from gpupanel.sampling.sampler import Clock, Sampler
from gpupanel.sampling.transitions import Transitions
from tests.backends import nvml_double
from tests.backends.nvml_double import NvmlDouble, gpu_id
from tests.recordings.machine import Slot

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="sysfs is Linux's")

AMD, INTEL = "pci:0000:03:00.0", "pci:0000:09:00.0"
NVIDIA = "0000:21:00.0"
FIRST, SECOND = gpu_id(0), gpu_id(1)


class Machine:
    """Backends on a sysfs of a test, sampled once a second on a clock of its own."""

    def __init__(self, root: Path, *backends: Backend) -> None:
        self.root = root
        self.now_s = 0.0
        self.told: list[EventRecord] = []
        results = tuple(backend.probe() for backend in backends)
        found = [result.state is ProbeState.OK for result in results]
        opened = Opened(
            tuple(one for one, is_ok in zip(backends, found, strict=True) if is_ok),
            tuple(one for one, is_ok in zip(backends, found, strict=True) if not is_ok),
            results,
        )
        clock = Clock(lambda: self.now_s, lambda: 1e9 + self.now_s)
        self.sampler = Sampler(opened, clock, root)
        self.sampler.watch(self.told.append)
        self.transitions = Transitions()

    def tick(self) -> Snapshot:
        self.now_s += 1
        snapshot = self.sampler.tick()
        self.told += self.transitions.events(snapshot)
        return snapshot

    def run(self, seconds: int) -> dict[str, GpuState]:
        for _ in range(seconds):
            snapshot = self.tick()
        return {sample.gpu_id: sample.state for sample in snapshot.samples}

    @property
    def kinds(self) -> list[tuple[str | None, str]]:
        return [(event.gpu_id, event.kind) for event in self.told]


@pytest.fixture
def machine(
    recorded_card: Callable[[str], Path], sysfs_of: Callable[..., Path]
) -> Iterator[Machine]:
    root = sysfs_of(recorded_card("amd-rx7800xt"), recorded_card("intel-b580"))
    made = Machine(root, AmdgpuBackend(root), IntelBackend(root))
    yield made
    made.sampler.close()


CARDS = [pytest.param(AMD, id="amdgpu"), pytest.param(INTEL, id="xe")]


@pytest.mark.parametrize("gpu", CARDS)
def test_a_card_goes_and_comes_back_under_its_id(machine: Machine, gpu: str) -> None:
    (other,) = {AMD, INTEL} - {gpu}
    slot = Slot(machine.root, gpu.removeprefix("pci:"))
    assert machine.run(1) == {AMD: GpuState.ACTIVE, INTEL: GpuState.ACTIVE}
    slot.unplug()
    assert machine.run(5) == {other: GpuState.ACTIVE}
    slot.plug()
    assert machine.run(5) == {AMD: GpuState.ACTIVE, INTEL: GpuState.ACTIVE}
    assert machine.kinds == [(gpu, "lost"), (gpu, "removed"), (gpu, "appeared")]
    (sample,) = [one for one in machine.tick().samples if one.gpu_id == gpu]
    assert not isinstance(sample.readings["power_limit_w"], Unavailable)
    machine.run(60)
    assert len(machine.told) == 3, "told once"


def test_the_last_card_of_a_driver_goes_and_the_first_comes(machine: Machine) -> None:
    """An external card: its driver holds nothing, then one, then nothing."""
    slot = Slot(machine.root, AMD.removeprefix("pci:"))
    slot.unplug()
    machine.run(5)
    (result, _) = machine.sampler.probe_results()
    assert (result.state, result.reason) == (ProbeState.ABSENT, "no GPU is driven by amdgpu")
    slot.plug()
    machine.run(5)
    assert machine.sampler.probe_results()[0].state is ProbeState.OK
    assert {gpu.id for gpu in machine.sampler.gpus()} == {AMD, INTEL}
    event = machine.told[-1]
    assert event.text.endswith(f"({AMD}) is there now")
    assert event.time_unix_s > 1e9


@pytest.mark.parametrize("gpu", CARDS)
def test_a_driver_goes_and_comes_back(machine: Machine, gpu: str) -> None:
    slot = Slot(machine.root, gpu.removeprefix("pci:"))
    machine.run(1)
    slot.unload()
    assert machine.run(20)[gpu] is GpuState.LOST, "the card is there all the same"
    slot.load()
    assert machine.run(1)[gpu] is GpuState.ACTIVE
    assert machine.kinds == [(gpu, "lost"), (gpu, "recovered")]
    (sample,) = [one for one in machine.tick().samples if one.gpu_id == gpu]
    # Its sensors are another folder now.
    assert not isinstance(sample.readings["power_limit_w"], Unavailable)


@pytest.mark.parametrize("gpu", CARDS)
def test_a_driver_that_is_back_within_a_tick_is_said_too(machine: Machine, gpu: str) -> None:
    slot = Slot(machine.root, gpu.removeprefix("pci:"))
    machine.run(1)
    slot.unload()
    slot.load()
    (sample,) = [one for one in machine.tick().samples if one.gpu_id == gpu]
    assert sample.state is GpuState.LOST
    assert sample.state_since_unix_s is not None
    reason = sample.readings["power_limit_w"]
    assert reason == Unavailable("the driver was loaded again; reading starts over")
    assert machine.run(1)[gpu] is GpuState.ACTIVE
    assert machine.kinds == [(gpu, "lost"), (gpu, "recovered")]


def test_a_driver_that_still_starts_is_waited_for(machine: Machine) -> None:
    slot = Slot(machine.root, AMD.removeprefix("pci:"))
    slot.unplug()
    machine.run(5)
    slot.plug()
    late = slot.device / "drm"
    late.rename(slot.device / "later")
    assert machine.run(3) == {INTEL: GpuState.ACTIVE}
    (slot.device / "later").rename(late)
    assert machine.run(4)[AMD] is GpuState.ACTIVE


def test_a_sleeping_card_is_not_touched_by_looking_for_others(machine: Machine) -> None:
    machine.run(1)
    for gpu in (AMD, INTEL):
        device = Slot(machine.root, gpu.removeprefix("pci:")).device
        (device / "power").mkdir(exist_ok=True)
        (device / "power/runtime_status").write_text("suspended\n")
    opened: list[str] = []
    is_noting = [True]

    def note(event: str, arguments: tuple[object, ...]) -> None:
        if is_noting and event in {"open", "os.listdir", "os.scandir"}:
            opened.append(os.fsdecode(arguments[0]) if isinstance(arguments[0], str) else "")

    sys.addaudithook(note)
    assert set(machine.run(60).values()) == {GpuState.ASLEEP}
    is_noting.clear()
    ours = [path.removeprefix(str(machine.root)) for path in opened if str(machine.root) in path]
    on_cards = [path for path in ours if "0000:03:00.0" in path or "0000:09:00.0" in path]
    assert {path.rpartition("/")[2] for path in on_cards} == {"runtime_status"}
    looks = 2  # every half minute
    assert len(on_cards) == (60 * 2 + looks) * 2, "as our calls begin, and as they end"
    lists = {path for path in ours if path not in on_cards}
    assert lists == {
        "/sys/class/drm", "/sys/bus/pci/drivers/nvidia", "/sys/bus/pci/drivers/amdgpu",
        "/sys/bus/pci/drivers/i915", "/sys/bus/pci/drivers/xe",
    }  # fmt: skip


class NvidiaMachine(Machine):
    """Two NVIDIA cards in sysfs and in the double."""

    def __init__(self, root: Path, library: NvmlDouble) -> None:
        self.library = library
        for index in (0, 1):
            self.put(root, index)
        backend = NvmlBackend(lambda: self.now_s, root / "sys/bus/pci/devices", lambda pid: None)
        super().__init__(root, backend)

    def tick(self) -> Snapshot:
        snapshot = super().tick()
        # In half a second of real time the thread of events lets go of NVML, once it was asked to.
        for backend in self.sampler._opened.backends:
            assert isinstance(backend, NvmlBackend)
            if backend._watch is not None and backend._watch._stop.is_set():
                backend._watch.join()
        return snapshot

    def put(self, root: Path, index: int, status: str = "active") -> None:
        device = root / f"sys/bus/pci/devices/0000:{0x20 * index + 1:02x}:00.0"
        driver = root / "sys/bus/pci/drivers/nvidia"
        (device / "power").mkdir(parents=True, exist_ok=True)
        driver.mkdir(parents=True, exist_ok=True)
        for name, text in {
            "uevent": "PCI_CLASS=30000\nPCI_ID=10DE:2204\n",
            "power/runtime_status": f"{status}\n",
            "power/control": "auto\n",
        }.items():
            (device / name).write_text(text)
        if not (device / "driver").exists():
            (device / "driver").symlink_to(driver)
            (driver / device.name).symlink_to(device)

    def take(self, index: int) -> None:
        address = f"0000:{0x20 * index + 1:02x}:00.0"
        (self.root / "sys/bus/pci/drivers/nvidia" / address).unlink()
        device = self.root / "sys/bus/pci/devices" / address
        device.rename(self.root / f"taken {address} {self.now_s}")


@pytest.fixture
def nvidia(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[NvidiaMachine]:
    machine = NvidiaMachine(tmp_path, nvml_double.install(monkeypatch))
    yield machine
    machine.sampler.close()


def test_an_nvidia_card_goes_and_comes_back_under_its_uuid(nvidia: NvidiaMachine) -> None:
    assert nvidia.run(1) == {FIRST: GpuState.ACTIVE, SECOND: GpuState.ACTIVE}
    nvidia.take(1)
    nvidia.library.set(1, gone=nvml_double.GPU_IS_LOST)
    nvidia.library.plugged(1)
    assert nvidia.run(4) == {FIRST: GpuState.ACTIVE}
    nvidia.put(nvidia.root, 1)
    nvidia.library.set(1, gone=0)
    nvidia.library.plugged(2)
    assert nvidia.run(5) == {FIRST: GpuState.ACTIVE, SECOND: GpuState.ACTIVE}
    assert nvidia.kinds == [(SECOND, "lost"), (SECOND, "removed"), (SECOND, "appeared")]


def test_a_card_that_nvml_learns_of_only_when_it_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nvidia = NvidiaMachine(tmp_path, nvml_double.install(monkeypatch))
    nvidia.library.plugged(3, known_late=True)
    nvidia.put(nvidia.root, 2)
    for _ in range(12):
        assert {one.state for one in nvidia.tick().samples} == {GpuState.ACTIVE}
    assert [gpu.id for gpu in nvidia.sampler.gpus()] == [FIRST, SECOND, gpu_id(2)]
    assert nvidia.kinds == [(gpu_id(2), "appeared")]
    nvidia.sampler.close()


def test_a_card_of_another_container_does_not_start_nvml_over_for_ever(
    nvidia: NvidiaMachine,
) -> None:
    nvidia.put(nvidia.root, 7)  # NVML answers: not found
    nvidia.library.forget_calls()
    nvidia.run(160)
    starts = nvidia.library.calls("nvmlInitWithFlags")
    assert 0 < starts <= 2 * 3, "three of ours, and those of the thread of events"
    assert nvidia.told == []
    for index in (0, 1):
        nvidia.library.set(index, utilization_gpu=0)
    nvidia.run(62)
    nvidia.library.forget_calls()
    for index in (0, 1):
        nvidia.put(nvidia.root, index, "suspended")
    nvidia.run(40)
    assert nvidia.library.all_calls == 0, "nor does it keep ours from sleeping"


def test_nvidias_driver_is_unloaded_and_loaded_again(nvidia: NvidiaMachine) -> None:
    nvidia.run(1)
    for index in (0, 1):
        nvidia.library.set(index, gone=nvml_double.DRIVER_NOT_LOADED)
    nvidia.library.fail(nvml_double.ANY_CALL, "nvmlInitWithFlags", nvml_double.DRIVER_NOT_LOADED)
    assert nvidia.run(30) == {FIRST: GpuState.LOST, SECOND: GpuState.LOST}
    for index in (0, 1):
        nvidia.library.set(index, gone=0)
    nvidia.library.fail(nvml_double.ANY_CALL, "nvmlInitWithFlags", 0)
    assert nvidia.run(15) == {FIRST: GpuState.ACTIVE, SECOND: GpuState.ACTIVE}
    assert nvidia.kinds == [(gpu, "lost") for gpu in (FIRST, SECOND)] + [
        (gpu, "recovered") for gpu in (FIRST, SECOND)
    ]


def test_a_new_card_is_met_while_the_others_rest(nvidia: NvidiaMachine) -> None:
    for index in range(3):
        nvidia.library.set(index, utilization_gpu=0)
    nvidia.run(62)
    assert nvidia.library.users == 0, "let go, so that they can fall asleep"
    for index in (0, 1):
        nvidia.put(nvidia.root, index, "suspended")
    nvidia.run(3)
    nvidia.library.forget_calls()
    assert nvidia.run(40) == {FIRST: GpuState.ASLEEP, SECOND: GpuState.ASLEEP}
    assert nvidia.library.all_calls == 0, "to look is not to start NVML"
    nvidia.library.plugged(3)
    nvidia.put(nvidia.root, 2)
    assert nvidia.run(5)[gpu_id(2)] is GpuState.ACTIVE


def test_a_wake_up_of_one_card_by_calls_to_another_is_counted_as_ours(
    nvidia: NvidiaMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    nvidia.run(1)
    nvidia.put(nvidia.root, 0, "suspended")
    nvidia.run(3)
    assert nvidia.sampler.sleep_records()[FIRST].wakes_by_us == 0
    nvidia.put(nvidia.root, 0, "active")  # somebody else
    nvidia.run(1)
    nvidia.put(nvidia.root, 0, "suspended")
    nvidia.run(1)
    record = nvidia.sampler.sleep_records()[FIRST]
    assert (record.wakes, record.wakes_by_us, record.can_sleep) == (1, 0, True)
    assert record.asleep_since_unix_s is not None
    real = NvmlBackend.sample

    def waking(backend: NvmlBackend, gpu: str) -> object:
        sample = real(backend, gpu)
        if gpu == SECOND:
            nvidia.put(nvidia.root, 0, "active")
        return sample

    monkeypatch.setattr(NvmlBackend, "sample", waking)
    nvidia.run(1)
    record = nvidia.sampler.sleep_records()[FIRST]
    assert (record.wakes, record.wakes_by_us) == (2, 1)
