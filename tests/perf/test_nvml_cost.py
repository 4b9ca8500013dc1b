"""What a look at 8 NVIDIA GPUs costs, beside nvitop on the same library, in one run.

The hot set is what an ordinary tick reads: every metric without a pace, limits and their time.
The full set is a tick on which the slow counters are due as well.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from gpupanel.backends.nvml import NvmlBackend
from gpupanel.model.metrics import COUNTER_PACE_S
from tests.backends import nvml_double
from tests.backends.nvml_double import NvmlDouble

pytestmark = pytest.mark.perf

GPUS = 8
ROUNDS, TICKS = 15, 40


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> NvmlDouble:
    library = nvml_double.install(monkeypatch, GPUS)
    for gpu in range(GPUS):
        library.use(gpu, 4000 + gpu, int(time.time() * 1e6), 50, 20, 0, 0)
    return library


class Ours:
    def __init__(self, root: Path) -> None:
        self.now_s = 0.0
        self.backend = NvmlBackend(lambda: self.now_s, root)
        self.backend.probe()
        self.ids = [info.id for info in self.backend.gpus()]
        self.tick(1)

    def tick(self, seconds: float) -> None:
        self.now_s += seconds
        for gpu_id in self.ids:
            self.backend.sample(gpu_id)

    def hot(self) -> None:
        self.tick(1e-4)

    def full(self) -> None:
        self.tick(COUNTER_PACE_S)


def cpu_ms(call: Callable[[], None], times: int) -> float:
    begin_s = time.process_time()
    for _ in range(times):
        call()
    return (time.process_time() - begin_s) / times * 1e3


def test_a_tick_costs_an_eighth_of_nvitop(library: NvmlDouble, tmp_path: Path) -> None:
    import nvitop

    ours = Ours(tmp_path / "none")
    theirs = nvitop.Device.all()
    assert len(theirs) == len(ours.ids) == GPUS

    def snapshots() -> None:
        for device in theirs:
            device.as_snapshot()

    snapshots()
    hot, full, nvitop_ms = [], [], []
    for _ in range(ROUNDS):
        hot.append(cpu_ms(ours.hot, TICKS))
        full.append(cpu_ms(ours.full, 10))
        nvitop_ms.append(cpu_ms(snapshots, 3))
    hot_ms, full_ms = statistics.median(hot), statistics.median(full)
    ratio = statistics.median(nvitop_ms) / hot_ms
    print(
        f"8 GPUs: hot {hot_ms:.3f} ms (best {min(hot):.3f}), full {full_ms:.3f} ms, "
        f"nvitop {statistics.median(nvitop_ms):.3f} ms: {ratio:.1f} x hot"
    )
    assert library.calls("nvmlDeviceGetPcieThroughput") > 0, "nvitop asks the call that sleeps"
    assert ratio >= 8
    assert hot_ms <= 0.15
    assert full_ms <= 0.5


def test_a_slow_pcie_counter_is_not_noticed(library: NvmlDouble, tmp_path: Path) -> None:
    ours = Ours(tmp_path / "none")
    library.lib.double_throughput_us(20_000)
    begin_s = time.perf_counter()
    for _ in range(TICKS):
        ours.hot()
    tick_ms = (time.perf_counter() - begin_s) / TICKS * 1e3
    print(f"8 GPUs, 20 ms inside PcieThroughput: {tick_ms:.3f} ms of wall time a tick")
    assert library.calls("nvmlDeviceGetPcieThroughput") == 0
    assert tick_ms < 20
