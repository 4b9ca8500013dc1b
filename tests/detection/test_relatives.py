"""Evidence that sits with a parent or a child, and how fast a connection is: real processes."""

from __future__ import annotations

import os
import select
import shlex
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpupanel.detection.reading import rates
from gpupanel.detection.reading.facts import ProcessFacts
from gpupanel.detection.reading.proc_reader import ProcReader
from gpupanel.detection.reading.tables import Socket
from gpupanel.detection.signatures import built_in

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")

WAIT = "import sys; print(flush=True); sys.stdin.read()"
CONNECT = (
    "import socket, sys; s = socket.create_connection((sys.argv[-2], int(sys.argv[-1]))); "
    "print(flush=True); sys.stdin.read()"
)
START = f"import subprocess; subprocess.run([{sys.executable!r}, '-c', *{{!r}}])"
CONNECT_AND_START = (
    "import socket, subprocess, sys; "
    "s = socket.create_connection((sys.argv[-2], int(sys.argv[-1]))); s.set_inheritable(False); "
    f"subprocess.run([{sys.executable!r}, '-c', {WAIT!r}])"
)
MINER = ("--algo", "kawpow", "-u", "RBX1G6nYDMHVtyaZiQWySMZw1Bb2DEDpT8")

Start = Callable[..., int]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Run something that says when it is ready; the pid."""
    running: list[subprocess.Popen[str]] = []

    def run(arguments: Sequence[str], program: str = sys.executable) -> int:
        process = subprocess.Popen(
            arguments, executable=program, cwd=tmp_path, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        running.append(process)
        assert process.stdout is not None
        process.stdout.readline()
        return process.pid

    yield run
    for process in running:
        process.communicate()


@pytest.fixture
def pool() -> Iterator[tuple[str, str]]:
    """A port that listens, on this host."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield "127.0.0.1", str(server.getsockname()[1])


def read(pid: int, clients: Sequence[int] = ()) -> ProcessFacts:
    reader = ProcReader(built_in())
    reader.begin_look(0.0, [pid, *clients])
    facts = reader.read(pid, 0)
    assert facts is not None
    return facts


def child_of(pid: int) -> int:
    """The kernel's own list of children may leave some out while others end (proc(5))."""
    for _ in range(1000):
        children = psutil.Process(pid).children()
        if len(children) == 1:
            return children[0].pid
        select.select([], [], [], 0.005)
    raise AssertionError(f"{pid} has not one child")


def test_a_connection_of_the_parent_counts_for_the_child(
    start: Start, pool: tuple[str, str]
) -> None:
    parent = start(["launch", "-c", CONNECT_AND_START, *pool])
    facts = read(child_of(parent))
    (launcher, *_) = facts.launchers
    assert facts.connections == ()
    assert [one.port for one in launcher.connections] == [int(pool[1])]


def test_a_connection_and_the_words_of_a_child_count_for_the_parent(
    start: Start, pool: tuple[str, str]
) -> None:
    parent = start(["compute", "-c", START.format([CONNECT, *MINER, *pool])])
    (child,) = read(parent).children
    assert child.arguments[3:7] == MINER
    assert [one.port for one in child.connections] == [int(pool[1])]


def test_a_child_that_uses_a_gpu_is_judged_itself(start: Start, pool: tuple[str, str]) -> None:
    parent = start(["compute", "-c", START.format([CONNECT, *MINER, *pool])])
    assert read(parent, [child_of(parent)]).children == ()


def test_a_grandchild_counts_and_what_is_below_a_shell_does_not(start: Start) -> None:
    inner = START.format([WAIT, "deep"])
    grandparent = start(["compute", "-c", START.format([inner])])
    assert [one.arguments[-1] for one in read(grandparent).children] == [inner, "deep"]
    typed = "import subprocess; subprocess.run(['bash', '-c', 'echo; read x; true'])"
    terminal = start(["terminal", "-c", typed])
    assert read(terminal).children == ()


def test_the_line_of_a_shells_script_that_starts_the_program_counts(
    start: Start, tmp_path: Path
) -> None:
    script = tmp_path / "start.sh"
    program = Path(os.path.realpath(sys.executable)).name
    (tmp_path / "work.py").write_text(WAIT)
    script.write_text(
        f"#!/bin/bash\n# work.py --algo commented\nother --algo ethash\n"
        f"nohup {shlex.quote(sys.executable)} work.py\nexec true  # never\n"
        f"{program} work.py --algo kawpow \\\n -u x\n"
    )
    shell = start(["bash", str(script)], "/bin/bash")
    launchers = read(child_of(shell)).launchers
    assert [one.arguments for one in launchers] == [
        ("work.py",), ("work.py", "--algo", "kawpow", "-u", "x"),
    ]  # fmt: skip
    assert all(one.name == str(script) for one in launchers)


def test_another_accounts_parent_is_no_relative(start: Start) -> None:
    parent = start(["launch", "-c", START.format([WAIT])])
    reader = ProcReader(built_in())
    reader.begin_look(0.0, [])
    assert reader._relatives.launchers(parent, os.getuid(), "x") != ()
    assert reader._relatives.launchers(parent, os.getuid() + 1, "x") == ()
    assert reader._relatives.children(parent, os.getuid() + 1) == ()


def test_the_kernel_counts_the_bytes_of_a_connection() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as near,
    ):
        far, _ = server.accept()
        with far:
            near.sendall(b"x" * 5000)
            assert len(far.recv(5000, socket.MSG_WAITALL)) == 5000
            far.sendall(b"y" * 300)
            assert len(near.recv(300, socket.MSG_WAITALL)) == 300
            host, port = near.getsockname()
            inode = os.fstat(near.fileno()).st_ino
            one = Socket(inode, port, host, server.getsockname()[1], False, True, host)
            counted = rates.bytes_of(one)
            other = rates.bytes_of(replace(one, inode=inode + 1))
            gone = rates.bytes_of(replace(one, local_port=1))
    assert counted is not None
    # Acknowledgements of the last bytes may be on their way; a SYN counts as one.
    assert 5000 <= counted <= 5302
    assert other is gone is None


def test_a_rate_is_that_since_the_connection_was_seen(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = iter([1000, 13_000])
    monkeypatch.setattr("gpupanel.detection.reading.proc_reader.bytes_of", lambda one: next(counts))
    reader = ProcReader(built_in())
    away = Socket(7, 40_000, "203.0.113.5", 443, False, False, "192.0.2.1")
    monkeypatch.setattr(reader, "_table", lambda folder: {7: away})
    monkeypatch.setattr(
        "gpupanel.detection.reading.proc_reader.links", lambda folder, numbers: ("socket:[7]",)
    )
    pid = start(["x", "-c", WAIT])
    found = []
    for look in range(5):
        reader.begin_look(look * 60.0, [pid])
        facts = reader.read(pid, 0)
        assert facts is not None
        found.append(facts.connections[0].bytes_per_s)
    assert found[0] is None
    (rate,) = {one for one in found if one is not None}
    age_s = 60.0 * next(place for place, one in enumerate(found) if one is not None)
    assert rate == 12_000 / age_s


@given(st.binary(max_size=300), st.integers(0, 2**32 - 1))
def test_no_answer_breaks_the_reader(answer: bytes, inode: int) -> None:
    framed = rates._HEADER.pack(16 + len(answer), rates._BY_FAMILY, 0, 1, 0) + answer
    for message in (answer, framed):
        counted = rates.counted(message, inode)
        assert counted is None or counted >= 0
