"""Real processes under a miner's command line, and real sockets that never leave this host."""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from gpupanel.detection import files
from gpupanel.detection.reading.content import AT_ONCE_BYTES, BLOCK_BYTES, LARGEST_BYTES, Contents
from gpupanel.detection.reading.facts import ProcessFacts
from gpupanel.detection.reading.own_files import OwnFiles
from gpupanel.detection.reading.proc_reader import ProcReader
from gpupanel.detection.reading.psutil_reader import PsutilReader
from gpupanel.detection.reading.tables import mapped_files
from gpupanel.detection.signatures import built_in
from gpupanel.detection.told import all_evidence

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="/proc is Linux's")

WALLET = "0x5218597d48333d4a70cce91e810007b37e2937b5"
SLEEPER = "import sys; print('up', flush=True); sys.stdin.read()"
CONNECTOR = (
    "import socket, sys; s = socket.create_connection(('127.0.0.1', int(sys.argv[-1])));"
    "l = socket.create_server(('127.0.0.1', 0)); print(l.getsockname()[1], flush=True);"
    "sys.stdin.read()"
)

Start = Callable[..., tuple[subprocess.Popen[str], str]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Run a harmless program under any command line until the test ends."""
    running: list[subprocess.Popen[str]] = []

    def run(
        arguments: Sequence[str], program: str = sys.executable
    ) -> tuple[subprocess.Popen[str], str]:
        process = subprocess.Popen(
            arguments, executable=program, cwd=tmp_path, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        running.append(process)
        assert process.stdout is not None
        return process, process.stdout.readline().strip()

    yield run
    for process in running:
        process.communicate()


def read(pid: int, reader: ProcReader | PsutilReader | None = None) -> ProcessFacts:
    reader = reader or ProcReader(built_in())
    reader.begin_look(time.monotonic(), [pid])
    facts = reader.read(pid, 0)
    assert facts is not None
    return facts


def kinds(facts: ProcessFacts) -> set[str]:
    return {line.kind for line in all_evidence(facts, (), built_in())}


def test_a_miners_command_line_on_a_harmless_process(start: Start) -> None:
    words = ["miner", "-c", SLEEPER, "--algo", "ethash", "--server", "eth.2miners.com:2020"]
    process, _ = start([*words, "--user", f"{WALLET}.worker1"])
    facts = read(process.pid)
    assert facts.arguments[0] == "miner"
    assert facts.parent == os.getpid()
    assert facts.uid == os.getuid()
    assert kinds(facts) >= {"name", "grammar", "algorithm", "wallet", "pool", "label"}


def test_a_connection_to_the_port_that_was_named(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as pool:
        port = pool.getsockname()[1]
        words = ["x", "-c", CONNECTOR, "-o", f"stratum+tcp://127.0.0.1:{port}", str(port)]
        process, own_port = start(words)
        facts = read(process.pid)
    (connection,) = facts.connections
    assert (connection.host, connection.port, connection.is_local) == ("127.0.0.1", port, True)
    assert facts.listening_ports == (int(own_port),)
    assert kinds(facts) >= {"scheme", "named pool"}


def test_psutil_sees_the_same(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as pool:
        port = pool.getsockname()[1]
        process, _ = start(["x", "-c", CONNECTOR, str(port)])
        ours, theirs = read(process.pid), read(process.pid, PsutilReader(built_in()))
    for name in ("arguments", "connections", "listening_ports", "parent", "content_sha256"):
        assert getattr(ours, name) == getattr(theirs, name), name
    assert ours.program.sha256 == theirs.program.sha256


def test_a_connection_grows_old(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as pool:
        process, _ = start(["x", "-c", CONNECTOR, str(pool.getsockname()[1])])
        reader = ProcReader(built_in())
        ages = []
        for now_s in (100.0, 103.0, 170.0):
            reader.begin_look(now_s, [process.pid])
            facts = reader.read(process.pid, 0)
            assert facts is not None
            ages.append(facts.connections[0].age_s)
    assert ages == [0.0, 3.0, 70.0]


def test_a_connection_that_is_opened_later_is_seen_at_the_next_look(start: Start) -> None:
    later = (
        "import socket, sys; print(flush=True); sys.stdin.readline(); "
        "s = socket.create_connection(('127.0.0.1', int(sys.argv[-1]))); "
        "print(flush=True); sys.stdin.read()"
    )
    with socket.create_server(("127.0.0.1", 0)) as pool:
        process, _ = start(["x", "-c", later, str(pool.getsockname()[1])])
        reader = ProcReader(built_in())
        found = [read(process.pid, reader).connections for _ in range(2)]
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("\n")
        process.stdin.flush()
        process.stdout.readline()
        # Whatever its turn to have all links read anew: of four looks, three are not.
        numbers = reader._processes[process.pid].looks
        reader._processes[process.pid].looks = numbers - (numbers + process.pid + 1) % 4 + 5
        found.append(read(process.pid, reader).connections)
    assert [len(one) for one in found] == [0, 0, 1]


def test_a_configuration_that_was_named_and_one_that_lies_beside(
    start: Start, tmp_path: Path
) -> None:
    (tmp_path / "my.ini").write_text(f"[Ethash]\nwallet = {WALLET}\npool1 = a.nanopool.org:9999\n")
    (tmp_path / "epools.txt").write_text("POOL: eth-eu.dwarfpool.com:8008, WALLET: x\n")
    process, _ = start(["nothing", "-c", SLEEPER, "my.ini"])
    facts = read(process.pid)
    assert [config.name for config in facts.configs] == ["my.ini", "epools.txt"]
    told = {line.kind for line in files.evidence(facts, built_in())}
    assert told == {"config name", "algorithm", "wallet", "grammar"}
    assert "pool" in kinds(facts)


def test_a_pipe_a_folder_and_a_secret_are_no_configuration(start: Start, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "config.json")
    (tmp_path / "config.txt").mkdir()
    (tmp_path / "config.ini").symlink_to("/dev/zero")
    process, _ = start(["nothing", "-c", SLEEPER])
    assert read(process.pid).configs == ()


def test_what_only_its_owner_may_read_is_not_read_for_another(tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_text("{}")
    file.chmod(0o600)
    own = OwnFiles("/proc")
    assert own.text("/proc/self", str(file), os.getuid()) == "{}"
    assert own.text("/proc/self", str(file), os.getuid() + 1) == ""
    file.chmod(0o644)
    assert own.text("/proc/self", str(file), os.getuid() + 1) == "{}"


def test_a_configuration_that_comes_later_is_found(start: Start, tmp_path: Path) -> None:
    process, _ = start(["nothing", "-c", SLEEPER])
    reader = ProcReader(built_in())
    assert read(process.pid, reader).configs == ()
    (tmp_path / "config.json").write_text("{}")
    assert [config.name for config in read(process.pid, reader).configs] == ["config.json"]


def test_a_copy_under_another_name_is_the_same_program(start: Start, tmp_path: Path) -> None:
    original = shutil.which("cat")
    assert original is not None
    original = os.path.realpath(original)
    copy = tmp_path / "update"
    shutil.copy(original, copy)
    process = subprocess.Popen([copy], stdin=subprocess.PIPE)
    try:
        facts = read(process.pid)
        copy.unlink()
        removed = read(process.pid)
    finally:
        process.communicate()
    expected = hashlib.sha256(Path(original).read_bytes()).hexdigest()
    assert facts.content_sha256 == removed.content_sha256 == expected
    assert removed.program.name == "update"
    assert not facts.program.is_trusted


@pytest.mark.skipif(
    os.name != "posix" or os.geteuid() != 0, reason="the tests' own library must not be root's"
)
def test_code_that_root_did_not_install_is_seen_in_root_s_program(tmp_path: Path) -> None:
    cat = os.path.realpath(shutil.which("cat") or "")
    plain = subprocess.Popen([cat], stdin=subprocess.PIPE)
    library = next(path for path in mapped_by(os.getpid()) if "/libc" in path)
    borrowed = tmp_path / "mine.so"
    shutil.copy(library, borrowed)
    os.chown(borrowed, 65534, 65534)
    loaded = subprocess.Popen(
        [cat], stdin=subprocess.PIPE, env={**os.environ, "LD_PRELOAD": str(borrowed)}
    )
    try:
        while str(borrowed) not in mapped_by(loaded.pid):
            assert loaded.poll() is None
        reader = ProcReader(built_in())
        assert [reader.has_foreign_code(one.pid) for one in (plain, loaded)] == [False, True]
        assert read(loaded.pid).program.is_trusted
        borrowed.unlink()
        assert reader.has_foreign_code(loaded.pid)
        shutil.copy(library, borrowed)  # root's, and another file than the one that is mapped
        assert reader.has_foreign_code(loaded.pid)
    finally:
        plain.communicate()
        loaded.communicate()


def mapped_by(pid: int) -> set[str]:
    return {path for path, _ in mapped_files(Path(f"/proc/{pid}/maps").read_bytes())}


AS_THE_UNIT = (
    *("unshare", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child", "sh", "-ec"),
    "mount -o remount,hidepid=2 /proc; setpriv --reuid=65534 --clear-groups sleep 100 &"
    ' exec setpriv --bounding-set="-all,+kill,+sys_ptrace,+dac_read_search,+dac_override"'
    ' --no-new-privs "$@" $!',
    "sh", sys.executable, "-c",
)  # fmt: skip
READ = """
import os, sys
from gpupanel.detection.reading.proc_reader import ProcReader
from gpupanel.detection.signatures import built_in
reader, pid = ProcReader(built_in()), int(sys.argv[1])
while "sleep" not in os.readlink(f"/proc/{pid}/exe"): pass
reader.begin_look(0.0, [pid])
facts = reader.read(pid, 0)
print(facts.uid, facts.program.name, bool(facts.content_sha256), *facts.arguments)
"""


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="needs root")
def test_hidepid_hides_nothing_from_the_services_four_capabilities() -> None:
    told = subprocess.run(
        [*AS_THE_UNIT, READ], capture_output=True, text=True, timeout=30, check=False
    )
    assert told.stdout == "65534 sleep True sleep 100\n", told.stderr


def test_an_interpreter_is_its_script(start: Start, tmp_path: Path) -> None:
    script = tmp_path / "work.py"
    script.write_text("# stratum+" + "tcp:// and mining." + "subscribe\n" + SLEEPER)
    process, _ = start(["python3", str(script)])
    facts = read(process.pid)
    assert facts.content_sha256 == hashlib.sha256(script.read_bytes()).hexdigest()
    assert facts.script is not None
    assert len(facts.script.markers) == 2
    assert "content" in kinds(facts)
    bare, _ = start(["python3", "-c", SLEEPER])
    assert read(bare.pid).content_sha256 is None


def test_a_launcher_is_read_up_to_the_shell(start: Start) -> None:
    child = f"import subprocess; subprocess.run([{sys.executable!r}, '-c', {SLEEPER!r}])"
    parent, _ = start(["launch", "-c", child, "--pool", "x"])
    children = [
        int(name) for name in os.listdir("/proc") if name.isdecimal() and _ppid(name) == parent.pid
    ]
    (launcher, *_) = read(children[0]).launchers
    assert launcher.arguments[-2:] == ("--pool", "x")


def test_who_is_gone_or_another_is_nobody(start: Start) -> None:
    process, _ = start(["x", "-c", SLEEPER])
    reader = ProcReader(built_in())
    reader.begin_look(0.0, [process.pid])
    started = read(process.pid).started
    assert reader.read(process.pid, started) is not None
    assert reader.read(process.pid, started + 1) is None
    process.communicate()
    assert reader.read(process.pid, started) is None


def test_a_large_file_is_read_a_little_at_each_look(tmp_path: Path) -> None:
    file = tmp_path / "large"
    content = b"a" * (5 * BLOCK_BYTES - 3) + b"needle" + b"b" * 100
    file.write_bytes(content)
    contents = Contents([b"needle", b"needless"])
    first = contents.of(str(file))
    assert first is not None
    assert (first.sha256, first.markers) == (None, ())
    assert contents.of(str(file)) == first  # no more without time for it
    looks = 0
    while (found := contents.of(str(file))) is not None and found.sha256 is None:
        contents.of(str(file))
        contents.read_on(lambda: True)
        looks += 1
    assert found is not None
    assert looks == 6  # of six blocks one was read when it was met; the last look finds the end
    assert found.sha256 == hashlib.sha256(content).hexdigest()
    assert found.markers == ("needle",)


def test_all_is_read_on_while_there_is_time(tmp_path: Path) -> None:
    files = [tmp_path / name for name in "abcd"]
    for file in files:
        file.write_bytes(os.urandom(3 * AT_ONCE_BYTES))
    contents = Contents([])
    for file in files:
        contents.of(str(file))
    files[1].unlink()  # it ended meanwhile
    files[2].write_bytes(b"another")
    contents.read_on(lambda: False)
    for file in (files[0], files[2], files[3]):
        found = contents.of(str(file))
        assert found is not None
        assert found.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    assert contents.of(str(files[1])) is None


def test_a_file_that_was_written_is_another(tmp_path: Path) -> None:
    file = tmp_path / "x"
    contents = Contents([])
    found = []
    for text in (b"one", b"other"):
        file.write_bytes(text)
        contents.of(str(file))
        content = contents.of(str(file))
        assert content is not None
        found.append(content.sha256)
    assert found == [hashlib.sha256(text).hexdigest() for text in (b"one", b"other")]


def test_what_is_too_large_or_no_file_is_left_alone(tmp_path: Path) -> None:
    sparse = tmp_path / "sparse"
    with sparse.open("wb") as file:
        file.truncate(LARGEST_BYTES + 1)
    contents = Contents([b"x"])
    found = contents.of(str(sparse))
    assert found is not None
    assert found.sha256 is None
    assert contents.of("/dev/zero") is None
    assert contents.of(str(tmp_path)) is None
    assert contents.of(str(tmp_path / "none")) is None


def _ppid(pid: str) -> int:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return 0
    return int(text.rpartition(")")[2].split()[1])
