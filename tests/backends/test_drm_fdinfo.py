from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from gpupanel.backends.linux.drm_fdinfo import ClientUse, Engine, FdinfoScanner, parse_fdinfo
from tests.backends.fake_proc import FakeProc

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="/proc is Linux's")

RECORDINGS = Path(__file__).parents[1] / "recordings" / "fdinfo"

KIB = 1024
MIB = 1024**2
NODE = "/dev/dri/renderD128"
NODES = {"renderD128"}


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def proc(tmp_path: Path) -> FakeProc:
    return FakeProc(tmp_path / "proc")


@pytest.fixture
def scanner(proc: FakeProc, clock: Clock) -> FdinfoScanner:
    return FdinfoScanner(proc.root, clock)


def fdinfo(client: int, gfx_ns: int, pdev: str = "0000:03:00.0", extra: str = "") -> str:
    return (
        f"pos:\t0\ndrm-driver:\tamdgpu\ndrm-client-id:\t{client}\ndrm-pdev:\t{pdev}\n"
        f"drm-engine-gfx:\t{gfx_ns} ns\n{extra}"
    )


def percents(uses: tuple[ClientUse, ...]) -> dict[int, Mapping[str, float] | None]:
    return {use.pid: use.percent_by_engine for use in uses}


class TestParser:
    def test_amdgpu_as_its_author_shows_it(self) -> None:
        client = parse_fdinfo((RECORDINGS / "amdgpu.lkml-tursulin.txt").read_bytes())
        assert client is not None
        assert (client.driver, client.device, client.client_id) == ("amdgpu", "0000:04:00.0", 30)
        assert client.engines == {"gfx": Engine(39456116802)}
        assert client.memory_bytes == {"cpu": 0, "gtt": 22 * MIB, "vram": 544428 * KIB}

    def test_xe_as_its_kernel_document_shows_it(self) -> None:
        client = parse_fdinfo((RECORDINGS / "xe.kernel-doc.txt").read_bytes())
        assert client is not None
        assert (client.driver, client.device, client.client_id) == ("xe", "0000:03:00.0", 3)
        assert client.engines == {
            "rcs": Engine(28257900, 7655183225),
            "bcs": Engine(0, 7655183225),
            "vcs": Engine(0, 7655183225, capacity=2),
            "vecs": Engine(0, 7655183225, capacity=2),
            "ccs": Engine(0, 7655183225, capacity=4),
        }
        assert client.memory_bytes == {
            "system": 0, "gtt": 192 * KIB, "vram0": 23992 * KIB, "stolen": 0,
        }  # fmt: skip

    @pytest.mark.parametrize(
        ("text", "engines", "memory_bytes"),
        [
            (  # i915
                "drm-engine-render: 25662044495 ns\ndrm-engine-video-enhance: 7 ns\n"
                "drm-engine-capacity-video-enhance: 2\ndrm-total-local0: 9 MiB\n"
                "drm-resident-local0: 8 MiB\ndrm-active-local0: 1 MiB\ndrm-shared-local0: 0\n"
                "drm-total-stolen-system0: 3\n",
                {"render": Engine(25662044495), "video-enhance": Engine(7, capacity=2)},
                {"local0": 8 * MIB, "stolen-system0": 3},
            ),
            (  # msm and panfrost: time beside cycles that are a share of nothing
                "drm-engine-gpu: 5 ns\ndrm-cycles-gpu: 99\ndrm-maxfreq-gpu: 800000000 Hz\n"
                "drm-resident-memory: 4096\n",
                {"gpu": Engine(5)},
                {"memory": 4096},
            ),
            ("drm-cycles-fragment: 4\ndrm-curfreq-fragment: 1 Hz\n", {}, {}),
            ("drm-memory-vram: 12 kB\n", {}, {"vram": 12 * KIB}),  # kernels before 6.7
            ("drm-resident-vram: 3 parsecs\ndrm-engine-gfx: 4 ms\n", {}, {}),
            ("drm-engine-capacity-gfx: 0\ndrm-engine-gfx: 4 ns\n", {"gfx": Engine(4)}, {}),
        ],
    )
    def test_every_driver_has_its_own_set_of_keys(
        self, text: str, engines: dict[str, Engine], memory_bytes: dict[str, int]
    ) -> None:
        client = parse_fdinfo(b"drm-driver:\tany\n" + text.encode())
        assert client is not None
        assert client.engines == engines
        assert client.memory_bytes == memory_bytes

    def test_what_is_no_gpu_is_none(self) -> None:
        assert parse_fdinfo(b"pos:\t0\nflags:\t02\nmnt_id:\t9\n") is None

    @given(st.binary(max_size=300))
    def test_any_bytes_give_a_client_or_none(self, text: bytes) -> None:
        for content in (text, b"drm-driver: x\n" + text):
            client = parse_fdinfo(content)
            assert client is None or all(size >= 0 for size in client.memory_bytes.values())

    @given(
        st.dictionaries(
            st.sampled_from(
                ["engine-a", "engine-capacity-a", "cycles-a", "total-cycles-a", "total-cycles-b",
                 "resident-m", "memory-m", "total-m", "client-id", "pdev", "cycles-b"]
            ),
            st.one_of(st.integers(-5, 2**70).map(str), st.text(max_size=5)),
        ),
        st.sampled_from(["", " ns", " KiB", " MiB", " GiB", " xB"]),
    )  # fmt: skip
    def test_its_numbers_fit_the_kernels(self, lines: dict[str, str], unit: str) -> None:
        text = "".join(f"drm-{key}:\t{value}{unit}\n" for key, value in lines.items())
        client = parse_fdinfo(b"drm-driver:\tx\n" + text.encode())
        assert client is not None
        for engine in client.engines.values():
            assert 0 <= engine.busy < 2**64
            assert engine.total is None or 0 <= engine.total < 2**64
            assert 0 < engine.capacity < 2**64
        assert all(0 <= size < 2**64 for size in client.memory_bytes.values())


