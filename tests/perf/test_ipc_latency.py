"""What an honest client waits for while another user attacks: 50 ms at most, and no more memory.

Besides the figures of each attack, the ratio to the same questions without one is printed.
"""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gpupanel.ipc.client import Client
from gpupanel.ipc.transport import Service
from tests.ipc.conftest import SYSTEM_PYTHON, ServiceChild, open_directory, start_service

pytestmark = [
    pytest.mark.perf,
    pytest.mark.skipif(
        os.name != "posix" or os.geteuid() != 0, reason="only root can be two users"
    ),
]

ATTACKS = (Path(__file__).parents[1] / "ipc" / "attacks.py").read_text(encoding="utf-8")
SECONDS = 6.0
BETWEEN_S = 0.02
MOST_S = 0.050
MOST_GROWTH_BYTES = 32 << 20
UIDS = itertools.count(60_001)


@pytest.fixture(scope="module")
def service() -> Iterator[ServiceChild]:
    directory = open_directory()
    child = start_service(directory)
    yield child
    child.close()
    shutil.rmtree(directory)


def waits_s(client: Client, over: threading.Event) -> list[float]:
    """Of one question after another until ``over``; sorted."""
    found = []
    while not over.wait(BETWEEN_S):
        began_s = time.perf_counter()
        client.call("gpus", {})
        found.append(time.perf_counter() - began_s)
    return sorted(found)


def attacked(service: ServiceChild, name: str) -> threading.Event:
    """Begin an attack of another user; set when it is over."""
    uid, over = str(next(UIDS)), threading.Event()
    command = [
        "setpriv", "--reuid", uid, "--regid", uid, "--clear-groups", SYSTEM_PYTHON, "-I", "-c",
        ATTACKS, str(service.run_dir / "read-only.sock"), name, str(SECONDS),
    ]  # fmt: skip

    def follow() -> None:
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        over.set()

    threading.Thread(target=follow).start()
    return over


@pytest.mark.parametrize(
    "name",
    ["silent", "flood", "dear", "slow_reader", "slowloris", "newlines", "knocking", "half_open"],
)
def test_an_honest_client_is_answered_in_time(service: ServiceChild, name: str) -> None:
    with Client(Service(service.run_dir, os.geteuid())) as client:
        quiet = threading.Event()
        threading.Timer(1.0, quiet.set).start()
        alone = waits_s(client, quiet)
        before = service.takes()
        waited = waits_s(client, attacked(service, name))
        grew = service.takes()["peak_bytes"] - before["rss_bytes"]
    median, last = waited[len(waited) // 2], waited[int(len(waited) * 0.99)]
    ratio = median / alone[len(alone) // 2]
    print(
        f"\n{name}: median {median * 1e3:.2f} ms ({ratio:.1f} times that without), "
        f"p99 {last * 1e3:.1f} ms of {len(waited)}, {grew / 2**20:.1f} MiB more"
    )
    assert last <= MOST_S
    assert grew <= MOST_GROWTH_BYTES
