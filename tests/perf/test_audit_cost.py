"""What the audit log costs whoever records, and how long a chain takes to be verified."""

from __future__ import annotations

import hashlib
import json
import os
import statistics
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from gpupanel.cli.audit import folder
from gpupanel.cli.audit.check import check
from gpupanel.model.chain import file_name
from gpupanel.service.audit.log import Audit
from gpupanel.service.audit.mirror import Told
from tests.service.audit_chain import chain, content, lay_down

pytestmark = pytest.mark.perf

RECORDS = 100_000
ROUNDS = 5


def seconds(work: Callable[[], object]) -> float:
    start_s = time.perf_counter()
    work()
    return time.perf_counter() - start_s


def test_verifying_is_little_more_than_reading_and_hashing(tmp_path: Path) -> None:
    lay_down(tmp_path, [content(chain(RECORDS))])
    path = tmp_path / file_name(1)

    def plain() -> None:
        for line in path.read_bytes().splitlines():
            json.loads(line)
            hashlib.sha256(line).hexdigest()

    pairs = [
        (seconds(lambda: check(folder.lines(tmp_path))), seconds(plain)) for _ in range(ROUNDS)
    ]
    ours_s, plain_s = (statistics.median(column) for column in zip(*pairs, strict=True))
    print(f"verify {RECORDS} records: {ours_s:.2f} s, {ours_s / plain_s:.1f} times parse and hash")
    assert ours_s < 3 * plain_s


class _Waker:
    """Tells when a record is on the disk."""

    problem = ""

    def __init__(self) -> None:
        self.is_told = threading.Event()

    def tell(self, told: Told) -> None:
        self.is_told.set()

    def close(self) -> None: ...


def test_who_records_does_not_wait_for_the_disk(tmp_path: Path) -> None:
    waker = _Waker()
    audit = Audit(tmp_path / "log", waker)
    fd = os.open(tmp_path / "plain", os.O_WRONLY | os.O_CREAT)
    record_s, disk_s = [], []

    def plain() -> None:
        os.write(fd, b"x" * 400)
        os.fsync(fd)

    for pid in range(500):
        waker.is_told.clear()
        record_s.append(seconds(lambda pid=pid: audit.record("hold.changed", pid=pid, name="x")))  # type: ignore[misc]
        waker.is_told.wait()
        disk_s.append(seconds(plain))
    audit.close()
    os.close(fd)
    ours_s, plain_s = statistics.median(record_s), statistics.median(disk_s)
    print(f"record {ours_s * 1e6:.0f} us beside {plain_s * 1e6:.0f} us of one write and fsync")
    assert ours_s < plain_s
