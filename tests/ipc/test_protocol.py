"""The protocol against arbitrary messages, arbitrary cuts, and hostile lines."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpupanel.ipc import protocol
from gpupanel.ipc.protocol import Decoder
from gpupanel.model.errors import ProtocolError

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip
messages = st.builds(
    protocol.request,
    st.integers(min_value=0),
    st.text(),
    st.dictionaries(st.text(), json_values, max_size=4),
)


@given(st.lists(messages, max_size=5), st.data())
def test_messages_survive_any_cut_of_the_stream(
    sent: list[dict[str, Any]], data: st.DataObject
) -> None:
    stream = b"".join(protocol.encode(message) for message in sent)
    decoder = Decoder(protocol.MAX_REQUEST_BYTES)
    received: list[dict[str, Any]] = []
    while stream:
        cut = data.draw(st.integers(min_value=1, max_value=len(stream)))
        received += decoder.feed(stream[:cut])
        stream = stream[cut:]
    assert received == sent


@given(messages)
def test_a_message_is_one_line_that_the_standard_library_reads(message: dict[str, Any]) -> None:
    line = protocol.encode(message)
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    assert json.loads(line) == message


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        (b"not json", "not a message"),
        (b"[1]", "JSON object"),
        (b'{"id": 1}', "2.0"),
        (b'{"jsonrpc": "2.0", "method": "a", "method": "b"}', "stands twice"),
        (b'{"jsonrpc": "2.0", "id": NaN}', "NaN"),
        (b'{"jsonrpc": "2.0", "id": -Infinity}', "Infinity"),
        (b'{"jsonrpc": "2.0", "id": ' + b"9" * 5000 + b"}", "not a message"),
        (b'{"jsonrpc": "2.0", "params": ' + b"[" * 30_000 + b"]" * 30_000 + b"}", "not a message"),
        (b'\xff\xfe{"jsonrpc": "2.0"}', "not a message"),
    ],
)
def test_a_hostile_line_is_refused_with_its_fault(line: bytes, complaint: str) -> None:
    with pytest.raises(ProtocolError, match=complaint):
        Decoder(protocol.MAX_REQUEST_BYTES).feed(line + b"\n")


def test_a_line_without_end_is_refused_before_it_fills_the_memory() -> None:
    decoder = Decoder(max_bytes=1000)
    assert decoder.feed(b"x" * 1000) == []
    with pytest.raises(ProtocolError, match="longer than 1000 bytes"):
        decoder.feed(b"x")


def test_nan_is_never_sent() -> None:
    with pytest.raises(ValueError, match="JSON"):
        protocol.encode(protocol.result(1, {"value": float("nan")}))
