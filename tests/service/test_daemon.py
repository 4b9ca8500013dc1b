"""The daemon in this process, over real pipes: what it tells and what it remembers."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpupanel.backends.base import ProbeState
from gpupanel.backends.registry import Opened, open_backends
from gpupanel.ipc import protocol
from gpupanel.ipc.transport import Peer, PipeStream, parent
from gpupanel.model.gpu import CPU_ID, ProcessSample
from gpupanel.model.sleep import SleepRecord
from gpupanel.policy.sources import MachineSource, Sources, UserSource
from gpupanel.sampling.recall import Recall
from gpupanel.sampling.sampler import Sampler
from gpupanel.sampling.store import Store
from gpupanel.service.daemon import Daemon
from gpupanel.service.scope import Scope

if TYPE_CHECKING:
    import pytest


class Caller:
    """A client that reads and writes the raw lines."""

    def __init__(self, daemon: Daemon, peer: Peer | None = None) -> None:
        server_reads, client_writes = os.pipe()
        client_reads, server_writes = os.pipe()
        self._reader = open(client_reads, "rb")  # noqa: SIM115 - closed by close()
        self._writer = open(client_writes, "wb", buffering=0)  # noqa: SIM115
        self._ends = (open(server_reads, "rb"), open(server_writes, "wb", buffering=0))  # noqa: SIM115
        self._thread = threading.Thread(
            target=daemon.serve, args=(PipeStream(*self._ends), peer or parent())
        )
        self._thread.start()

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        self._writer.write(protocol.encode(protocol.request(1, method, params)))
        while "method" in (message := self.read()):
            pass
        answer: dict[str, Any] = message["result"]
        return answer

    def read(self) -> dict[str, Any]:
        (message,) = protocol.Decoder(protocol.MAX_REPLY_BYTES).feed(self._reader.readline())
        return message

    def wait_for(self, method: str) -> dict[str, Any]:
        while (message := self.read()).get("method") != method:
            pass
        params: dict[str, Any] = message["params"]
        return params

    def close(self) -> None:
        self._writer.close()
        self._thread.join(timeout=10)
        for end in (self._reader, *self._ends):
            end.close()


@contextmanager
def running(
    tmp_path: Path, store: Store | None, find_gpus: Callable[[], Opened] = open_backends
) -> Iterator[Caller]:
    sources = Sources(
        MachineSource((tmp_path / "none",)), UserSource(tmp_path / "none.toml"), tmp_path / "state"
    )
    daemon = Daemon(Scope("user", sources, tmp_path / "history.db"), store, find_gpus)
    daemon.start()
    caller = Caller(daemon)
    yield caller
    caller.close()
    daemon.stop()


def test_what_was_sampled_is_on_disk_when_it_ends(tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    with running(tmp_path, Store(path)) as caller:
        caller.ask("subscribe", topic="snapshots", interval_s=1.0)
        shots = [caller.wait_for("snapshot")["snapshot"] for _ in range(3)]
    told = [shot["gpus"][0]["metrics"]["memory_used_bytes"] for shot in shots]
    since_s, until_s = shots[0]["time_unix_s"] - 20, shots[-1]["time_unix_s"] + 20
    with Recall(path) as recall:
        points = recall.series(CPU_ID, "memory_used_bytes", since_s, until_s, 100)
    assert points
    # 32-bit floats hold seven digits.
    assert min(point.low for point in points) <= min(told) * (1 + 1e-6)
    assert max(point.high for point in points) >= max(told) * (1 - 1e-6)


def test_a_history_that_cannot_be_written_is_told_with_the_gpus(tmp_path: Path) -> None:
    blocked = tmp_path / "a-file"
    blocked.write_text("no directory")
    with running(tmp_path, Store(blocked / "history.db")) as caller:
        caller.ask("subscribe", topic="gpus")
        told = caller.wait_for("gpus")["backends"]
    (history,) = [entry for entry in told if entry["name"] == "history"]
    assert history["state"] == ProbeState.FAILED.value
    assert str(blocked) in history["reason"]


def test_processes_are_looked_at_seldom_unless_somebody_asks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[int] = []

    def look(sampler: Sampler) -> tuple[tuple[ProcessSample, ...], tuple[str, ...]]:
        looks.append(1)
        return (), ("why",)

    monkeypatch.setattr(Sampler, "processes", look)
    with running(tmp_path, None) as caller:
        caller.ask("subscribe", topic="snapshots", interval_s=0.2)
        for _ in range(3):
            caller.wait_for("snapshot")
        assert len(looks) == 1  # to judge them
        caller.ask("subscribe", topic="processes")
        assert caller.wait_for("processes")["hidden"] == ["why"]
    assert len(looks) >= 2


def test_limits_are_told_for_each_gpu_and_span(tmp_path: Path) -> None:
    with running(tmp_path, None) as caller:
        caller.ask("subscribe", topic="snapshots", interval_s=0.2)
        caller.wait_for("snapshot")
        limits = caller.ask("limits")["limits"]
    assert set(limits[CPU_ID]) == {"minute", "hour", "day"}


def test_sleep_is_told_for_each_gpu_that_may(tmp_path: Path) -> None:
    with running(tmp_path, None) as caller:
        sleep = caller.ask("sleep")["sleep"]
    assert CPU_ID not in sleep
    assert [SleepRecord.from_json(one).wakes_by_us for one in sleep.values()] == [0] * len(sleep)
