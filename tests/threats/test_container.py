"""A miner in a container of its user's own: what it is and says is read as it sees it."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from gpupanel.detection.reading.proc_reader import ProcReader
from gpupanel.detection.signatures import built_in
from gpupanel.detection.told import all_evidence

pytestmark = pytest.mark.skipif(
    sys.platform == "win32" or os.geteuid() != 0, reason="only root can be another user"
)

USER = 65534
PYTHON = Path("/usr/bin/python3").resolve()
CONTAINER = (
    "unshare", "--user", "--map-root-user", "--mount", "--pid", "--net", "--ipc", "--uts",
    "--cgroup", "--fork", "--mount-proc", "--kill-child", "sh", "-ec",
)  # fmt: skip
IMAGE = """
mount -t tmpfs tmpfs /mnt
cp "$1" /mnt/update
echo '{"pool": "stratum+tcp://rvn.2miners.com:6060"}' >/mnt/config.json
cd /mnt
shift
exec ./update "$@"
"""
MINE = """
import fcntl, socket, struct, sys
wire = socket.socket()
fcntl.ioctl(wire, 0x8914, struct.pack("16sH14x", b"lo", 0x41))
pool = socket.create_server(("127.0.0.1", 6060))
wire.connect(pool.getsockname())
print(flush=True)
sys.stdin.read()
"""
"""Brings its own network up, and keeps a connection in it."""

WORDS = ("-a", "kawpow", "--config", "config.json")


@pytest.fixture
def pid() -> Iterator[int]:
    """Ours, of the only process in there."""
    process = subprocess.Popen(
        [*CONTAINER, IMAGE, "sh", PYTHON, "-c", MINE, *WORDS],
        user=USER, group=USER, extra_groups=(), cwd="/", env={"PYTHONHOME": "/usr", "PATH": "/bin"},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    process.stdout.readline()
    (inside,) = psutil.Process(process.pid).children()
    yield inside.pid
    process.communicate()


def test_a_container_hides_nothing(pid: int) -> None:
    ours, its = (
        {name: os.readlink(f"/proc/{one}/ns/{name}") for name in ("mnt", "pid", "net", "user")}
        for one in ("self", pid)
    )
    assert all(ours[name] != its[name] for name in ours)
    assert not Path("/mnt/update").exists()
    reader = ProcReader(built_in())
    for now_s in (0.0, 3.0):
        reader.begin_look(now_s, [pid])
        facts = reader.read(pid, 0)
        reader.read_on(lambda: False)
    assert facts is not None
    assert (facts.uid, facts.program.path) == (USER, "/mnt/update")
    assert facts.content_sha256 == hashlib.sha256(PYTHON.read_bytes()).hexdigest()
    assert not facts.program.is_trusted
    assert facts.arguments[-4:] == WORDS
    assert {(one.host, one.port) for one in facts.connections} == {("127.0.0.1", 6060)}
    assert [config.name for config in facts.configs] == ["config.json"]
    kinds = {line.kind for line in all_evidence(facts, (), built_in())}
    assert {"algorithm", "pool"} <= kinds
