"""Who uses an NVIDIA GPU: every layout of the lists, and no nonsense."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpupanel.backends.linux.proc import Identity
from gpupanel.backends.nvidia.nvml_processes import entries_of, stride_of, utilization_of
from gpupanel.backends.nvidia.nvml_use import Use
from gpupanel.backends.nvml import NvmlBackend
from gpupanel.model.gpu import ProcessKind, ProcessSample, Reading, Unavailable
from tests.backends import nvml_double
from tests.backends.nvml_double import GIB, NvmlDouble, gpu_id

NOW_S = 1_700_000_000.0
NOW_US = int(NOW_S * 1e6)
DEAD = 666


def identify(pid: int) -> Identity | None:
    return None if pid == DEAD else Identity(10 * pid, f"program{pid}", "ada")


def listed(library: NvmlDouble, tmp_path: Path) -> NvmlBackend:
    backend = NvmlBackend(lambda: 1.0, tmp_path / "none", identify, lambda: NOW_S)
    backend.probe()
    return backend


def fill(library: NvmlDouble) -> None:
    library.process(0, 100, GIB)
    library.process(0, 200, 2 * GIB)
    library.process(0, 200, 3 * GIB, graphics=True)
    library.process(0, 300, 2**64 - 1, graphics=True)
    library.process(0, DEAD, GIB)
    library.process(1, 100, 5 * GIB)


def check(found: tuple[ProcessSample, ...]) -> None:
    assert [(one.gpu_id, one.pid, one.kind, one.memory_used_bytes) for one in found] == [
        (gpu_id(0), 100, ProcessKind.COMPUTE, GIB),
        (gpu_id(0), 200, ProcessKind.BOTH, 3 * GIB),
        (gpu_id(0), 300, ProcessKind.GRAPHICS, Unavailable("Windows does not tell it to NVML")),
        (gpu_id(1), 100, ProcessKind.COMPUTE, 5 * GIB),
    ]
    assert (found[0].started, found[0].name, found[0].user) == (1000, "program100", "ada")


def test_a_clock_that_is_set_back_blinds_nobody(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What was read last is then dated later than all that follows, and so are old notes."""
    library, now_s = nvml_double.install(monkeypatch, 1), [NOW_S]
    library.process(0, 100, GIB)
    backend = NvmlBackend(lambda: 1.0, tmp_path / "none", identify, lambda: now_s[0])
    backend.probe()

    def percent_at(unix_s: float, percent: int) -> Reading:
        now_s[0] = unix_s
        library.use(0, 100, int(unix_s * 1e6) - 100_000, percent, 0, 0, 0)
        return backend.processes()[0].utilization_percent

    told = [percent_at(NOW_S - ago_s, 60) for ago_s in (0, 3600, 3599, 7200)]
    assert told == [60.0] * 4


@pytest.mark.parametrize("stride", [24, 32])
def test_both_strides_of_the_newest_list(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, stride: int
) -> None:
    library = nvml_double.install(monkeypatch)
    library.lib.double_stride(stride)
    fill(library)
    check(listed(library, tmp_path).processes())


def test_the_lists_of_an_old_driver(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    library = nvml_double.install(monkeypatch, old_driver=True)
    fill(library)
    check(listed(library, tmp_path).processes())
    assert library.calls("nvmlDeviceGetComputeRunningProcesses_v2") == 2


def test_a_list_longer_than_the_first_buffer(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    library = nvml_double.install(monkeypatch, 1)
    for pid in range(1000, 1150):
        library.process(0, pid, GIB)
    assert len(listed(library, tmp_path).processes()) == 150


def test_use_is_of_the_living_of_this_window_and_no_nonsense(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    library = nvml_double.install(monkeypatch, 1)
    fill(library)
    library.use(0, 100, NOW_US - 5_000_000, 90, 0, 0, 0)  # before the window
    library.use(0, 100, NOW_US - 500_000, 40, 10, 0, 0)
    library.use(0, 100, NOW_US, 60, 30, 0, 0)
    library.use(0, 200, NOW_US, 400, 0, 0, 0)  # nonsense
    library.use(0, 300, NOW_US, 5, 0, 80, 0)
    library.use(0, 999, NOW_US, 50, 0, 0, 0)  # in no list
    backend = listed(library, tmp_path)
    first = {one.pid: one for one in backend.processes()}
    assert first[100].engines == {"sm": 50, "mem": 20, "enc": 0, "dec": 0}
    assert [first[pid].utilization_percent for pid in (100, 200, 300)] == [50, 0, 80]
    assert set(first) == {100, 200, 300}
    assert [one.utilization_percent for one in backend.processes()] == [0, 0, 0], "nothing new"


def test_use_that_is_not_told_is_not_nought(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    library = nvml_double.install(monkeypatch, 1)
    fill(library)
    library.fail(0, "nvmlDeviceGetProcessUtilization", nvml_double.NOT_SUPPORTED)
    found = listed(library, tmp_path).processes()
    assert {one.utilization_percent for one in found} == {Unavailable("not reported by this GPU")}


def test_more_memory_than_the_gpu_has_is_implausible(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    library = nvml_double.install(monkeypatch, 1)
    library.process(0, 100, 25 * GIB)
    (one,) = listed(library, tmp_path).processes()
    assert isinstance(one.memory_used_bytes, Unavailable)


@given(st.lists(st.tuples(st.integers(1, 2**22), st.integers(0, 2**46)), min_size=1, max_size=64),
       st.sampled_from([24, 32]))  # fmt: skip
def test_the_stride_is_found_for_any_list(entries: list[tuple[int, int]], stride: int) -> None:
    body = b"".join(
        struct.pack("=I", pid) + b"\xaa" * 4 + struct.pack("=QII", memory, 2**32 - 1, 2**32 - 1)
        + b"\0" * (stride - 24)
        for pid, memory in entries
    )  # fmt: skip
    memory = body.ljust(64 * 32, b"\xaa")
    assert stride_of(memory, len(entries)) == stride
    assert entries_of(memory, len(entries), stride) == entries


@given(st.binary(max_size=600), st.integers(0, 2**32 - 1))
def test_any_bytes_are_entries_or_nothing(memory: bytes, count: int) -> None:
    stride = stride_of(memory, count)
    assert stride in (24, 32)
    assert len(entries_of(memory, count, stride)) <= len(memory) // stride


@given(st.lists(st.builds(Use, st.integers(0, 5), st.integers(0, 10),
                          st.tuples(*[st.integers(0, 2**32 - 1)] * 4))))  # fmt: skip
def test_use_is_a_share(uses: list[Use]) -> None:
    for pid, engines in utilization_of(uses, {1, 2}, 3).items():
        assert pid in {1, 2}
        assert all(0 <= percent <= 100 for percent in engines.values())


def test_use_from_before_the_window_does_not_count() -> None:
    uses = [Use(1, time_us, (percent, 0, 0, 0)) for time_us, percent in ((5, 90), (6, 90), (7, 40))]
    assert utilization_of(uses, {1}, 6) == {1: {"sm": 40, "mem": 0, "enc": 0, "dec": 0}}
    assert utilization_of(uses, {1}, 7) == {}
