"""GPU time of a cell: by every driver stack's counters, summed up over deaths, forks and splits."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gpupanel.backends.nvidia.nvml_use import Use
from gpupanel.backends.windows.pdh import Counter, Item
from gpupanel.enforcement.cell import Means, ProcessKey, Trace
from gpupanel.enforcement.gpu_time import _Several, meter_for
from gpupanel.enforcement.meter import Meter
from gpupanel.enforcement.meters.drm import DrmMeter
from gpupanel.enforcement.meters.nvml import NvmlMeter, _Log
from gpupanel.enforcement.meters.processor import ProcessorMeter
from gpupanel.enforcement.meters.tally import Tally
from gpupanel.enforcement.meters.wddm import WddmMeter
from gpupanel.model.errors import HoldFailed
from gpupanel.model.gpu import CPU_ID, GpuInfo, GpuKind
from tests.backends import nvml_double
from tests.backends.fake_proc import FakeProc
from tests.backends.fake_windows import LAPTOP_NVIDIA, FakeWindows
from tests.backends.nvml_double import GIB

on_linux = pytest.mark.skipif(sys.platform == "win32", reason="/proc is Linux's")


class Inmates:
    """A cell as meters see one: who is in it, and the processor time that it counts."""

    means = Means("nothing")
    trace: Trace = MappingProxyType({})

    def __init__(self, processes: Collection[ProcessKey] = (), used_s: float = 0.0) -> None:
        self.processes = set(processes)
        self.used_s = used_s

    def add(self, processes: Collection[ProcessKey]) -> None:
        self.processes.update(processes)

    def members(self) -> frozenset[ProcessKey]:
        return frozenset(self.processes)

    def cpu_s(self) -> float:
        return self.used_s

    def freeze(self) -> None: ...
    def thaw(self) -> None: ...
    def kill(self) -> None: ...
    def close(self) -> None: ...


def gpu(backend: str, gpu_id: str = "GPU-1", pci_bus_id: str | None = None) -> GpuInfo:
    kind = GpuKind.CPU if backend == "host" else GpuKind.GPU
    return GpuInfo(gpu_id, "a GPU", "some", kind, backend, pci_bus_id=pci_bus_id)


# The sum


@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 1e12)), max_size=30))
def test_a_sum_never_falls_and_each_source_counts_its_greatest(
    seen: list[tuple[str, float]],
) -> None:
    tally: Tally[str] = Tally()
    greatest: dict[str, float] = {}
    before = 0.0
    for source, value in seen:
        tally.see(source, value, 0.0)
        greatest[source] = max(value, greatest.get(source, 0.0))
        assert tally.total >= before
        before = tally.total
    assert tally.total == pytest.approx(sum(greatest.values()))


def test_what_came_before_does_not_count_and_who_began_does_not_begin_again() -> None:
    tally: Tally[str] = Tally()
    tally.begin("a", 100.0, 0.0)
    tally.see("a", 103.0, 1.0)
    tally.begin("a", 110.0, 2.0)
    tally.see("a", 111.0, 3.0)
    assert tally.total == 11.0


def test_the_dead_are_forgotten_and_the_living_are_not_however_long_nobody_looked() -> None:
    tally: Tally[str] = Tally()
    tally.begin("living", 1000.0, 0.0)
    tally.see("dead", 5.0, 0.0)
    tally.end_round(0.0)
    for now_s in (500.0, 1000.0):
        tally.see("living", 1000.0 + now_s, now_s)
        tally.end_round(now_s)
    assert tally.total == 5.0 + 1000.0
    assert list(tally._greatest) == ["living"]


# The processor


def test_the_processor_is_one_device_however_many_cores_it_has() -> None:
    meter, cell = ProcessorMeter(cores=4), Inmates()
    assert meter.capacity == 1.0
    cell.used_s = 6.0
    assert meter.used_s(cell, 1.0) == 1.5


def test_the_whole_life_of_one_that_came_late_counts_and_of_others_not() -> None:
    lives_s = {10: 40.0, 11: 8.0}
    meter, cell = ProcessorMeter(cores=4, processor_s=lives_s.get), Inmates()
    meter.admit([(10, 1)], whole_life=False)
    meter.admit([(11, 1), (12, 1)], whole_life=True)
    assert meter.used_s(cell, 1.0) == 2.0


def test_processor_time_never_falls() -> None:
    meter, cell = ProcessorMeter(cores=1), Inmates(used_s=5.0)
    meter.used_s(cell, 1.0)
    cell.used_s = 4.0
    assert meter.used_s(cell, 2.0) == 5.0


# DRM: amdgpu, i915, xe

ADDRESS = "0000:03:00.0"
NODE = "/dev/dri/renderD128"


def fdinfo(client: int, driver: str = "amdgpu", device: str = ADDRESS, **lines: str) -> str:
    counted = "".join(f"drm-{key.replace('_', '-')}:\t{value}\n" for key, value in lines.items())
    return (
        f"pos:\t0\ndrm-driver:\t{driver}\ndrm-client-id:\t{client}\ndrm-pdev:\t{device}\n{counted}"
    )


def busy(client: int, gfx_ns: int, compute_ns: int = 0, **more: Any) -> str:
    engines = {"engine_gfx": f"{gfx_ns} ns", "engine_compute": f"{compute_ns} ns"}
    return fdinfo(client, **engines, engine_dec=f"{10**15} ns", **more)


class Drm:
    """A machine with two cards, and a meter of the first."""

    def __init__(self, root: Path) -> None:
        for address, names in ((ADDRESS, ("card0", "renderD128")), ("0000:04:00.0", ("card1",))):
            for name in names:
                (root / f"sys/bus/pci/devices/{address}/drm/{name}").mkdir(parents=True)
        self.proc = FakeProc(root / "proc")
        self.cell = Inmates()
        self.now_s = 100.0
        card = gpu("amdgpu", pci_bus_id=f"0000{ADDRESS}")
        self.meter = DrmMeter([card], root, lambda: self.now_s)

    def start(self, pid: int, **files: str) -> None:
        self.proc.start(pid, started=pid)
        for fd, text in files.items():
            self.proc.open(pid, int(fd[2:]), NODE, text)

    def enter(self, pid: int, *, whole_life: bool = False) -> None:
        self.meter.admit([(pid, pid)], whole_life)
        self.cell.add([(pid, pid)])

    def used_s(self, after_s: float = 1.5) -> float:
        self.now_s += after_s
        return self.meter.used_s(self.cell, self.now_s)


@pytest.fixture
def drm(tmp_path: Path) -> Drm:
    return Drm(tmp_path)


@on_linux
def test_engines_that_compute_and_draw_count_from_the_admission_on(drm: Drm) -> None:
    drm.start(7, fd3=busy(1, 5_000_000_000, 1_000_000_000))
    drm.enter(7)
    assert drm.used_s() == 0.0
    drm.proc.open(7, 3, NODE, busy(1, 5_250_000_000, 1_500_000_000))
    assert drm.used_s() == pytest.approx(0.75)


@on_linux
def test_a_client_counts_once_however_many_files_and_processes_hold_it(drm: Drm) -> None:
    drm.start(7, fd3=busy(1, 0), fd4=busy(1, 0))
    drm.enter(7)
    drm.start(8, fd3=busy(1, 0))  # forked
    drm.cell.add([(8, 8)])
    for pid in (7, 8):
        drm.proc.open(pid, 3, NODE, busy(1, 10**9))
    drm.proc.open(7, 4, NODE, busy(1, 10**9))
    assert drm.used_s() == pytest.approx(1.0)
    drm.cell.processes.remove((7, 7))
    drm.proc.end(7)
    drm.proc.open(8, 3, NODE, busy(1, 3 * 10**9))
    assert drm.used_s() == pytest.approx(3.0)


@on_linux
def test_a_child_and_one_that_came_late_count_with_their_whole_life(drm: Drm) -> None:
    drm.start(8, fd3=busy(2, 2 * 10**9))
    drm.cell.add([(8, 8)])
    drm.start(9, fd3=busy(3, 4 * 10**9))
    drm.enter(9, whole_life=True)
    drm.start(10, fd3=busy(4, 8 * 10**9))
    drm.enter(10)
    assert drm.used_s() == pytest.approx(6.0)


@on_linux
def test_what_it_does_on_another_gpu_or_with_other_files_does_not_count(drm: Drm) -> None:
    drm.start(7, fd3=busy(1, 0))
    drm.enter(7)
    drm.proc.open(7, 4, "/dev/dri/card1", busy(2, 10**9, device="0000:04:00.0"))
    drm.proc.open(7, 5, "/home/ada/notes", busy(3, 10**9))
    drm.proc.open(7, 6, NODE, busy(4, 10**9, device="0000:04:00.0"))
    assert drm.used_s() == 0.0


@on_linux
def test_a_file_that_became_another_is_not_read_as_the_old_one(drm: Drm) -> None:
    drm.start(7, fd3=busy(1, 0))
    drm.enter(7)
    drm.proc.open(7, 3, "/dev/dri/card1", busy(1, 10**12, device="0000:04:00.0"))
    assert drm.used_s(0.1) == 0.0


@on_linux
def test_an_engine_of_which_there_are_four_is_whole_when_all_four_work(drm: Drm) -> None:
    drm.start(7)
    drm.enter(7)
    text = fdinfo(1, engine_compute=f"{2 * 10**9} ns", engine_capacity_compute="4")
    drm.proc.open(7, 3, NODE, text)
    assert drm.used_s() == pytest.approx(0.5)


@on_linux
def test_cycles_are_time_by_the_pace_of_the_gpus_own_clock(drm: Drm) -> None:
    def xe(cycles: int, total: int) -> str:
        return fdinfo(1, "xe", cycles_ccs=str(cycles), total_cycles_ccs=str(total))

    drm.start(7, fd3=xe(10**9, 5 * 10**12))
    drm.enter(7)
    hz, used = 19_200_000, []
    for second in range(30):
        drm.proc.open(7, 3, NODE, xe(10**9 + second * hz // 4, 5 * 10**12 + second * hz))
        used.append(drm.used_s(1.0))
    assert used[0] == 0.0, "the pace is not known yet"
    assert used[-1] == pytest.approx(29 / 4, rel=1e-6)
    assert used == sorted(used)


@on_linux
def test_a_clock_that_starts_over_takes_nothing_back(drm: Drm) -> None:
    def xe(cycles: int, total: int) -> str:
        return fdinfo(1, "xe", cycles_rcs=str(cycles), total_cycles_rcs=str(total))

    drm.start(7, fd3=xe(0, 10**12))
    drm.enter(7)
    used = []
    for second, total in enumerate((10**12, 10**12 + 10**7, 10**12 + 2 * 10**7, 0, 10**7)):
        drm.proc.open(7, 3, NODE, xe(second * 10**7 // 2, total))
        used.append(drm.used_s(1.0))
    assert used == pytest.approx([0.0, 0.5, 1.0, 1.0, 2.0])


@on_linux
@pytest.mark.parametrize("path", ["fd", "fdinfo"])
def test_a_process_that_cannot_be_looked_into_is_an_error_and_not_nought(
    drm: Drm, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    drm.start(7, fd3=busy(1, 0))
    drm.enter(7)
    function = {"fd": "listdir", "fdinfo": "open"}[path]
    really: Callable[..., Any] = getattr(os, function)

    def refused(name: Any, *arguments: Any) -> Any:
        if f"/7/{path}" in str(name):  # a test may run as root, whom nothing refuses
            raise PermissionError(13, "Permission denied", name)
        return really(name, *arguments)

    monkeypatch.setattr(os, function, refused)
    with pytest.raises(HoldFailed, match="process 7 cannot be read: needs root"):
        drm.used_s()


@on_linux
def test_a_driver_that_does_not_count_is_an_error_and_not_nought(drm: Drm) -> None:
    drm.start(7, fd3=fdinfo(1, "i915"))
    drm.cell.add([(7, 7)])
    with pytest.raises(HoldFailed, match="i915 driver does not count"):
        drm.used_s()


class DrmHistory(RuleBasedStateMachine):
    """Processes of one cell open, share and close clients, and die; the truth is kept beside."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.drm = Drm(Path(self.folder.name))
        self.busy_ns: dict[int, int] = {}
        self.files: dict[int, dict[int, int]] = {}
        self.pids = iter(range(100, 10**6))
        self.fds = iter(range(3, 10**6))
        self.counted_ns: dict[int, int] = {}
        self.before_ns: dict[int, int] = {}
        self.last_s = 0.0

    def teardown(self) -> None:
        self.folder.cleanup()

    def write(self, client: int) -> None:
        for pid, files in self.files.items():
            for fd, held in files.items():
                if held == client:
                    self.drm.proc.open(pid, fd, NODE, busy(client, self.busy_ns[client]))

    @rule(whole_life=st.booleans(), before_ns=st.integers(0, 10**10))
    def admit(self, whole_life: bool, before_ns: int) -> None:
        pid, client = next(self.pids), next(self.fds)
        self.drm.proc.start(pid, started=pid)
        self.files[pid] = {next(self.fds): client}
        self.busy_ns[client] = before_ns
        self.before_ns[client] = 0 if whole_life else before_ns
        self.write(client)
        self.drm.enter(pid, whole_life=whole_life)

    @precondition(lambda self: self.files)
    @rule(data=st.data(), inherits=st.booleans())
    def fork(self, data: st.DataObject, inherits: bool) -> None:
        parent = data.draw(st.sampled_from(sorted(self.files)))
        child = next(self.pids)
        self.drm.proc.start(child, started=child)
        self.files[child] = dict(self.files[parent]) if inherits else {}
        for client in set(self.files[child].values()):
            self.write(client)
        self.drm.cell.add([(child, child)])

    @precondition(lambda self: self.files)
    @rule(data=st.data())
    def open(self, data: st.DataObject) -> None:
        pid = data.draw(st.sampled_from(sorted(self.files)))
        client = next(self.fds)
        self.files[pid][next(self.fds)] = client
        self.busy_ns[client], self.before_ns[client] = 0, 0
        self.write(client)

    @precondition(lambda self: self.busy_ns)
    @rule(data=st.data(), spent_ns=st.integers(-(10**6), 10**9))
    def work(self, data: st.DataObject, spent_ns: int) -> None:
        """Drivers' counters step back at times."""
        client = data.draw(st.sampled_from(sorted(self.busy_ns)))
        self.busy_ns[client] = max(0, self.busy_ns[client] + spent_ns)
        self.write(client)

    @precondition(lambda self: self.files)
    @rule(data=st.data())
    def die(self, data: st.DataObject) -> None:
        pid = data.draw(st.sampled_from(sorted(self.files)))
        del self.files[pid]
        self.drm.proc.end(pid)
        self.drm.cell.processes.remove((pid, pid))

    @invariant()
    def the_sum_is_the_truth_as_of_the_last_reading(self) -> None:
        used_s = self.drm.used_s()
        for files in self.files.values():
            for client in files.values():
                done = max(self.busy_ns[client], self.before_ns[client])
                self.counted_ns[client] = max(done, self.counted_ns.get(client, 0))
        truth_ns = sum(done - self.before_ns[one] for one, done in self.counted_ns.items())
        assert used_s == pytest.approx(truth_ns / 1e9, abs=1e-6)
        assert used_s >= self.last_s
        self.last_s = used_s


