"""Who uses the processor through OpenCL: real programs, and a made-up /proc for the rest."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpupanel.backends.host import HostBackend
from gpupanel.backends.linux.opencl_users import OpenClUsers
from gpupanel.backends.linux.proc import identity, processor_s
from gpupanel.model.gpu import CPU_ID, ProcessKind, ProcessSample, Unavailable
from tests.backends.fake_proc import FakeProc
from tests.enforcement.miner.programs import neighbour

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="/proc is Linux's")

CORES = 4
POCL = "7f00-7f01 r-xp 00000000 08:01 7 /usr/lib/x86_64-linux-gnu/libpocl.so.2.10.0\n"
LOADER = "7f00-7f01 r-xp 00000000 08:01 7 /usr/lib/x86_64-linux-gnu/libOpenCL.so.1.0.0\n"
PAGES = 1000


class Machine:
    """Processes that burn what the test says, and the clock that it turns."""

    def __init__(self, root: Path) -> None:
        self.proc = FakeProc(root)
        self.now_s = 100.0
        self.used_s: dict[int, float] = {}
        self.users = OpenClUsers(root, lambda: self.now_s, self.used_s.get, CORES)
        self.users.look()

    def start(self, pid: int, maps: str, used_s: float = 0.0) -> None:
        self.proc.start(pid, started=10 * pid, comm="luxmark")
        self.map(pid, maps)
        (self.proc.root / f"{pid}/statm").write_text(f"9000 {PAGES} 10 1 0 500 0\n")
        self.used_s[pid] = used_s

    def map(self, pid: int, maps: str) -> None:
        (self.proc.root / f"{pid}/maps").write_text(maps)

    def end(self, pid: int) -> None:
        self.proc.end(pid)
        del self.used_s[pid]

    def look(self, after_s: float = 1.0, **burned_s: float) -> dict[int, Any]:
        """Utilization by pid, after so much time in which ``p<pid>`` burned so much."""
        self.now_s += after_s
        for name, spent_s in burned_s.items():
            self.used_s[int(name[1:])] += spent_s
        return {one.pid: one.utilization_percent for one in self.users.look()}


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path / "proc")


@pytest.mark.parametrize(
    "library",
    [
        "/usr/lib/x86_64-linux-gnu/libpocl.so.2.10.0",
        "/usr/lib/x86_64-linux-gnu/pocl/libpocl-devices-pthread.so",
        "/home/ada/venv/lib/python3.11/site-packages/pocl_binary_distribution/libpocl.so.2.8.0",
        "/opt/intel/oneapi/compiler/2024.1/lib/libintelocl.so.2024.17.3.0",
        "/usr/lib/liboclgrind-rt-icd.so",
    ],
)
def test_a_busy_process_with_such_a_library_is_a_user(machine: Machine, library: str) -> None:
    machine.start(7, f"7f00-7f01 r-xp 00000000 08:01 7 {library}\n")
    machine.now_s += 2.0
    machine.used_s[7] = 4.0
    assert machine.users.look() == (
        ProcessSample(
            gpu_id=CPU_ID, pid=7, started=70, name="luxmark",
            user=identity(os.getpid()).user, kind=ProcessKind.COMPUTE,  # type: ignore[union-attr]
            memory_used_bytes=PAGES * os.sysconf("SC_PAGESIZE"), utilization_percent=50.0,
            engines={"cpu": 50.0}, uid=os.geteuid(),
        ),
    )  # fmt: skip


@pytest.mark.parametrize(
    "library", [LOADER, "", "7f00-7f01 r-xp 0 08:01 7 /home/ada/libpocl/notes.txt\n"]
)
def test_the_loader_alone_makes_no_user(machine: Machine, library: str) -> None:
    machine.start(7, library)
    assert machine.look(p7=1.0) == {}


def test_one_that_hardly_works_is_not_looked_into(machine: Machine) -> None:
    machine.start(7, POCL)
    assert machine.look(p7=0.029) == {}
    assert machine.look(10.0, p7=0.29) == {}
    assert machine.look(10.0, p7=0.31) == {7: pytest.approx(3.1 / CORES)}


def test_a_user_stays_listed_while_it_rests_or_is_held(machine: Machine) -> None:
    machine.start(7, POCL)
    machine.look(p7=2.0)
    assert machine.look() == {7: 0.0}
    assert machine.look(300.0) == {7: 0.0}
    machine.end(7)
    assert machine.look() == {}


@pytest.mark.parametrize(
    ("busy_s", "most_s"), [(1, 2), (6, 2), (10, 3), (40, 12), (200, 55), (3600, 60)]
)
def test_a_library_that_is_loaded_late_is_found_in_a_quarter_of_that_time(
    machine: Machine, busy_s: int, most_s: int
) -> None:
    machine.start(7, LOADER)
    for _ in range(busy_s):
        machine.look(p7=1.0)
    machine.map(7, LOADER + POCL)
    late_s = 1
    while not machine.look(p7=1.0):
        late_s += 1
    assert late_s <= most_s


def test_what_is_busy_and_no_user_is_looked_into_seldom(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = 0
    really_open = os.open

    def counted(path: str, *arguments: Any) -> int:
        nonlocal looks
        looks += path.endswith("/maps")
        return really_open(path, *arguments)

    machine.start(7, LOADER)
    monkeypatch.setattr(os, "open", counted)
    for _ in range(3600):
        machine.look(p7=1.0)
    assert 60 <= looks < 90


def test_a_program_that_becomes_another_is_no_user_for_long(machine: Machine) -> None:
    machine.start(7, POCL)
    assert machine.look(p7=1.0)
    machine.map(7, LOADER)  # exec
    looks = 0
    while machine.look(p7=1.0):
        looks += 1
    assert looks < 4


def test_a_pid_that_is_used_again_is_another_process(machine: Machine) -> None:
    machine.start(7, POCL)
    machine.look(p7=3.0)
    machine.end(7)
    machine.start(7, LOADER, used_s=0.5)
    assert machine.look() == {}


def test_one_that_ended_and_waits_for_its_parent_is_not_listed(machine: Machine) -> None:
    machine.start(7, POCL)
    machine.look(p7=3.0)
    (machine.proc.root / "7/statm").write_text("0 0 0 0 0 0 0\n")
    assert machine.look() == {}


def test_what_a_process_burned_before_it_was_met_is_not_of_this_time(machine: Machine) -> None:
    machine.start(7, POCL, used_s=1e6)
    assert machine.look() == {}
    assert machine.look(p7=1.0) == {7: 25.0}


def test_a_look_too_soon_measures_nothing_and_loses_nothing(machine: Machine) -> None:
    machine.start(7, POCL)
    machine.look(p7=1.0)
    assert machine.look(0.01, p7=0.01) == {7: Unavailable("measuring")}
    assert machine.look(0.99, p7=1.99) == {7: 50.0}


def test_memory_that_cannot_be_read_is_not_nought(machine: Machine) -> None:
    machine.start(7, POCL)
    machine.look(p7=1.0)
    (machine.proc.root / "7/statm").unlink()
    machine.now_s += 1.0
    (one,) = machine.users.look()
    assert isinstance(one.memory_used_bytes, Unavailable)


def test_other_users_processes_are_counted_and_the_kernels_threads_are_not(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    really_open = os.open

    def refused(path: str, *arguments: Any) -> int:
        if path.endswith("/maps"):  # a test may run as root, whom nothing refuses
            raise PermissionError(13, "Permission denied", path)
        return really_open(path, *arguments)

    monkeypatch.setattr(os, "open", refused)
    for pid in (7, 8, 9):
        machine.start(pid, POCL)
    (machine.proc.root / "8/cmdline").write_text("")
    assert machine.users.hidden_reason == ""
    assert machine.look(p7=1.0, p8=1.0, p9=0.001) == {}
    assert machine.users.hidden_reason.startswith("1 busy processes of other users")
    assert "CAP_SYS_PTRACE" in machine.users.hidden_reason
    monkeypatch.undo()
    machine.end(7)
    machine.look()
    assert machine.users.hidden_reason == ""


@given(
    st.lists(
        st.tuples(st.floats(0.06, 30.0), st.dictionaries(st.integers(1, 5), st.floats(0, 1.0))),
        max_size=8,
    )
)
def test_shares_are_of_all_cores_and_add_up_to_what_was_burned(
    tmp_path_factory: pytest.TempPathFactory, looks: list[tuple[float, Mapping[int, float]]]
) -> None:
    machine = Machine(tmp_path_factory.mktemp("proc"))
    for pid in range(1, 6):
        machine.start(pid, POCL)
    machine.look(p1=0.5, p2=0.5, p3=0.5, p4=0.5, p5=0.5)
    for span_s, shares in looks:
        burned = {f"p{pid}": share * span_s for pid, share in shares.items()}
        for pid, percent in machine.look(span_s, **burned).items():
            assert percent == pytest.approx(100 * shares.get(pid, 0.0) / CORES, abs=1e-6)
            assert 0 <= percent <= 100


# The kernel itself


def test_the_clock_of_a_process_counts_its_threads_and_its_own_time_only() -> None:
    before_s, ours_s = processor_s(os.getpid()), time.process_time()
    assert before_s == pytest.approx(ours_s, abs=0.01)
    child = subprocess.Popen(
        [sys.executable, "-c", "import threading, time\n"
         "def burn():\n"
         "    while time.thread_time() < 0.15: pass\n"
         "threads = [threading.Thread(target=burn) for _ in range(2)]\n"
         "for one in threads: one.start()\n"
         "for one in threads: one.join()\n"
         "print(time.process_time(), flush=True)\n"
         "input()"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert child.stdout is not None
    told_s = float(child.stdout.readline())
    assert told_s > 0.3
    assert processor_s(child.pid) == pytest.approx(told_s, abs=0.01)
    child.communicate("\n")
    assert processor_s(child.pid) is None


def test_a_real_program_on_a_real_implementation_is_found_by_the_backend() -> None:
    backend = HostBackend()
    backend.probe()
    with neighbour() as honest:
        honest.wait_until_at_work()
        marks = [_mark(honest.pid)]
        backend.processes()
        marks.append(_mark(honest.pid))
        honest.wait_for_work(honest.work + 1000)
        marks.append(_mark(honest.pid))
        found = {one.pid: one for one in backend.processes()}
        marks.append(_mark(honest.pid))
        one = found[honest.pid]
    # The two looks fell somewhere between the marks around each.
    (outer, inner), cores = (_between(marks, 0, 3), _between(marks, 1, 2)), os.cpu_count() or 1
    share = one.utilization_percent
    assert isinstance(share, float)
    assert 100 * inner[1] / outer[0] / cores <= share <= min(100, 100 * outer[1] / inner[0] / cores)
    assert (one.gpu_id, one.name, one.kind) == (CPU_ID, "heat2d", ProcessKind.COMPUTE)
    assert one.utilization_percent == pytest.approx(share, rel=0.2, abs=5)
    assert one.engines == {"cpu": one.utilization_percent}
    assert 5e6 < one.memory_used_bytes < 1e9  # type: ignore[operator]
    assert os.getpid() not in found
    backend.close()
    assert backend.processes() == ()


def _mark(pid: int) -> tuple[float, float]:
    used_s = processor_s(pid)
    assert used_s is not None
    return time.monotonic(), used_s


def _between(marks: list[tuple[float, float]], first: int, last: int) -> tuple[float, float]:
    return marks[last][0] - marks[first][0], marks[last][1] - marks[first][1]
