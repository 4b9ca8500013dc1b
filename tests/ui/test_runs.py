from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from PySide6.QtCore import QThread

from gpupanel.model.decision import Decision, Verb
from gpupanel.model.errors import RunDenied
from gpupanel.model.gpu import GpuInfo, GpuKind
from gpupanel.model.workload import Event, Failed, Run
from gpupanel.ui.runs import LiveRun, Phase

if TYPE_CHECKING:
    from pytestqt.qtbot import QtBot

GPU = GpuInfo("gpu0", "Card", "nvidia", GpuKind.GPU, "nvml", None, "00000000:01:00.0")
RUN = Run("ai.gemm", "gpu0", 10)
ALLOW = Decision(Verb.ALLOW, "s", "r", {"cap_percent": 100, "max_seconds": 10})


def test_events_reach_qts_thread(bench: Any, qtbot: QtBot) -> None:
    bench.feed([bench.gpu()])
    bench.feed_policy()
    bench.store.start_run(Run("ai.gemm", bench.gpu().id, 30))
    seen: list[QThread] = []
    bench.live_run.changed.connect(lambda: seen.append(QThread.currentThread()))
    events = list(bench.events("ai.gemm", "finished"))
    worker = threading.Thread(target=lambda: [bench.runners[0].say(event) for event in events])
    worker.start()
    qtbot.waitUntil(lambda: bench.live_run.phase is Phase.FINISHED)
    worker.join()
    assert {thread is bench.window.thread() for thread in seen} == {True}
    assert len(bench.live_run.rates) == 8


def test_a_runner_that_cannot_start_is_a_failed_run() -> None:
    class Broken:
        frames = None

        def start(self) -> None:
            raise OSError("no such file")

    def make(run: Run, say: Callable[[Event], None], gpu: GpuInfo) -> Any:
        return Broken()

    live = LiveRun(make)
    live.start(RUN, ALLOW, GPU)
    assert live.phase is Phase.FAILED
    assert live.failed == Failed("ai.gemm", "gpu0", "OSError", "no such file")
    live.close()


def test_a_denied_run_never_makes_a_runner() -> None:
    made: list[Run] = []

    def make(run: Run, say: Callable[[Event], None], gpu: GpuInfo) -> Any:
        made.append(run)

    live = LiveRun(make)
    with pytest.raises(RunDenied):
        live.start(RUN, Decision(Verb.DENY, "s", "no", {"cap_percent": 1, "max_seconds": 0}), GPU)
    assert made == []
    assert live.phase is Phase.IDLE


def test_events_of_the_run_before_are_ignored(bench: Any, qtbot: QtBot) -> None:
    bench.feed([bench.gpu()])
    bench.feed_policy()
    bench.drive("ai.gemm", "finished")
    late = list(bench.events("ai.gemm", "failed"))[-1]
    bench.drive("gaming.raymarch", "running")
    bench.runners[0].say(late)
    qtbot.wait(1)
    assert bench.live_run.phase is Phase.RUNNING
    assert bench.runners[0].calls == ["start", "close"]


def test_stop_is_asked_once_and_the_result_follows(bench: Any, qtbot: QtBot) -> None:
    bench.feed([bench.gpu()])
    bench.feed_policy()
    bench.drive("ai.gemm", "running")
    bench.live_run.stop()
    assert bench.live_run.phase is Phase.STOPPING
    assert bench.runners[0].calls == ["start", "stop"]
    for event in bench.events("ai.gemm", "finished"):
        bench.runners[0].say(event)
    qtbot.waitUntil(lambda: not bench.live_run.active)
    assert bench.live_run.finished is not None


def test_a_policy_that_changes_meanwhile_is_obeyed_and_cannot_loosen(bench: Any) -> None:
    bench.feed([bench.gpu()])
    bench.feed_policy(mining__max_efficiency_percent=50)
    bench.store.start_run(Run("mining.ethash", bench.gpu().id, 30))
    bench.feed_policy(mining__max_efficiency_percent=25)
    bench.feed_policy(mining__max_efficiency_percent=80)
    bench.feed_policy(stress__allowed_loads=("ai",))
    assert bench.runners[0].calls == ["start", "cap 25", "cap 50", "stop: policy"]
