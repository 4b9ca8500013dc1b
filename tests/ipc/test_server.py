"""A connection served over real pipes."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import IO, Any

import pytest

from gpupanel.ipc import protocol
from gpupanel.ipc.server import Connection, Subscription
from gpupanel.ipc.transport import PipeStream, parent


@dataclass
class Peer:
    """The client's two ends of the pipes, and the connection that serves them."""

    connection: Connection
    to_server: IO[bytes]
    from_server: IO[bytes]

    def ask(self, method: str, params: Mapping[str, Any], number: int = 1) -> dict[str, Any]:
        self.to_server.write(protocol.encode(protocol.request(number, method, params)))
        return self.read()

    def read(self) -> dict[str, Any]:
        (message,) = protocol.Decoder(1 << 20).feed(self.from_server.readline())
        return message


def double(params: Mapping[str, Any]) -> dict[str, Any]:
    return {"doubled": 2 * params["value"]}


@pytest.fixture
def peer() -> Iterator[Peer]:
    server_reads, client_writes = os.pipe()
    client_reads, server_writes = os.pipe()
    with (
        open(server_reads, "rb") as reader,
        open(server_writes, "wb", buffering=0) as writer,
        open(client_reads, "rb") as from_server,
    ):
        to_server = open(client_writes, "wb", buffering=0)  # noqa: SIM115 - closed to end serve()
        stream = PipeStream(reader, writer)
        connection = Connection(stream, parent(), {"double": double}, {"ticks"})
        serving = threading.Thread(target=connection.serve)
        serving.start()
        yield Peer(connection, to_server, from_server)
        to_server.close()
        serving.join(timeout=10)
        assert not serving.is_alive()


def test_a_request_is_answered_under_its_number(peer: Peer) -> None:
    assert peer.ask("double", {"value": 21}, number=7) == {
        "jsonrpc": "2.0", "id": 7, "result": {"doubled": 42},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("method", "params", "code"),
    [
        ("halve", {}, protocol.ErrorCode.UNKNOWN_METHOD),
        ("double", {}, protocol.ErrorCode.INVALID_PARAMS),
        ("subscribe", {"topic": "nothing"}, protocol.ErrorCode.INVALID_PARAMS),
        ("subscribe", {"topic": "ticks", "interval_s": -1}, protocol.ErrorCode.INVALID_PARAMS),
        ("unsubscribe", {"subscription": 99}, protocol.ErrorCode.INVALID_PARAMS),
    ],
)
def test_a_wrong_request_gets_its_stable_code_and_the_next_one_works(
    peer: Peer, method: str, params: Mapping[str, Any], code: protocol.ErrorCode
) -> None:
    assert peer.ask(method, params)["error"]["code"] == code
    assert peer.ask("double", {"value": 1})["result"] == {"doubled": 2}


def test_only_subscribers_are_told_and_only_until_they_unsubscribe(peer: Peer) -> None:
    peer.connection.publish("ticks", "tick", {"n": 1})
    number = peer.ask("subscribe", {"topic": "ticks"})["result"]["subscription"]
    peer.connection.publish("ticks", "tick", {"n": 2})
    assert peer.read() == protocol.notification("tick", {"subscription": number, "n": 2})
    peer.ask("unsubscribe", {"subscription": number})
    peer.connection.publish("ticks", "tick", {"n": 3})
    assert peer.ask("double", {"value": 3})["result"] == {"doubled": 6}


def test_a_broken_line_ends_the_connection_with_the_reason(peer: Peer) -> None:
    peer.to_server.write(b"rubbish\n")
    assert peer.read()["error"]["code"] == protocol.ErrorCode.PARSE


def test_a_client_that_does_not_read_never_holds_up_the_daemon(peer: Peer) -> None:
    peer.ask("subscribe", {"topic": "ticks"})
    for n in range(5000):
        peer.connection.publish("ticks", "tick", {"n": n, "padding": "x" * 1000})
    newest = 0
    while newest < 4999:
        newest = peer.read()["params"]["n"]
    assert newest == 4999


def test_a_subscription_keeps_to_its_interval() -> None:
    subscription = Subscription(1, interval_s=1.0)
    ticks_s = [n * 0.2 + 100 for n in range(51)]
    told = [now_s for now_s in ticks_s if subscription.due(now_s)]
    assert told == pytest.approx([100.0 + n for n in range(11)])