class TestScanner:
    def test_the_first_look_starts_measuring_and_the_next_tells(
        self, proc: FakeProc, scanner: FdinfoScanner, clock: Clock
    ) -> None:
        proc.start(5, started=77)
        proc.open(5, 3, NODE, fdinfo(1, 1_000_000_000))
        (use,) = scanner.scan(NODES)
        assert use.percent_by_engine is None
        assert use.process.started == 77
        clock.now_s += 2.0
        proc.open(5, 3, NODE, fdinfo(1, 1_500_000_000))
        assert percents(scanner.scan(NODES)) == {5: {"gfx": 25.0}}

    def test_xe_is_measured_by_the_clock_of_the_gpu(
        self, proc: FakeProc, scanner: FdinfoScanner, clock: Clock
    ) -> None:
        text = (RECORDINGS / "xe.kernel-doc.txt").read_text()
        proc.start(5)
        proc.open(5, 3, NODE, text)
        scanner.scan(NODES)
        clock.now_s += 60.0  # says nothing here
        text = text.replace("7655183225", "7655184225").replace("28257900", "28258650")
        proc.open(5, 3, NODE, text.replace("drm-cycles-ccs: 0", "drm-cycles-ccs: 1000"))
        used = percents(scanner.scan(NODES))[5]
        assert used == {"rcs": 75.0, "bcs": 0.0, "vcs": 0.0, "vecs": 0.0, "ccs": 25.0}

    def test_one_client_in_many_files_and_processes_counts_once(
        self, proc: FakeProc, scanner: FdinfoScanner
    ) -> None:
        for pid in (9, 10, 8):
            proc.start(pid)
            proc.open(pid, 3, NODE, fdinfo(1, 5))
            proc.open(pid, 4, NODE, fdinfo(1, 5))
        proc.open(10, 5, NODE, fdinfo(1, 5, pdev="0000:04:00.0"))
        uses = scanner.scan(NODES)
        assert [(use.pid, use.client.device) for use in uses] == [
            (8, "0000:03:00.0"),
            (10, "0000:04:00.0"),
        ]

    def test_clients_that_leave_make_nothing_absurd(
        self, proc: FakeProc, scanner: FdinfoScanner, clock: Clock
    ) -> None:
        proc.start(5)
        proc.open(5, 3, NODE, fdinfo(1, 9_000_000_000))
        proc.open(5, 4, NODE, fdinfo(2, 0))
        scanner.scan(NODES)
        clock.now_s += 1.0
        (proc.root / "5/fd/3").unlink()
        proc.open(5, 4, NODE, fdinfo(2, 250_000_000))
        assert percents(scanner.scan(NODES)) == {5: {"gfx": 25.0}}

    def test_a_descriptor_that_leads_elsewhere_now_is_not_opened(
        self, proc: FakeProc, scanner: FdinfoScanner, clock: Clock
    ) -> None:
        proc.start(5)
        proc.open(5, 3, NODE, fdinfo(1, 0))
        assert len(scanner.scan(NODES)) == 1
        clock.now_s += 1.0
        proc.open(5, 3, "/home/u/file", fdinfo(1, 0))
        assert scanner.scan(NODES) == ()

    def test_only_the_asked_nodes_are_read(
        self, proc: FakeProc, scanner: FdinfoScanner, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        proc.start(5)
        proc.open(5, 3, NODE, fdinfo(1, 0))
        proc.open(5, 4, "/dev/dri/renderD129", fdinfo(2, 0, "0000:04:00.0"))
        proc.open(5, 5, "/dev/null")
        opened: list[str] = []
        real = os.open

        def spy(path: str, flags: int) -> int:
            opened.append(path)
            return real(path, flags)

        monkeypatch.setattr(os, "open", spy)
        assert len(scanner.scan({"renderD129"})) == 1
        assert [path for path in opened if "fdinfo" in path] == [f"{proc.root}/5/fdinfo/4"]

    def test_a_device_seen_from_outside_of_its_container(
        self, proc: FakeProc, scanner: FdinfoScanner
    ) -> None:
        proc.start(5)
        proc.open(5, 3, "/dri/renderD128", fdinfo(1, 0))
        assert len(scanner.scan(NODES)) == 1

    def test_a_new_file_of_a_known_process_is_found_within_ten_seconds(
        self, proc: FakeProc, scanner: FdinfoScanner, clock: Clock
    ) -> None:
        for pid in range(5, 25):
            proc.start(pid)
        assert scanner.scan(NODES) == ()
        for pid in range(5, 25):
            proc.open(pid, 3, NODE, fdinfo(pid, 0))
        found = []
        for _ in range(11):
            found.append(len(scanner.scan(NODES)))
            clock.now_s += 1.0
        assert found[0] == 0
        assert found[-1] == 20
        assert max(later - now for now, later in pairwise(found)) <= 6

    def test_a_gpu_file_in_place_of_another_is_found_within_a_minute(
        self, proc: FakeProc, scanner: FdinfoScanner, clock: Clock
    ) -> None:
        for pid in range(5, 25):
            proc.start(pid)
            proc.open(pid, 3, "/dev/null")
        scanner.scan(NODES)
        for pid in range(5, 25):
            proc.open(pid, 3, NODE, fdinfo(pid, 0))
        found = []
        for _ in range(71):
            found.append(len(scanner.scan(NODES)))
            clock.now_s += 1.0
        assert found[0] == 0
        assert found[-1] == 20
        assert max(later - now for now, later in pairwise(found)) <= 6

    def test_looking_again_asks_only_descriptors_that_are_new(
        self,
        proc: FakeProc,
        scanner: FdinfoScanner,
        clock: Clock,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        proc.start(5)
        for fd in range(50):
            proc.open(5, fd, "/dev/null")
        scanner.scan(NODES)
        proc.open(5, 60, "/dev/zero")
        asked: list[str] = []
        real = os.readlink

        def spy(path: str) -> str:
            asked.append(path)
            return real(path)

        monkeypatch.setattr(os, "readlink", spy)
        for _ in range(20):
            clock.now_s += 1.0
            scanner.scan(NODES)
        assert asked == [f"{proc.root}/5/fd/60"]

    def test_another_process_of_the_same_pid_starts_anew(
        self, proc: FakeProc, scanner: FdinfoScanner, clock: Clock
    ) -> None:
        proc.start(5, started=1, comm="old")
        proc.open(5, 3, NODE, fdinfo(1, 9))
        scanner.scan(NODES)
        clock.now_s += 1.0
        (proc.root / "5").rename(proc.root / "old")  # keeps its inode, as /proc never does
        proc.start(5, started=2, comm="new")
        proc.open(5, 3, NODE, fdinfo(1, 3_000_000_000))
        (use,) = scanner.scan(NODES)
        assert (use.process.name, use.process.started) == ("new", 2)
        assert use.percent_by_engine is None

    def test_processes_of_others_are_counted_and_kernel_threads_are_not(
        self, proc: FakeProc, scanner: FdinfoScanner, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for pid in (2, 3, 4, 5):
            proc.start(pid)
        (proc.root / "2/cmdline").write_text("")
        real = os.listdir

        def refused(folder: str) -> list[str]:
            if folder.endswith(("/2/fd", "/3/fd", "/4/fd")):
                raise PermissionError(13, "Permission denied", folder)
            return real(folder)

        monkeypatch.setattr(os, "listdir", refused)
        assert scanner.hidden_reason == ""
        assert scanner.scan(NODES) == ()
        assert scanner.hidden_processes == 2
        assert scanner.hidden_reason.startswith("2 processes of other users cannot be seen: needs")

    def test_without_proc_there_is_nobody(self, tmp_path: Path) -> None:
        assert FdinfoScanner(tmp_path / "absent").scan(NODES) == ()

    def test_a_real_process_tree_is_walked(self) -> None:
        scanner = FdinfoScanner()
        assert scanner.scan(()) == ()
        mine = scanner._looks[os.getpid()]
        assert not mine.is_hidden


@settings(max_examples=60, deadline=None)
@given(texts=st.lists(st.binary(max_size=120), min_size=1, max_size=4), span_s=st.floats(0, 1e6))
def test_any_bytes_in_any_order_give_shares_of_time(texts: list[bytes], span_s: float) -> None:
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        proc = FakeProc(Path(folder))
        proc.start(5)
        proc.open(5, 3, NODE)
        scanner = FdinfoScanner(proc.root, clock)
        for text in texts:
            (proc.root / "5/fdinfo/3").write_bytes(b"drm-driver: x\ndrm-client-id: 1\n" + text)
            for use in scanner.scan(NODES):
                for percent in (use.percent_by_engine or {}).values():
                    assert 0 <= percent <= 100
            clock.now_s += span_s


class Clients(RuleBasedStateMachine):
    """Clients come and go, counters step back and pids are used again; a model keeps the truth."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.clock = Clock()
        self.proc = FakeProc(Path(self.folder.name))
        self.scanner = FdinfoScanner(self.proc.root, self.clock)
        self.busy_ns: dict[tuple[int, int], int] = {}
        self.clients: dict[tuple[int, int], int] = {}
        self.seen: dict[int, tuple[float, int]] = {}
        self.next_client = 1
        self.starts = 0

    def teardown(self) -> None:
        self.folder.cleanup()

    @rule(pid=st.integers(1, 4), fd=st.integers(3, 5), busy_ns=st.integers(0, 10**10))
    def opens(self, pid: int, fd: int, busy_ns: int) -> None:
        if not (self.proc.root / str(pid)).exists():
            self.starts += 1
            self.proc.start(pid, started=self.starts)
        self.clients[pid, fd] = self.next_client
        self.next_client += 1
        self.busy_ns[pid, fd] = busy_ns
        self._write(pid, fd)

    @rule(data=st.data(), change_ns=st.integers(-(10**9), 10**10))
    def counts(self, data: st.DataObject, change_ns: int) -> None:
        if self.clients:
            pid, fd = data.draw(st.sampled_from(sorted(self.clients)))
            self.busy_ns[pid, fd] = max(0, self.busy_ns[pid, fd] + change_ns)
            self._write(pid, fd)

    @rule(pid=st.integers(1, 4))
    def ends(self, pid: int) -> None:
        if (self.proc.root / str(pid)).exists():
            self.proc.end(pid)
            for key in [key for key in self.clients if key[0] == pid]:
                del self.clients[key], self.busy_ns[key]

    @rule(span_s=st.floats(0.5, 20))
    def scans(self, span_s: float) -> None:
        self.clock.now_s += 10.0 + span_s  # long enough for every process to be looked at again
        uses = self.scanner.scan(NODES)
        by_client = {use.client.client_id or 0: use for use in uses}
        assert sorted(by_client) == sorted(self.clients.values())
        seen = {}
        for (pid, fd), client in self.clients.items():
            assert by_client[client].pid == pid
            now_ns = self.busy_ns[pid, fd]
            before = self.seen.get(client)
            percent = by_client[client].percent_by_engine
            if before is None:
                assert percent is None
            else:
                spent_ns = max(0, now_ns - before[1])
                expected = 100 * spent_ns / ((self.clock.now_s - before[0]) * 1e9)
                assert percent is not None
                assert dict(percent) == pytest.approx({"gfx": min(100.0, expected)})
            seen[client] = (self.clock.now_s, max(now_ns, before[1] if before else 0))
        self.seen = seen
        assert len(self.scanner._meters) == len(self.clients)  # nothing is kept of the dead

    def _write(self, pid: int, fd: int) -> None:
        self.proc.open(pid, fd, NODE, fdinfo(self.clients[pid, fd], self.busy_ns[pid, fd]))


TestClients = Clients.TestCase
TestClients.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)
