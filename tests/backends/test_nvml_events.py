"""What the NVIDIA driver says of its own accord, on a wait that really blocks."""

from __future__ import annotations

import queue
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from gpupanel.backends.nvidia.nvml_events import record_of
from gpupanel.backends.nvml import NvmlBackend
from gpupanel.model.event import EventRecord
from gpupanel.model.gpu import GpuState
from tests.backends import nvml_double
from tests.backends.nvml_double import NvmlDouble, gpu_id

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="NVML tells events on Linux only")

FIRST, SECOND = gpu_id(0), gpu_id(1)


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> NvmlDouble:
    return nvml_double.install(monkeypatch)


@pytest.fixture
def told() -> queue.Queue[EventRecord]:
    return queue.Queue()


@pytest.fixture
def backend(
    library: NvmlDouble, told: queue.Queue[EventRecord], tmp_path: Path
) -> Iterator[NvmlBackend]:
    backend = NvmlBackend(pci_devices=tmp_path / "none", clock_unix_s=lambda: 5.0)
    backend.probe()
    backend.watch(told.put)
    yield backend
    backend.close()


def until_waiting(library: NvmlDouble) -> None:
    """The thread has registered and blocks."""
    woken = threading.Event()
    for _ in range(1000):
        if library.lib.double_waiting():
            return
        woken.wait(0.005)
    pytest.fail("the thread does not wait for events")


def test_events_are_told_with_their_gpu(
    backend: NvmlBackend, library: NvmlDouble, told: queue.Queue[EventRecord]
) -> None:
    until_waiting(library)
    library.event(1, nvml_double.XID, 79)
    library.event(0, nvml_double.DOUBLE_ECC)
    library.event(0, nvml_double.CLOCK)
    assert [told.get(timeout=5) for _ in range(3)] == [
        EventRecord(5.0, SECOND, "xid", "Xid 79: the GPU fell off the bus"),
        EventRecord(5.0, FIRST, "ecc", "memory error that could not be repaired"),
        EventRecord(5.0, FIRST, "clock", "the clocks changed"),
    ]
    assert backend.sample(FIRST).state is GpuState.ACTIVE


def test_close_ends_the_thread_and_lets_the_driver_go(
    backend: NvmlBackend, library: NvmlDouble
) -> None:
    until_waiting(library)
    assert library.users == 2, "the thread is a user of its own"
    backend.close()
    assert library.users == 0
    assert library.lib.double_sets() == 0
    assert "nvml events" not in {thread.name for thread in threading.enumerate()}


def test_a_driver_without_events_ends_the_thread(
    library: NvmlDouble, told: queue.Queue[EventRecord], tmp_path: Path
) -> None:
    for gpu in (0, 1):
        library.fail(gpu, "nvmlDeviceRegisterEvents", nvml_double.NOT_SUPPORTED)
    backend = NvmlBackend(pci_devices=tmp_path / "none")
    backend.probe()
    backend.watch(told.put)
    backend.close()
    assert library.users == 0
    assert told.empty()


def test_a_loss_ends_the_watch_and_recovery_starts_it_again(
    library: NvmlDouble, told: queue.Queue[EventRecord], tmp_path: Path
) -> None:
    now_s = 100.0
    backend = NvmlBackend(lambda: now_s, tmp_path / "none")
    backend.probe()
    backend.watch(told.put)
    until_waiting(library)
    library.set(0, gone=nvml_double.GPU_IS_LOST)
    assert backend.sample(FIRST).state is GpuState.LOST
    library.set(0, gone=0)
    patience = threading.Event()
    for _ in range(400):
        now_s += 0.1
        if backend.sample(FIRST).state is GpuState.ACTIVE:
            break
        patience.wait(0.01)
    else:
        pytest.fail("never recovered")
    until_waiting(library)
    library.event(0, nvml_double.XID, 13)
    assert told.get(timeout=5).text == "Xid 13: a kernel of a program failed"
    backend.close()
    assert library.users == 0


def test_an_unknown_event_is_still_told() -> None:
    assert record_of(0x400, 7, None, 1.0) == EventRecord(1.0, None, "other", "NVML event 0x400, 7")
    assert record_of(nvml_double.XID, 1234, FIRST, 1.0).text == "Xid 1234"