DrmHistory.TestCase.settings = settings(max_examples=25, stateful_step_count=20)
TestDrmHistory = on_linux(DrmHistory.TestCase)


# NVIDIA


class Notes:
    """A driver that looks at one process after each period, and notes what was not nought."""

    def __init__(self, period_us: int, work: list[tuple[int, int]]) -> None:
        self.period_us, self.work, self.now_us = period_us, work, 0

    def busy_us(self, until_us: int) -> int:
        return sum(max(0, min(end, until_us) - start) for start, end in self.work)

    def since(self, time_us: int, expected: int = 0) -> list[Use]:
        first = time_us // self.period_us + 1
        return [use for use in self._notes(first * self.period_us) if use.percents[0]]

    def _notes(self, first_us: int) -> Iterator[Use]:
        for at_us in range(first_us, self.now_us + 1, self.period_us):
            spent_us = self.busy_us(at_us) - self.busy_us(at_us - self.period_us)
            yield Use(7, at_us, (round(100 * spent_us / self.period_us), 0, 0, 0))


@given(
    period_us=st.integers(100_000, 1_000_000),
    spans_us=st.lists(st.tuples(st.integers(0, 3_000_000), st.integers(0, 3_000_000)), max_size=8),
    looks_us=st.lists(st.integers(20_000, 400_000), min_size=50, max_size=80),
)
def test_notes_add_up_to_what_was_done(
    period_us: int, spans_us: list[tuple[int, int]], looks_us: list[int]
) -> None:
    work, at_us = [], 0
    for rest_us, work_us in spans_us:
        work.append((at_us + rest_us, at_us + rest_us + work_us))
        at_us += rest_us + work_us
    notes = Notes(period_us, work)
    log = _Log(notes, 0)  # type: ignore[arg-type]
    before_s = 0.0
    for span_us in looks_us:
        notes.now_us += span_us
        log.read({7: float("-inf")})
        assert log.used_s >= before_s
        before_s = log.used_s
    truth_s = notes.busy_us(notes.now_us) / 1e6
    # A pause hides how long a period is until a few were seen; the last one is not told yet.
    slack_s = 0.005 * notes.now_us / 1e6 + (2 + len(work)) * period_us / 1e6 + 1.0
    assert truth_s - slack_s <= log.used_s <= truth_s + 1.5 * (1 + len(work))


