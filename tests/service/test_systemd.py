"""The protocol of sd_notify over real sockets, and the sign of life that threads have to earn."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

if sys.platform == "win32":
    pytest.skip("systemd is Linux", allow_module_level=True)

from gpupanel.service.overseer.orders import Order
from gpupanel.service.overseer.systemd import Systemd, signals
from gpupanel.service.overseer.watchdog import Turn, Watchdog


class Listener:
    """systemd's end: a datagram socket by path, or by an abstract name."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self._socket.setblocking(False)

    def heard(self) -> list[list[str]]:
        """Every datagram since the last call, as its lines."""
        found = []
        while True:
            try:
                found.append(self._socket.recv(4096).decode().split("\n"))
            except BlockingIOError:
                return found

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(params=["path", "abstract"])
def listener(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Listener]:
    by_path = request.param == "path"
    listening = Listener(str(tmp_path / "notify") if by_path else f"@gpupanel-test-{os.getpid()}")
    yield listening
    listening.close()


@pytest.fixture
def systemd(listener: Listener) -> Iterator[Systemd]:
    told = Systemd(listener.address, watchdog_s=9.0)
    yield told
    told.close()


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_each_state_is_one_datagram(listener: Listener, systemd: Systemd) -> None:
    systemd.ready("policy managed, 1 GPU")
    systemd.alive()
    systemd.stopping()
    assert listener.heard() == [
        ["READY=1", "STATUS=policy managed, 1 GPU"],
        ["WATCHDOG=1"],
        ["STOPPING=1"],
    ]


def test_reloading_carries_the_clock_that_systemd_compares(
    listener: Listener, systemd: Systemd
) -> None:
    before_us = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    systemd.reloading()
    ((word, clock),) = listener.heard()
    assert word == "RELOADING=1"
    name, _, value = clock.partition("=")
    assert name == "MONOTONIC_USEC"
    assert before_us <= int(value) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000


def test_a_status_is_one_line_whatever_it_says(listener: Listener, systemd: Systemd) -> None:
    systemd.status("a card\nSTOPPING=1\r\n")
    assert listener.heard() == [["STATUS=a card STOPPING=1"]]


def test_the_environment_is_taken_and_not_handed_on() -> None:
    environment = {
        "NOTIFY_SOCKET": "/run/systemd/notify", "WATCHDOG_USEC": "10000000",
        "WATCHDOG_PID": str(os.getpid()), "PATH": "/usr/bin",
    }  # fmt: skip
    systemd = Systemd.from_environment(environment)
    systemd.close()
    assert systemd.watchdog_s == 10.0
    assert environment == {"PATH": "/usr/bin"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"WATCHDOG_USEC": "10000000", "WATCHDOG_PID": "1"},
        {"WATCHDOG_USEC": "0"},
        {"WATCHDOG_USEC": "-5"},
        {"WATCHDOG_USEC": "soon"},
        {},
    ],
)
def test_no_life_is_wanted_of_us(wrong: dict[str, str]) -> None:
    systemd = Systemd.from_environment({"NOTIFY_SOCKET": "@nobody", **wrong})
    systemd.close()
    assert systemd.watchdog_s is None


def test_started_by_hand_it_tells_nobody(capsys: pytest.CaptureFixture[str]) -> None:
    systemd = Systemd.from_environment({"WATCHDOG_USEC": "10000000"})
    systemd.ready("well")
    Watchdog(systemd, (), lambda: "well").beat()
    systemd.close()
    assert systemd.watchdog_s is None
    assert capsys.readouterr().err == ""


def test_nobody_at_the_socket_is_said_and_survived(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    systemd = Systemd(str(tmp_path / "gone"))
    systemd.ready("well")
    systemd.close()
    assert "systemd does not hear READY=1" in capsys.readouterr().err


def test_a_sign_of_life_never_waits_for_systemd(
    systemd: Systemd, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its queue is full when it does not read; waiting would hold up whoever enforces."""
    while "does not hear" not in capsys.readouterr().err:
        systemd.alive()


def test_beats_come_three_times_in_its_interval(listener: Listener, systemd: Systemd) -> None:
    clock = Clock()
    watchdog = Watchdog(systemd, (), lambda: "well", clock)
    for _ in range(37):
        watchdog.beat()
        clock.now_s += 0.25
    beats = [words for words in listener.heard() if words == ["WATCHDOG=1"]]
    assert len(beats) == 4


def test_a_late_thread_costs_the_beat_and_says_who(
    listener: Listener, systemd: Systemd, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = Clock()
    turns = (Turn("sampler", 20.0, clock), Turn("detection", 60.0, clock))
    watchdog = Watchdog(systemd, turns, lambda: "well", clock)
    clock.now_s += 20.0
    watchdog.beat()
    assert listener.heard() == [["WATCHDOG=1"], ["STATUS=well"]]
    clock.now_s += 4.0
    watchdog.beat()
    late = "the thread sampler has not taken a turn for 24 s"
    assert listener.heard() == [[f"STATUS={late}"]]
    assert capsys.readouterr().err == f"gpupaneld: {late}: the service will be started anew\n"
    clock.now_s += 4.0
    watchdog.beat()
    assert ["WATCHDOG=1"] not in listener.heard()
    assert capsys.readouterr().err == ""
    turns[0].take()
    clock.now_s += 4.0
    watchdog.beat()
    assert listener.heard() == [["WATCHDOG=1"], ["STATUS=well"]]


def test_the_status_is_told_when_it_changes(listener: Listener, systemd: Systemd) -> None:
    clock, said = Clock(), ["one"]
    watchdog = Watchdog(systemd, (), lambda: said[0], clock)
    for text in ("one", "one", "two"):
        said[0] = text
        watchdog.beat()
        clock.now_s += 5.0
    status = [words for words in listener.heard() if words != ["WATCHDOG=1"]]
    assert status == [["STATUS=one"], ["STATUS=two"]]


@pytest.mark.parametrize(
    ("number", "order"),
    [
        (signal.SIGTERM, Order.STOP),
        (signal.SIGINT, Order.STOP),
        (signal.SIGHUP, Order.READ_POLICY),
    ],
)
def test_a_signal_is_an_order(number: signal.Signals, order: Order) -> None:
    ours = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    before = {one: signal.getsignal(one) for one in ours}
    try:
        orders = signals()
        signal.raise_signal(number)
        assert orders.get(timeout=5) is order
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
