"""What is pure of the pipes of Windows; the rest never ran."""

from __future__ import annotations

import re

import pytest

from gpupanel.ipc.named_pipe import NAMES, security_descriptor
from gpupanel.ipc.transport import Endpoint

ENTRY = re.compile(r"\((\w);;(\w+);;;([\w-]+)\)")
READ_AND_WRITE = 0x120089 | 0x120116
"""FILE_GENERIC_READ and FILE_GENERIC_WRITE of winnt.h."""

CREATE_PIPE_INSTANCE = 0x4


def entries(text: str) -> list[tuple[str, str, str]]:
    head, _, rest = text.partition("(")
    assert head == "D:P"
    found = ENTRY.findall("(" + rest)
    assert "".join(f"({kind};;{right};;;{who})" for kind, right, who in found) == "(" + rest
    return found


def test_pipes_are_where_only_administrators_can_make_one() -> None:
    assert all(
        name.startswith(r"\\.\pipe\ProtectedPrefix\Administrators") for name in NAMES.values()
    )
    assert len(set(NAMES.values())) == 2


@pytest.mark.parametrize("endpoint", NAMES)
def test_the_network_is_shut_out_first(endpoint: Endpoint) -> None:
    assert entries(security_descriptor(endpoint))[0] == ("D", "GA", "NU")


def test_everybody_may_open_the_read_only_pipe_alone() -> None:
    allowed = {who for _, _, who in entries(security_descriptor(Endpoint.READ_ONLY))}
    assert allowed == {"NU", "SY", "BA", "IU"}
    control = {who for _, _, who in entries(security_descriptor(Endpoint.CONTROL, "S-1-5-9"))}
    assert control == {"NU", "SY", "BA", "S-1-5-9"}
    assert {who for _, _, who in entries(security_descriptor(Endpoint.CONTROL))} == {
        "NU", "SY", "BA",
    }  # fmt: skip


def test_who_may_open_a_pipe_may_not_make_another_of_its_name() -> None:
    (right,) = [
        int(right, 16)
        for _, right, who in entries(security_descriptor(Endpoint.READ_ONLY))
        if who == "IU"
    ]
    assert right == READ_AND_WRITE & ~CREATE_PIPE_INSTANCE
