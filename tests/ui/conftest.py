"""A window fed by hand: made-up GPUs and runs, no agent, no worker."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from PySide6.QtWidgets import QApplication

from gpupanel.model.gpu import GpuInfo, GpuKind, Sample, Snapshot, Unavailable
from gpupanel.model.workload import Event, Failed, Finished, Preparing, Progress, Run, Started
from gpupanel.policy.claims import Claim, Level, Scope, Source
from gpupanel.policy.resolve import PolicyState, closed_claims, resolve
from gpupanel.stress.catalog import WORKLOAD_BY_NAME
from gpupanel.ui import theme
from gpupanel.ui.link import LinkState
from gpupanel.ui.runs import Frame, LiveRun, Runs
from gpupanel.ui.store import Store
from gpupanel.ui.theme import ThemeChoice
from gpupanel.ui.window import Window
from tests.ui.past_agent import PastAgent

if TYPE_CHECKING:
    from pytestqt.qtbot import QtBot

BACKENDS = [
    {"name": "nvml", "state": "absent", "reason": "no NVIDIA driver on this machine"},
    {"name": "host", "state": "ok", "reason": ""},
]
SITE = "/etc/gpupanel/policy.d/10-site.toml"


@dataclass
class FakeFrames:
    """One grey picture."""

    def read(self) -> Frame | None:
        return 1, 4, 2, bytes([128] * 32)


@dataclass
class FakeRunner:
    """Writes down what it is told; ``say`` is the worker's voice."""

    run: Run
    say: Callable[[Event], None]
    calls: list[str] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    frames: FakeFrames | None = None
    pid: int = 4242

    def start(self) -> None:
        self.calls.append("start")

    def stop(self, reason: str = "stopped") -> None:
        self.calls.append("stop" if reason == "stopped" else f"stop: {reason}")

    def set_cap(self, percent: int) -> None:
        self.calls.append(f"cap {percent}")

    def close(self) -> None:
        self.calls.append("close")

    def observe(self, sample: Sample) -> None:
        self.samples.append(sample)


class Bench:
    """A window on a table: ``feed`` the store, ``drive`` a run, look at the window."""

    def __init__(self) -> None:
        self.runners: list[FakeRunner] = []
        self.runs = Runs(self._make_runner)
        self.agent = PastAgent()
        self.store = Store(self.runs, agent=self.agent)
        self.window = Window(self.store)

    @property
    def live_run(self) -> LiveRun:
        """The run that was started last."""
        assert self.runs.latest is not None
        return self.runs.latest

    def _make_runner(self, run: Run, say: Callable[[Event], None], gpu: GpuInfo) -> FakeRunner:
        del gpu
        frames = FakeFrames() if run.workload.startswith("gaming") else None
        self.runners.append(FakeRunner(run, say, frames=frames))
        return self.runners[-1]

    @staticmethod
    def gpu(index: int = 0) -> GpuInfo:
        return GpuInfo(
            f"GPU-{index}f1e2d3c-1234-5678", "NVIDIA GeForce RTX 4090", "nvidia", GpuKind.GPU,
            "nvml", "580.65.06", f"00000000:{index + 1:02x}:00.0", 24 << 30,
            {"power_limit_w": 450.0},
        )  # fmt: skip

    @staticmethod
    def cpu() -> GpuInfo:
        return GpuInfo("cpu", "AMD EPYC 9B45", "amd", GpuKind.CPU, "host", None, None, 16 << 30)

    @staticmethod
    def snapshot(gpus: list[GpuInfo], time_s: float, **changed: Any) -> Snapshot:
        dice = random.Random(time_s)
        samples = []
        for gpu in gpus:
            share = dice.random()
            readings: dict[str, Any] = {
                "utilization_gpu_percent": 100 * share,
                "power_draw_w": 60 + 380 * share,
                "power_limit_w": 450.0,
                "temperature_gpu_c": 40 + 30 * share,
                "memory_used_bytes": share * 2**34,
                "memory_total_bytes": float(24 << 30),
                "clock_graphics_mhz": 2520.0,
                "fan_speed_percent": Unavailable("not supported on this board: passive cooling"),
            }
            samples.append(Sample(gpu.id, readings | changed))
        return Snapshot(1.7e9 + time_s, time_s, tuple(samples))

    def feed(self, gpus: list[GpuInfo], ticks: int = 30) -> None:
        self.store.set_gpus(gpus, BACKENDS)
        self.store.set_history([self.snapshot(gpus, float(tick)) for tick in range(ticks - 1)])
        self.store.set_link(LinkState.RUNNING, "")
        self.store.add_snapshot(self.snapshot(gpus, float(ticks - 1)))

    def feed_policy(
        self,
        state: PolicyState = PolicyState.MANAGED,
        diagnostics: tuple[Any, ...] = (),
        **values: Any,
    ) -> None:
        claims = [
            Claim(key.replace("__", "."), value, Level.MANDATORY, Scope.MACHINE, Source(SITE, 4, 1))
            for key, value in values.items()
        ]
        if state is PolicyState.CLOSED:
            claims += closed_claims()
        policy = resolve(claims, state=state, diagnostics=diagnostics)
        self.store.set_policy(policy.as_json())

    def drive(self, workload: str, until: str, gpu_id: str | None = None) -> None:
        """Bring a run to ``preparing``, ``running``, ``finished`` or ``failed``."""
        gpus = self.store.gpus
        assert gpus
        self.store.start_run(Run(workload, gpu_id or gpus[0].id, 30))
        for event in self.events(workload, until):
            self.runners[-1].say(event)
        QApplication.processEvents()

    def events(self, workload: str, until: str) -> Iterator[Event]:
        run = self.runners[-1].run
        unit = WORKLOAD_BY_NAME[workload].unit
        head = (workload, run.gpu)
        cap = run.cap_percent / 100
        yield Preparing(*head, "building the kernel", 0.5)
        if until == "failed":
            yield Failed(*head, "BuildFailed", "The kernel does not compile.\nline 1: error: x")
        if until in ("preparing", "failed"):
            return
        yield Started(
            *head,
            "RTX 4090",
            "CUDA",
            unit,
            run.cap_percent,
            12.0,
            {},
            limit_per_s=4.2e7,
            limited_by="random_128b",
            notes=("A note.",),
        )
        for second in range(1, 9):
            yield Progress(
                *head, float(second), 4e7 * cap * second, 4e7 * cap, 4e7, unit, second, 0
            )
        if until == "finished":
            yield Finished(
                *head, 30.0, 1.2e9 * cap, 4e7 * cap, unit, 4.2e7, 0.95, True, 0, 30,
                run.cap_percent, 4e7, 100.0 * cap, 9120.0, "time",
            )  # fmt: skip


@pytest.fixture
def bench(qtbot: QtBot) -> Iterator[Bench]:
    """A shown window in the light theme."""
    application = QApplication.instance()
    assert isinstance(application, QApplication)
    application.setStyle("Fusion")
    theme.apply(application, ThemeChoice.LIGHT)
    made = Bench()
    qtbot.addWidget(made.window)
    made.window.show()
    yield made
    made.runs.close()