@pytest.mark.parametrize("period_us", [100_000, 166_667, 500_000, 1_000_000])
@pytest.mark.parametrize("duty_us", [(500_000, 500_000), (250_000, 750_000), (1_000_000, 0)])
def test_a_minute_of_notes_is_within_one_percent_once_the_period_was_seen(
    period_us: int, duty_us: tuple[int, int]
) -> None:
    """Uncapped for 10 s, then held as a cap would hold it."""
    on_us, off_us = duty_us
    held = [(at, at + on_us) for at in range(10_000_000, 70_000_000, on_us + off_us)]
    notes = Notes(period_us, [(0, 10_000_000), *held])
    log = _Log(notes, 0)  # type: ignore[arg-type]
    before_s = 0.0
    while notes.now_us < 71_000_000:
        notes.now_us += 200_000
        log.read({7: float("-inf")})
        if notes.now_us < 10_000_000 + period_us:
            before_s = log.used_s
    truth_s = 60 * on_us / (on_us + off_us)
    assert log.used_s - before_s == pytest.approx(truth_s, abs=0.01 * 60)


NOW_S = 1_700_000_000.0
NOW_US = int(NOW_S * 1e6)


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> nvml_double.NvmlDouble:
    return nvml_double.install(monkeypatch)


@pytest.fixture
def nvml(library: nvml_double.NvmlDouble) -> Iterator[NvmlMeter]:
    meter = NvmlMeter([gpu("nvml", nvml_double.gpu_id(0))], clock_unix_s=lambda: NOW_S)
    yield meter
    meter.close()
    assert library.users == 0


