"""The rate that a miner tells of itself: the real test miner, every grammar, and every liar."""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpupanel.enforcement import hash_rate
from gpupanel.enforcement.hash_rate import reported_rate
from gpupanel.model.gpu import Unavailable
from tests.enforcement.miner.programs import miner

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the test's miner is for Linux")

ME = os.getpid()

Answer = Callable[[socket.socket], None]


class Server:
    """Answers each connection as it is told; ``paths`` are those that were asked for."""

    def __init__(self) -> None:
        self.answer: Answer = lambda connection: None
        self.asked: list[bytes] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            with connection:
                connection.settimeout(1)
                self.asked.append(connection.recv(1000).split(b"\r\n")[0])
                if self.asked[-1] == b"stop":
                    return
                try:
                    self.answer(connection)
                except OSError:
                    continue  # the other end had enough

    def close(self) -> None:
        with socket.create_connection(("127.0.0.1", self.port)) as last:
            last.sendall(b"stop")
        self._thread.join()
        self._listener.close()


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.close()


def page(body: bytes, status: bytes = b"200 OK", length: int | None = None) -> Answer:
    size = len(body) if length is None else length
    head = b"HTTP/1.1 " + status + b"\r\nContent-Length: " + str(size).encode() + b"\r\n\r\n"
    return lambda connection: connection.sendall(head + body)


def pages(server: Server, **answers: Any) -> Answer:
    """``summary`` is JSON at ``/summary``; every other path is not found."""

    def answer(connection: socket.socket) -> None:
        path = server.asked[-1].split(b" ")[1].decode().strip("/").replace("/", "_") or "root"
        found = answers.get(path)
        reply = page(b"", b"404 Not Found") if found is None else page(json.dumps(found).encode())
        reply(connection)

    return answer


def of_lolminer(**algorithm: Any) -> dict[str, Any]:
    return {"root": {"Algorithms": [algorithm]}}


def reason(port: int) -> str:
    value = reported_rate(ME, [port])
    assert isinstance(value, Unavailable)
    return value.reason


@pytest.mark.parametrize(
    ("answers", "hash_per_s"),
    [
        ({"summary": {"name": "t-rex", "hashrate": 59_200_000}}, 59.2e6),
        ({"2_summary": {"hashrate": {"total": [1234.5, 1200.0, None]}}}, 1234.5),
        (of_lolminer(Total_Performance=30.5, Performance_Unit="Mh/s"), 30.5e6),
        (of_lolminer(Total_Performance=2, Performance_Factor=1000), 2000.0),
        (of_lolminer(Total_Performance=40, Performance_Unit="sol/s"), None),
        ({"summary": {"hashrate": 0}}, 0.0),
    ],
)
def test_the_grammars_of_miners(
    server: Server, answers: dict[str, Any], hash_per_s: float | None
) -> None:
    server.answer = pages(server, **answers)
    value = reported_rate(ME, [server.port])
    if hash_per_s is None:
        assert isinstance(value, Unavailable)
    else:
        assert value == pytest.approx(hash_per_s)
    assert all(line.startswith(b"GET /") for line in server.asked)


@pytest.mark.parametrize(
    ("summary", "hash_per_s"),
    [
        ({"Elapsed": 60, "MHS av": 30.1, "MHS 30s": 31.25}, 31.25e6),
        ({"KHS av": 10, "KHS 5s": "12.5"}, 12_500.0),
    ],
)
def test_cgminers_grammar(
    server: Server, monkeypatch: pytest.MonkeyPatch, summary: Any, hash_per_s: float
) -> None:
    monkeypatch.setattr(hash_rate, "_CGMINER_PORTS", {server.port})
    text = json.dumps({"SUMMARY": [summary]}).encode() + b"\0"
    server.answer = lambda connection: connection.sendall(text)
    assert reported_rate(ME, [server.port]) == pytest.approx(hash_per_s)
    assert server.asked == [b'{"command":"summary"}']


@pytest.mark.parametrize(
    "rate",
    ["true", '"fast"', "null", "-1", "1e19", "1e999", "NaN", "Infinity", "[1]", "9" * 5000, "{}"],
)
def test_what_is_no_rate_is_not_believed(server: Server, rate: str) -> None:
    server.answer = page(b'{"hashrate": %s}' % rate.encode())
    assert str(server.port) in reason(server.port)


