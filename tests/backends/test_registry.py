"""Opening backends: what fails is named, and the rest goes on."""

from __future__ import annotations

import subprocess
import sys

import pytest

from gpupanel.backends import registry
from gpupanel.backends.base import ProbeResult, ProbeState
from gpupanel.backends.registry import Opened, listed, looked_again, merged, open_backends
from gpupanel.model.errors import DriverMismatch
from gpupanel.model.gpu import (
    GpuId,
    GpuInfo,
    GpuKind,
    ProcessKind,
    ProcessSample,
    Sample,
    Unavailable,
)


class Scripted:
    """A double of a driver stack: answers each probe with the next entry of ``answers``."""

    hidden_processes_reason = ""

    def __init__(self, name: str, *answers: ProbeState | DriverMismatch) -> None:
        self.name = name
        self.answers = list(answers)
        self.cards: tuple[GpuInfo, ...] = ()

    def probe(self) -> ProbeResult:
        answer = self.answers.pop(0)
        if isinstance(answer, DriverMismatch):
            raise answer
        return ProbeResult(self.name, answer, "" if answer is ProbeState.OK else "not there")

    def gpus(self) -> tuple[GpuInfo, ...]:
        return self.cards

    def sample(self, gpu_id: GpuId) -> Sample:
        raise AssertionError(gpu_id)

    def processes(self) -> tuple[ProcessSample, ...]:
        raise AssertionError

    def close(self) -> None:
        pass


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> dict[str, Scripted]:
    backends = {
        "broken": Scripted("broken", DriverMismatch("reboot"), DriverMismatch("reboot")),
        "late": Scripted("late", ProbeState.ABSENT, ProbeState.OK),
        "good": Scripted("good", ProbeState.OK),
    }
    monkeypatch.setattr(registry, "_made", backends.__getitem__)
    return backends


def names(opened: Opened) -> tuple[list[str], list[str]]:
    return [b.name for b in opened.backends], [b.name for b in opened.unopened]


def test_one_that_fails_does_not_keep_the_rest_from_opening(scripted: dict[str, Scripted]) -> None:
    opened = open_backends(tuple(scripted))
    assert names(opened) == (["good"], ["broken", "late"])
    assert opened.results == (
        ProbeResult("broken", ProbeState.FAILED, "reboot"),
        ProbeResult("late", ProbeState.ABSENT, "not there"),
        ProbeResult("good", ProbeState.OK, ""),
    )
    assert opened.results[0].as_json() == {"name": "broken", "state": "failed", "reason": "reboot"}


def test_another_look_finds_what_came_and_keeps_the_order(scripted: dict[str, Scripted]) -> None:
    opened = looked_again(open_backends(tuple(scripted)))
    assert names(opened) == (["late", "good"], ["broken"])
    assert [result.state for result in opened.results] == ["failed", "ok", "ok"]


def test_the_list_of_backends_imports_no_vendor_library() -> None:
    loaded = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys\n"
            "import gpupanel.backends.registry, gpupanel.backends.nvml, gpupanel.backends.host\n"
            "import gpupanel.backends.wddm\n"
            "print({'pynvml', 'psutil'} & set(sys.modules))",
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert loaded.stdout.strip() == "set()"


def card(gpu_id: str, backend: str, pci_bus_id: str | None) -> GpuInfo:
    return GpuInfo(gpu_id, gpu_id, "NVIDIA", GpuKind.GPU, backend, pci_bus_id=pci_bus_id)


def test_a_card_that_two_stacks_know_is_listed_once_by_the_earlier() -> None:
    vendor, system, rest = Scripted("vendor"), Scripted("system"), Scripted("rest")
    vendor.cards = (card("GPU-1", "vendor", "00000000:01:00.0"),)
    system.cards = (
        card("PCI-1", "system", "00000000:01:00.0"),
        card("PCI-2", "system", "00000000:02:00.0"),
        card("ACPI-1", "system", None),
    )
    rest.cards = (card("cpu", "rest", None), card("again", "rest", "00000000:02:00.0"))
    found = [(backend.name, gpu.id) for backend, gpu in listed((vendor, system, rest))]
    assert found == [
        ("vendor", "GPU-1"), ("system", "PCI-2"), ("system", "ACPI-1"), ("rest", "cpu")
    ]  # fmt: skip
    # Without the vendor's driver the system's own view is what there is.
    assert [gpu.id for _, gpu in listed((system,))] == ["PCI-1", "PCI-2", "ACPI-1"]


def test_parts_of_one_card_in_one_stack_are_all_listed() -> None:
    vendor = Scripted("vendor")
    address = "00000000:01:00.0"
    vendor.cards = (card("MIG-1", "vendor", address), card("MIG-2", "vendor", address))
    assert [gpu.id for _, gpu in listed((vendor,))] == ["MIG-1", "MIG-2"]


def user_of(gpu_id: str, pid: int, memory: float | Unavailable) -> ProcessSample:
    load = Unavailable("not told") if isinstance(memory, float) else 40.0
    return ProcessSample(gpu_id, pid, 1, "miner", "eve", ProcessKind.COMPUTE, memory, load)


def test_two_stacks_complete_each_others_processes() -> None:
    vendor, system = Scripted("vendor"), Scripted("system")
    vendor.cards = (card("GPU-1", "vendor", "00000000:01:00.0"),)
    system.cards = (
        card("PCI-1", "system", "00000000:01:00.0"), card("PCI-2", "system", "00000000:02:00.0")
    )  # fmt: skip
    rows = merged(
        [
            user_of("GPU-1", 7, Unavailable("Windows does not tell it to NVML")),
            user_of("PCI-1", 7, 1e9),
            user_of("PCI-2", 7, 2e9),
            user_of("PCI-1", 8, 3e9),
        ],
        (vendor, system),
    )
    assert [(row.gpu_id, row.pid, row.memory_used_bytes) for row in rows] == [
        ("GPU-1", 7, 1e9), ("PCI-2", 7, 2e9), ("GPU-1", 8, 3e9),
    ]  # fmt: skip
    assert rows[0].utilization_percent == 40.0


def test_processes_of_parts_of_one_card_stay_apart() -> None:
    vendor = Scripted("vendor")
    address = "00000000:01:00.0"
    vendor.cards = (card("MIG-1", "vendor", address), card("MIG-2", "vendor", address))
    rows = merged([user_of("MIG-1", 7, 1e9), user_of("MIG-2", 7, 2e9)], (vendor,))
    assert [row.gpu_id for row in rows] == ["MIG-1", "MIG-2"]