def test_nvml_counts_the_cells_processes_and_their_children_only(
    library: nvml_double.NvmlDouble, nvml: NvmlMeter
) -> None:
    cell = Inmates({(7, 1)})
    library.process(0, 7, GIB)
    library.use(0, 7, NOW_US - 1_000_000, 100, 0, 0, 0)  # before
    nvml.admit([(7, 1)], whole_life=False)
    for tenth in range(1, 11):
        library.use(0, 7, NOW_US + tenth * 100_000, 80, 0, 0, 0)
        library.use(0, 8, NOW_US + tenth * 100_000, 20, 0, 0, 0)  # a stranger
    assert nvml.used_s(cell, 1.0) == pytest.approx(0.8, abs=0.08)
    cell.add([(9, 1)])
    library.use(0, 9, NOW_US + 1_100_000, 50, 0, 0, 0)
    library.use(0, 9, NOW_US + 1_200_000, 400, 0, 0, 0)  # nonsense
    before_s = nvml.used_s(cell, 2.0)
    assert before_s == pytest.approx(0.8 + 0.05, abs=0.09)
    # The dead keep what they used, also what is noted late; their pid then is somebody else's.
    cell.processes.clear()
    library.use(0, 9, NOW_US + 1_300_000, 50, 0, 0, 0)
    after_s = nvml.used_s(cell, 3.0)
    assert after_s == pytest.approx(before_s + 0.05, abs=0.06)
    assert nvml.used_s(cell, 9.0) == after_s
    library.use(0, 9, NOW_US + 9_000_000, 50, 0, 0, 0)
    assert nvml.used_s(cell, 10.0) == after_s


