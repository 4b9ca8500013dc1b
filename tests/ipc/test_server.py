"""A connection served over real pipes."""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import IO, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpupanel.ipc import protocol
from gpupanel.ipc.limits import LOCAL_USER, Account
from gpupanel.ipc.server import Connection, Method, Subscription
from gpupanel.ipc.transport import Endpoint, Peer, PipeStream, parent

if sys.platform == "win32":
    pytest.skip("socket pairs", allow_module_level=True)

from gpupanel.ipc.unix_socket import SocketStream


@dataclass
class Talk:
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
def talk() -> Iterator[Talk]:
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
        yield Talk(connection, to_server, from_server)
        to_server.close()
        serving.join(timeout=10)
        assert not serving.is_alive()


def test_a_request_is_answered_under_its_number(talk: Talk) -> None:
    assert talk.ask("double", {"value": 21}, number=7) == {
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
    talk: Talk, method: str, params: Mapping[str, Any], code: protocol.ErrorCode
) -> None:
    assert talk.ask(method, params)["error"]["code"] == code
    assert talk.ask("double", {"value": 1})["result"] == {"doubled": 2}


def test_only_subscribers_are_told_and_only_until_they_unsubscribe(talk: Talk) -> None:
    talk.connection.publish("ticks", "tick", {"n": 1})
    number = talk.ask("subscribe", {"topic": "ticks"})["result"]["subscription"]
    talk.connection.publish("ticks", "tick", {"n": 2})
    assert talk.read() == protocol.notification("tick", {"subscription": number, "n": 2})
    talk.ask("unsubscribe", {"subscription": number})
    talk.connection.publish("ticks", "tick", {"n": 3})
    assert talk.ask("double", {"value": 3})["result"] == {"doubled": 6}


def test_a_broken_line_ends_the_connection_with_the_reason(talk: Talk) -> None:
    talk.to_server.write(b"rubbish\n")
    assert talk.read()["error"]["code"] == protocol.ErrorCode.PARSE


def test_a_client_that_does_not_read_never_holds_up_the_daemon(talk: Talk) -> None:
    talk.ask("subscribe", {"topic": "ticks"})
    for n in range(5000):
        talk.connection.publish("ticks", "tick", {"n": n, "padding": "x" * 1000})
    newest = 0
    while newest < 4999:
        newest = talk.read()["params"]["n"]
    assert newest == 4999


def test_a_subscription_keeps_to_its_interval() -> None:
    subscription = Subscription(1, interval_s=1.0)
    ticks_s = [n * 0.2 + 100 for n in range(51)]
    told = [now_s for now_s in ticks_s if subscription.due(now_s)]
    assert told == pytest.approx([100.0 + n for n in range(11)])


class Memory:
    """A stream whose client says all at once, and reads nothing until it has ended."""

    def __init__(self, said: bytes) -> None:
        self.said = said
        self.sent = b""

    def receive(self, timeout_s: float | None) -> bytes:
        chunk, self.said = self.said[:65536], self.said[65536:]
        return chunk

    def send(self, line: bytes) -> None:
        self.sent += line

    def abort(self) -> None:
        pass


