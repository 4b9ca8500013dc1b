"""The service's run in this process: orders in, states out, endpoints open while it serves."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue

import pytest

import gpupanel
from gpupanel.policy.sources import MachineSource, NoUser, Sources
from gpupanel.service import serving, system
from gpupanel.service.daemon import Daemon
from gpupanel.service.overseer.orders import Order
from gpupanel.service.scope import Scope


class Noting:
    """An overseer that writes down what it is told."""

    watchdog_s = None

    def __init__(self, notes: list[str]) -> None:
        self._notes = notes

    def ready(self, text: str) -> None:
        self._notes.append(f"ready: {text}")

    def reloading(self) -> None:
        self._notes.append("reloading")

    def stopping(self) -> None:
        self._notes.append("stopping")

    def status(self, text: str) -> None:
        self._notes.append(text)

    def alive(self) -> None:
        self._notes.append("alive")


@contextmanager
def noted(notes: list[str]) -> Iterator[None]:
    notes.append("open")
    yield
    notes.append("closed")


@pytest.fixture
def daemon(tmp_path: Path) -> Daemon:
    sources = Sources(MachineSource((tmp_path / "policy.d",)), NoUser(), tmp_path / "state")
    return Daemon(Scope("system", sources, tmp_path / "history.db"))


def ordered(*orders: Order) -> SimpleQueue[Order]:
    queue: SimpleQueue[Order] = SimpleQueue()
    for order in orders:
        queue.put(order)
    return queue


def test_it_is_ready_while_its_endpoints_are_open(daemon: Daemon) -> None:
    notes: list[str] = []
    orders = ordered(Order.READ_POLICY, Order.STOP)
    serving.serve(daemon, lambda: noted(notes), orders, Noting(notes))
    first, ready, *rest = notes
    assert first == "open"
    assert ready.startswith("ready: policy ")
    assert rest == ["reloading", ready, "stopping", "closed"]


def test_an_endpoint_that_cannot_be_opened_ends_it_cleanly(daemon: Daemon) -> None:
    notes: list[str] = []

    def refuse() -> Iterator[None]:
        raise OSError("somebody else's socket is there")

    with pytest.raises(OSError, match="somebody else"):
        serving.serve(daemon, contextmanager(refuse), ordered(), Noting(notes))
    assert notes == []


def test_its_version_is_the_package_s(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        system.main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"gpupaneld {gpupanel.__version__}\n"


def test_a_user_is_told_to_ask_systemd(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert system.main([]) == 8
    assert "systemctl start gpupaneld" in capsys.readouterr().err
