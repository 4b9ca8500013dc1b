"""Runs that gpupanelctl drives: all at once, to their end, guarded by the agent's samples."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from gpupanel.cli.progress import Report
from gpupanel.ipc.client import Client
from gpupanel.model.decision import Verb
from gpupanel.model.errors import ProtocolError, ServiceUnreachable
from gpupanel.model.gpu import GpuInfo, Snapshot
from gpupanel.model.workload import Event, Failed, Finished, Run
from gpupanel.policy.decide import decide_run
from gpupanel.policy.resolve import EffectivePolicy
from gpupanel.stress.catalog import WORKLOAD_BY_NAME
from gpupanel.stress.report.record import Recorder, RunRecord
from gpupanel.stress.runner import Runner

GUARD_INTERVAL_S = 0.2


@dataclass(slots=True)
class _Followed:
    """One run: its worker, its record, and whether it is over."""

    run: Run
    runner: Runner
    recorder: Recorder
    over: threading.Event = field(default_factory=threading.Event)


class Follower:
    """Starts runs together, shows their events, and hands back their records."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._followed: list[_Followed] = []

    @property
    def runs(self) -> list[Run]:
        """Those that were added."""
        return [one.run for one in self._followed]

    def add(self, run: Run, gpu: GpuInfo) -> None:
        """One more run, as policy allows it; nothing starts before ``follow``."""
        recorder = Recorder(run, gpu, time.time())
        index = len(self._followed)
        runner = Runner(run, lambda event: self._on_event(index, event), gpu=gpu)
        self._followed.append(_Followed(run, runner, recorder))

    def follow(self, report: Report) -> Sequence[RunRecord]:
        """Until the last event of each; Ctrl+C asks for an early one."""
        self._client.call("subscribe", {"topic": "snapshots", "interval_s": GUARD_INTERVAL_S})
        self._client.call("subscribe", {"topic": "policy"})
        self._report = report
        with report:
            for one in self._followed:
                one.runner.start()
                self._declare(one)
            threading.Thread(target=self._feed, name="guard-feed", daemon=True).start()
            while not all(one.over.is_set() for one in self._followed):
                self._wait_for_one()
        for one in self._followed:
            one.runner.close()
        return [one.recorder.record() for one in self._followed]

    def _declare(self, one: _Followed) -> None:
        """An agent that does not believe it judges the worker as it would anybody's process.

        So does the service, always: it takes nobody's word.
        """
        if self._client.is_service:
            return
        with suppress(ProtocolError):
            params = {"pid": one.runner.pid, "workload": one.run.workload}
            self._client.call("declare", params)

    def _wait_for_one(self) -> None:
        waiting = next(one for one in self._followed if not one.over.is_set())
        try:
            waiting.over.wait()
        except KeyboardInterrupt:
            self._stop("stopped")

    def _stop(self, reason: str) -> None:
        for one in self._followed:
            one.runner.stop(reason)

    def _on_event(self, index: int, event: Event) -> None:
        one = self._followed[index]
        one.recorder.event(event, time.monotonic(), time.time())
        self._report.show(event)
        if isinstance(event, Finished | Failed):
            one.over.set()

    def _feed(self) -> None:
        try:
            for method, params in self._client.notifications():
                if method == "snapshot":
                    self._observe(Snapshot.from_json(params["snapshot"]))
                elif method == "policy":
                    self._obey(EffectivePolicy.from_json(params["policy"]))
        except ServiceUnreachable:
            self._stop("sensor_lost")

    def _observe(self, snapshot: Snapshot) -> None:
        for one in self._followed:
            for sample in snapshot.samples:
                if sample.gpu_id == one.run.gpu:
                    one.runner.observe(sample)
                    one.recorder.sample(sample, time.monotonic())

    def _obey(self, policy: EffectivePolicy) -> None:
        """Policy changed while loads run; what each was started under stays its ceiling."""
        for one in self._followed:
            decision = decide_run(policy, one.run, WORKLOAD_BY_NAME[one.run.workload].family)
            if decision.verb is Verb.DENY:
                one.runner.stop("policy")
            else:
                one.runner.set_cap(min(one.run.cap_percent, decision.values["cap_percent"]))