def test_nvml_counts_on_after_the_clock_was_set_back(library: nvml_double.NvmlDouble) -> None:
    """Else whoever mines would run free until the clock has come so far again."""
    now_s = [NOW_S]
    meter = NvmlMeter([gpu("nvml", nvml_double.gpu_id(0))], clock_unix_s=lambda: now_s[0])
    cell = Inmates({(7, 1)})
    library.process(0, 7, GIB)
    meter.admit([(7, 1)], whole_life=False)

    def second() -> float:
        before_s = meter.used_s(cell, 1.0)
        for _ in range(10):
            now_s[0] += 0.1
            library.use(0, 7, int(now_s[0] * 1e6), 50, 0, 0, 0)
        return meter.used_s(cell, 1.0) - before_s

    used_s = [second()]
    for back_s in (3600, 86_400):
        now_s[0] -= back_s
        used_s.append(second())
    meter.close()
    assert used_s == pytest.approx([0.5] * 3, abs=0.06)


def test_of_a_note_that_began_before_the_admission_only_the_rest_counts(
    library: nvml_double.NvmlDouble, nvml: NvmlMeter
) -> None:
    nvml.admit([(7, 1)], whole_life=False)
    library.use(0, 7, NOW_US + 40_000, 100, 0, 0, 0)
    assert nvml.used_s(Inmates({(7, 1)}), 1.0) == pytest.approx(0.04)


