"""The service against users who mean it harm: it goes on, and takes no more than before."""

from __future__ import annotations

import itertools
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from gpupanel.ipc.client import Client
from gpupanel.ipc.transport import Service
from tests.ipc.conftest import ServiceChild, as_user

pytestmark = pytest.mark.skipif(
    sys.platform == "win32" or os.geteuid() != 0, reason="only root can be a second user"
)

ATTACKS = (Path(__file__).parent / "attacks.py").read_text(encoding="utf-8")
MOST_GROWTH_BYTES = 32 << 20
UIDS = itertools.count(60_001)
"""Each attack has a user of its own: the one before may have used up what a user may take."""


def attack(service: ServiceChild, name: str, seconds: float) -> Any:
    told = as_user(next(UIDS), ATTACKS, str(service.run_dir / "read-only.sock"), name, str(seconds))
    return json.loads(told)


@pytest.fixture
def unharmed(service: ServiceChild) -> Any:
    """It answers others after the attack, and has given everything back."""
    ours = Service(service.run_dir, os.geteuid())
    with Client(ours) as client:
        client.call("history", {"seconds": 1})
        before = service.takes()
        yield
        assert client.call("gpus", {})["gpus"]
        attack(service, "greet", 10)
        after = service.takes()
        assert after["threads"] == before["threads"]
        assert after["descriptors"] <= before["descriptors"]
        assert after["peak_bytes"] - before["rss_bytes"] < MOST_GROWTH_BYTES


@pytest.mark.usefixtures("unharmed")
@pytest.mark.parametrize(
    "name", ["flood", "dear", "slow_reader", "newlines", "knocking", "half_open", "killed"]
)
def test_it_goes_on(service: ServiceChild, name: str) -> None:
    attack(service, name, 0.4)


@pytest.mark.usefixtures("unharmed")
@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("mebibyte", "longer than 65536 bytes"),
        ("mebibyte_line", "longer than 65536 bytes"),
        ("deep", "more than 64 objects"),
        ("wide", "more than 64 objects"),
        ("twice", "stands twice"),
        ("not_utf8", "utf-8"),
        ("utf16", "utf-8"),
        ("nan", "NaN is not a JSON number"),
        ("long_integer", "4300 digits"),
        ("quotes", "Unterminated string"),
    ],
)
def test_a_hostile_line_is_answered_with_its_fault_and_ends_the_connection(
    service: ServiceChild, name: str, complaint: str
) -> None:
    (line,) = attack(service, name, 10).splitlines()
    error = json.loads(line)["error"]
    assert error["code"] == -32700
    assert complaint in error["message"]


@pytest.mark.usefixtures("unharmed")
def test_of_forty_connections_of_one_user_eight_are_served(service: ServiceChild) -> None:
    served, told = attack(service, "many", 10)
    assert served == 8
    assert told == ["your user has 8 connections already, and no more may be"]
