"""Peers in C: small programs, built here, that do what a kernel does on the same processor."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

PEERS = Path(__file__).parent / "peers"

Peer = Callable[[], float]
"""The best rate of 0.3 s, per second, measured now."""

StartPeer = Callable[..., Peer]


@pytest.fixture
def start_peer(tmp_path: Path) -> Iterator[StartPeer]:
    """Build ``peers/<name>.c`` as well as gcc can, and keep it running with its arguments."""
    with ExitStack() as running:

        def start(name: str, *arguments: str) -> Peer:
            binary = tmp_path / name
            subprocess.run(
                ["gcc", "-O3", "-march=native", "-pthread", "-o", binary, PEERS / f"{name}.c"],
                check=True,
            )
            process = running.enter_context(
                subprocess.Popen(
                    [binary, *arguments],
                    stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                )
            )  # fmt: skip
            running.callback(process.kill)

            def rate() -> float:
                assert process.stdin is not None
                assert process.stdout is not None
                process.stdin.write("\n")
                process.stdin.flush()
                return float(process.stdout.readline())

            return rate

        yield start
