"""The service's run in this process: orders in, states out, endpoints open while it serves."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue

import pytest

import gpupanel
from gpupanel.policy.sources import MachineSource, NoUser, Sources
from gpupanel.service import serving, system
from gpupanel.service.daemon import Daemon
from gpupanel.service.scope import Scope
from gpupanel.service.serving import Order
from gpupanel.service.systemd import Systemd


class Noting(Systemd):
    """Writes down what it is told."""

    def __init__(self, notes: list[str]) -> None:
        super().__init__()
        self._notes = notes

    def _tell(self, *assignments: str, flags: int = 0) -> None:
        self._notes.append(assignments[0])


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
    assert notes == ["open", "READY=1", "RELOADING=1", "READY=1", "STOPPING=1", "closed"]


def test_an_endpoint_that_cannot_be_opened_ends_it_cleanly(daemon: Daemon) -> None:
    notes: list[str] = []

    def refuse() -> Iterator[None]:
        raise OSError("somebody else's socket is there")

    with pytest.raises(OSError, match="somebody else"):
        serving.serve(daemon, contextmanager(refuse), ordered(), Noting(notes))
    assert notes == []


def test_no_client_may_declare_a_load_of_its_own(daemon: Daemon) -> None:
    """The service's parent is init: every orphan, and every service, would be its child's kin."""
    declare = daemon._judging._declare
    with pytest.raises(ValueError, match="no child"):
        declare({"pid": os.getpid(), "workload": "mining.sha256d"})


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


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize(
    ("number", "order"),
    [
        (signal.SIGTERM, Order.STOP),
        (signal.SIGINT, Order.STOP),
        (signal.SIGHUP, Order.READ_POLICY),
    ],
)
def test_a_signal_is_an_order(number: signal.Signals, order: Order) -> None:
    before = {one: signal.getsignal(one) for one in (number, signal.SIGTERM, signal.SIGINT)}
    try:
        orders = serving.signals()
        signal.raise_signal(number)
        assert orders.get(timeout=5) is order
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