requests = st.one_of(
    st.binary(max_size=200),
    st.sampled_from([b"\n", b"\r\n", b"{}", b'{"jsonrpc":"2.0"', b'"\xed\xa0\x80"']),
    st.builds(
        lambda number, method, params: json.dumps(
            {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
        ).encode(),
        st.integers() | st.none() | st.text() | st.booleans(),
        st.sampled_from(["double", "subscribe", "unsubscribe", "hello", ""]),
        st.recursive(
            st.none() | st.integers() | st.floats() | st.text(),
            lambda inner: st.lists(inner) | st.dictionaries(
                st.sampled_from(["value", "topic", "interval_s", "subscription"]), inner
            ),
            max_leaves=6,
        ),
    ),
)  # fmt: skip


@given(st.lists(requests, max_size=8))
def test_whatever_is_said_is_answered_with_messages_or_ends_it(said: list[bytes]) -> None:
    stream = Memory(b"".join(one + b"\n" for one in said))
    Connection(stream, parent(), {"double": double}, {"ticks"}).serve()
    for line in stream.sent.splitlines():
        assert json.loads(line)["jsonrpc"] == "2.0"


def serve_socket(account: Account, methods: Mapping[str, Method]) -> tuple[socket.socket, Any]:
    """A client's end, and the thread that serves the other one."""
    ours, theirs = socket.socketpair()
    stream = SocketStream(theirs, stall_s=0.2)
    peer = Peer(Endpoint.READ_ONLY, 1000, 1)
    connection = Connection(stream, peer, methods, {"ticks"}, account)

    def serve() -> None:
        connection.serve()
        stream.close()

    serving = threading.Thread(target=serve)
    serving.start()
    return ours, serving


HASTY = replace(LOCAL_USER, hello_s=0.2, line_s=0.2)
HELLO = protocol.encode(protocol.request(1, "hello", {}))


@pytest.mark.parametrize(
    "said",
    [b"", b"{", HELLO[:-1], HELLO + b" ", HELLO + HELLO + b'{"json', protocol.encode(
        protocol.request(1, "double", {"value": 1}))],
    ids=["nothing", "a byte", "no end", "a blank", "a part", "something else than hello"],
)  # fmt: skip
def test_who_does_not_finish_is_let_go(said: bytes) -> None:
    client, serving = serve_socket(Account(HASTY), {"hello": lambda _: {}, "double": double})
    with client:
        client.sendall(said)
        serving.join(10)
        assert not serving.is_alive()


def test_bytes_that_come_one_by_one_do_not_move_the_deadline() -> None:
    client, serving = serve_socket(Account(HASTY), {"hello": lambda _: {}})
    with client, suppress(BrokenPipeError):
        client.sendall(HELLO)
        while serving.is_alive():
            client.sendall(b" ")
            serving.join(0.02)


def test_who_has_said_hello_may_be_silent() -> None:
    client, serving = serve_socket(Account(HASTY), {"hello": lambda _: {}})
    with client:
        client.sendall(HELLO)
        client.recv(1000)
        serving.join(0.6)
        assert serving.is_alive()
    serving.join(10)
    assert not serving.is_alive()


def test_who_reads_nothing_is_answered_little_and_let_go() -> None:
    asked: list[int] = []
    account = Account(LOCAL_USER)

    def long(params: Mapping[str, Any]) -> dict[str, Any]:
        asked.append(account._unread_bytes)
        return {"text": "x" * 700_000}

    client, serving = serve_socket(account, {"hello": lambda _: {}, "long": long})
    with client:
        client.sendall(HELLO + protocol.encode(protocol.request(2, "long", {})) * 100)
        serving.join(20)
        assert not serving.is_alive()
    assert len(asked) <= 3
    assert max(asked) <= LOCAL_USER.unread_bytes
    assert account._unread_bytes == 0


def test_an_answer_that_is_too_long_is_refused_with_advice() -> None:
    methods = {"hello": lambda _: {}, "long": lambda _: {"text": "x" * (9 << 20)}}
    client, serving = serve_socket(Account(LOCAL_USER), methods)
    with client, client.makefile("rb") as lines:
        client.sendall(HELLO + protocol.encode(protocol.request(2, "long", {})))
        assert json.loads(lines.readline())["result"] == {}
        told = json.loads(lines.readline())
    assert (told["id"], told["error"]["message"]) == (
        2, "the answer is longer than 8 MiB: ask for less",
    )  # fmt: skip
    serving.join(10)


def test_a_second_subscription_of_a_topic_takes_the_place_of_the_first(talk: Talk) -> None:
    first = talk.ask("subscribe", {"topic": "ticks"})["result"]["subscription"]
    second = talk.ask("subscribe", {"topic": "ticks"})["result"]["subscription"]
    talk.connection.publish("ticks", "tick", {"n": 1})
    assert talk.read()["params"] == {"subscription": second, "n": 1}
    assert talk.ask("unsubscribe", {"subscription": first})["error"]["code"] == -32602
    assert talk.ask("double", {"value": 1})["result"] == {"doubled": 2}


def test_nothing_is_answered_before_hello() -> None:
    client, serving = serve_socket(Account(LOCAL_USER), {"hello": lambda _: {}, "double": double})
    ask = protocol.encode(protocol.request(2, "double", {"value": 1}))
    with client, client.makefile("rb") as lines:
        client.sendall(ask + HELLO + ask)
        told = [json.loads(lines.readline()) for _ in range(3)]
    assert told[0]["error"]["message"] == "say hello first"
    assert told[2]["result"] == {"doubled": 2}
    serving.join(10)
