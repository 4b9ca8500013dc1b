"""The test's own miner: that its hashes are real, and that it can do what evaders do."""

from __future__ import annotations

import hashlib
import json
import re
import socket
import struct
import sys
import urllib.request

import pytest

from tests.enforcement.miner.programs import SOURCES, miner, neighbour

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="written for Linux")


def test_what_it_compares_its_hashes_with_is_what_hashlib_says() -> None:
    header = bytes(range(76))
    fold = 0
    for nonce in range(2048):
        once = hashlib.sha256(header + struct.pack(">I", nonce)).digest()
        fold ^= struct.unpack(">8I", hashlib.sha256(once).digest())[7]
    source = (SOURCES / "miner.c").read_text()
    assert re.search(r"KNOWN_FOLD = (0x[0-9a-f]{8});", source)[1] == f"0x{fold:08x}"  # type: ignore[index]


def test_it_mines_and_its_api_tells_the_rate_of_its_counter() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with miner("--api-bind-http", f"127.0.0.1:{port}") as one:
        one.wait_until_at_work()
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/summary", timeout=5) as answer:
            summary = json.load(answer)
        assert summary["name"] == "t-rex"
        assert isinstance(summary["hashrate"], int)
        assert [process.pid for process in one.processes()] == [one.process.pid] == [one.pid]


@pytest.mark.parametrize(
    ("words", "processes"),
    [(["--child"], 2), (["--split", "2"], 3), (["--watchdog"], 2), (["--threads-churn"], 1)],
)
def test_it_works_in_as_many_processes_as_it_is_told(words: list[str], processes: int) -> None:
    starts = 2 if "--split" in words else 1
    with miner(*words) as one:
        one.wait_until_at_work(starts)
        assert len(one.processes()) == processes


def test_it_hides_from_its_parent_and_is_started_anew() -> None:
    with miner("--daemonize", "--respawn", "0.05") as one:
        assert one.finished() == 0
        one.wait_until_at_work(starts=2)
        assert one.pid != one.process.pid
        (alive,) = one.processes()[:1]
        assert alive.ppid() != one.process.pid
    assert one.processes() == []


def test_it_ends_by_itself() -> None:
    with miner(seconds=0.2) as one:
        assert one.finished() == 0


def test_a_switch_that_it_does_not_know_is_an_error() -> None:
    with miner("--pool-side-rate", "1") as one:
        assert one.finished() == 64


def test_the_neighbours_heat_is_conserved() -> None:
    with neighbour("--duty", "50", "20", seconds=1.5) as one:
        one.wait_until_at_work()
        assert one.finished() == 0, one.process.stderr