def test_nvml_remembers_for_one_that_came_late(
    library: nvml_double.NvmlDouble, nvml: NvmlMeter
) -> None:
    cell = Inmates({(7, 1)})
    for tenth in range(1, 11):
        library.use(0, 5, NOW_US + tenth * 100_000, 100, 0, 0, 0)
        library.use(0, 6, NOW_US + tenth * 100_000, 100, 0, 0, 0)
    assert nvml.used_s(cell, 1.0) == 0.0
    nvml.admit([(5, 1)], whole_life=True)
    nvml.admit([(6, 1)], whole_life=False)
    cell.add([(5, 1), (6, 1)])
    assert nvml.used_s(cell, 1.1) == pytest.approx(1.0, abs=0.11)


@pytest.mark.parametrize(
    ("code", "reason"), [(3, "not reported"), (4, "administrator"), (15, "fell off the bus")]
)
def test_nvml_that_does_not_answer_is_an_error_and_not_nought(
    library: nvml_double.NvmlDouble, nvml: NvmlMeter, code: int, reason: str
) -> None:
    library.fail(0, "nvmlDeviceGetProcessUtilization", code)
    with pytest.raises(HoldFailed, match=reason):
        nvml.used_s(Inmates({(7, 1)}), 1.0)


def test_a_gpu_that_nvml_does_not_know_leaves_nvml_stopped(
    library: nvml_double.NvmlDouble,
) -> None:
    library.fail(0, "nvmlDeviceGetHandleByUUID", 6)
    with pytest.raises(HoldFailed, match="does not find it"):
        NvmlMeter([gpu("nvml", "GPU-none")])
    assert library.users == 0


# Windows