@pytest.mark.parametrize(
    "answer",
    [
        lambda connection: None,
        lambda connection: connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n"),
        lambda connection: connection.sendall(b"HTTP/1.1\r\n\r\n"),
        page(b"[" * 60_000),
        page(b'{"hashrate": 5}', b"500 Internal Server Error"),
        page(b"\xff\xfe\x00"),
        page(b'{"hashrate": 5'),
        page(b""),
    ],
)
def test_what_is_no_miner_is_said(server: Server, answer: Answer) -> None:
    server.answer = answer
    assert reason(server.port)


def endless(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        connection.sendall(b" " * 8192)


def drop_by_drop(connection: socket.socket) -> None:
    """So fast that no single wait is long, so slow that it is never too much."""
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    while True:
        connection.sendall(b" ")
        time.sleep(0.0003)


@pytest.mark.parametrize("answer", [endless, drop_by_drop])
def test_an_answer_without_an_end_holds_nobody_up(server: Server, answer: Answer) -> None:
    server.answer = answer
    began_s = time.monotonic()
    assert "does not" in reason(server.port)
    assert time.monotonic() - began_s < 20 * hash_rate.ANSWER_S
    assert len(server.asked) == 1, "no use to ask again"


def test_an_answer_that_is_longer_than_announced_is_no_json(server: Server) -> None:
    server.answer = page(b'{"hashrate": 5} and more', length=15)
    value = reported_rate(ME, [server.port])
    assert value == 5.0 or isinstance(value, Unavailable)


def test_nobody_listens_is_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert "does not answer" in reason(port)
    assert reported_rate(ME, []) == Unavailable("it listens on no port")


def test_another_network_is_not_asked(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    really = os.readlink
    monkeypatch.setattr(
        os, "readlink", lambda path: "net:[1]" if "self" in str(path) else really(path)
    )
    value = reported_rate(ME, [server.port])
    assert isinstance(value, Unavailable)
    assert "container" in value.reason
    assert server.asked == []


def test_one_that_listens_everywhere_is_asked_a_few_times_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[int] = []

    def refused(address: tuple[str, int], timeout_s: float) -> socket.socket:
        asked.append(address[1])
        raise ConnectionRefusedError

    monkeypatch.setattr(socket, "create_connection", refused)
    reported_rate(ME, range(1, 1001))
    assert len(asked) == 8


@given(st.binary(max_size=400))
def test_any_bytes_are_a_rate_or_a_reason(received: bytes) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hash_rate, "_exchanged", lambda *_: received)
        for port in (4028, 4067):
            value = reported_rate(ME, [port])
            assert isinstance(value, Unavailable) or 0 <= value <= 1e18


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(
            ["hashrate", "total", "Algorithms", "Total_Performance", "Performance_Unit",
             "Performance_Factor", "SUMMARY", "MHS 5s", "KHS av"]
        ), inner, max_size=4,
    ),
)  # fmt: skip


@given(json_values)
def test_any_document_is_a_rate_or_a_reason(document: Any) -> None:
    text = b"HTTP/1.0 200 OK\r\n\r\n" + json.dumps(document).encode()
    with pytest.MonkeyPatch.context() as patch:
        for port, received in ((4028, text.partition(b"\r\n\r\n")[2]), (4067, text)):
            patch.setattr(hash_rate, "_exchanged", lambda *_, received=received: received)
            value = reported_rate(ME, [port])
            assert isinstance(value, Unavailable) or 0 <= value <= 1e18


def test_the_foreign_miner_tells_what_its_counter_says() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with miner("--api-bind-http", f"127.0.0.1:{port}") as one:
        one.wait_until_at_work()
        began_s, before = time.monotonic(), one.work
        one.wait_for_work(before + 10_000_000)
        told = reported_rate(one.process.pid, [port])
        counted = (one.work - before) / (time.monotonic() - began_s)
    assert isinstance(told, float)
    assert counted / 2 < told < 2 * counted, "it counts over a little more than we do"