def running(**units: int) -> dict[Counter, list[Item]]:
    """``p7_3D=5``: pid 7 on the engine 3D of the laptop's NVIDIA card; and busy on another."""
    items = [
        Item("pid_7_luid_0x00000000_0x0000D2A5_phys_0_eng_0_engtype_3D", 0, sum(units.values()))
    ]
    for number, (name, value) in enumerate(units.items()):
        pid, _, kind = name.partition("_")
        path = f"pid_{pid[1:]}_luid_0x00000000_0x{LAPTOP_NVIDIA:08X}_phys_0_eng_{number}_engtype_"
        items.append(Item(path + kind.replace("_", " "), 0, value))
    return {counter: items if counter is Counter.ENGINE_TIME else [] for counter in Counter}


@pytest.fixture
def windows() -> FakeWindows:
    return FakeWindows(arrays=running(p7_3D=50_000_000, p8_Cuda=90_000_000))


@pytest.fixture
def wddm(windows: FakeWindows) -> WddmMeter:
    card = gpu("nvml", "GPU-uuid", "00000000:01:00.0")
    return WddmMeter([card], windows.win32, clock_s=lambda: 0.0)


def test_windows_running_time_counts_by_process_and_engine(
    windows: FakeWindows, wddm: WddmMeter
) -> None:
    cell = Inmates({(7, 1), (8, 1)})
    wddm.admit([(7, 1)], whole_life=False)
    wddm.admit([(8, 1)], whole_life=True)
    assert wddm.used_s(cell, 1.0) == pytest.approx(9.0)
    windows.look(
        running(p7_3D=60_000_000, p8_Cuda=90_000_000, p7_Compute_0=5_000_000,
                p7_Copy=10**9, p7_VideoDecode=10**9, p9_3D=10**9)
    )  # fmt: skip
    assert wddm.used_s(cell, 2.0) == pytest.approx(9.0 + 1.0 + 0.5)
    cell.processes.remove((8, 1))
    windows.look(running(p7_3D=70_000_000))
    assert wddm.used_s(cell, 3.0) == pytest.approx(9.0 + 2.0 + 0.5)
    wddm.close()
    assert windows.open_queries == 0


def test_windows_counters_that_do_not_answer_are_an_error_and_not_nought(
    windows: FakeWindows, wddm: WddmMeter
) -> None:
    windows.array_status[Counter.ENGINE_TIME] = 0x800007D5
    with pytest.raises(HoldFailed, match="no GPU counters now"):
        wddm.used_s(Inmates({(7, 1)}), 1.0)
    windows.collect_status = 0xC0000BBC
    with pytest.raises(HoldFailed, match="let go of the performance counters"):
        wddm.used_s(Inmates({(7, 1)}), 1.0)


def test_a_card_that_windows_does_not_list_now_is_named(windows: FakeWindows) -> None:
    with pytest.raises(HoldFailed, match="does not list a GPU now"):
        WddmMeter([gpu("wddm", "PCI-x", "00000000:09:00.0")], windows.win32)


# Choosing


def test_one_meter_for_each_driver_stack_of_a_group(tmp_path: Path) -> None:
    processor = gpu("host", CPU_ID)
    assert isinstance(meter_for([processor]), ProcessorMeter)
    cards = [gpu("amdgpu", f"pci:{n}", f"00000000:0{n}:00.0") for n in (3, 4)]
    assert meter_for(cards).capacity == 2.0
    assert meter_for([processor, *cards]).capacity == 3.0


def test_several_meters_are_one_sum() -> None:
    meters = [ProcessorMeter(1), ProcessorMeter(4)]
    both: Meter = _Several(meters)
    both.admit([(1, 1)], whole_life=False)
    assert both.capacity == 2.0
    assert both.used_s(Inmates(used_s=4.0), 1.0) == 5.0


@pytest.mark.parametrize(
    ("one", "reason"),
    [
        (gpu("replay"), "driver stack replay"),
        (gpu("intel"), "not on PCI"),
    ],
)
def test_what_nobody_counts_is_said(one: GpuInfo, reason: str) -> None:
    with pytest.raises(HoldFailed, match=reason):
        meter_for([gpu("host", CPU_ID), one])
