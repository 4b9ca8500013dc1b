"""The Windows cell on a double of Windows' three libraries; never run on Windows itself.

The double keeps what matters: a state change that is closed lets its process go, numbers of
processes are used again, and a parent's number outlives the parent.
"""

from __future__ import annotations

import ctypes
import itertools
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from gpupanel.enforcement.freezer_windows import WindowsCell, WindowsFreezer
from gpupanel.enforcement.windows.win32_process_state import ProcessEntry, ProcessState
from gpupanel.model.errors import HoldFailed

T0 = 133_000_000_000_000_000


@dataclass
class Program:
    pid: int
    parent: int
    started: int
    used: int = 0
    has_ended: bool = False
    is_foreign: bool = False
    gpu_priority: int = 2
    suspended_by: set[int] = field(default_factory=set)


class Windows:
    """What the three libraries answer; each method is one of their functions."""

    def __init__(self, *programs: Program) -> None:
        self.programs = list(programs)
        self.open: dict[int, Any] = {}
        self._numbers = itertools.count(100)
        self._error = 0

    def handle(self, target: object) -> int:
        number = next(self._numbers)
        self.open[number] = target
        return number

    def create_snapshot(self, flags: int, pid: int) -> int:
        assert (flags, pid) == (2, 0)
        return self.handle(iter([one for one in self.programs if not one.has_ended]))

    def next_process(self, snapshot: int, entry: Any) -> int:
        row = ctypes.cast(entry, ctypes.POINTER(ProcessEntry)).contents
        assert row.size == ctypes.sizeof(ProcessEntry)
        found = next(self.open[snapshot], None)
        if found is not None:
            row.pid, row.parent = found.pid, found.parent
        return found is not None

    def open_process(self, rights: int, inherit: bool, pid: int) -> int | None:
        assert not inherit
        for one in self.programs:
            if one.pid == pid and not one.has_ended:
                if one.is_foreign and rights != 0x1000:
                    self._error = 5
                    return None
                return self.handle(one)
        self._error = 87
        return None

    def last_error(self) -> int:
        return self._error

    def times(self, handle: int, *into: Any) -> int:
        one = self.open[handle]
        for pointer, value in zip(into, (one.started, 0, one.used, 0), strict=True):
            ctypes.cast(pointer, ctypes.POINTER(ctypes.c_uint64)).contents.value = value
        return 1

    def wait(self, handle: int, milliseconds: int) -> int:
        assert milliseconds == 0
        return 0 if self.open[handle].has_ended else 0x102

    def terminate(self, handle: int, status: int) -> int:
        assert status == 1
        self.open[handle].has_ended = True
        return 1

    def close(self, handle: int) -> int:
        self.open.pop(handle)
        for one in self.programs:
            one.suspended_by.discard(handle)
        return 1

    def create_change(self, into: Any, access: int, name: None, handle: int, zero: int) -> int:
        assert (access, name, zero) == (0xF0001, None, 0)
        number = self.handle(("change", self.open[handle]))
        ctypes.cast(into, ctypes.POINTER(ctypes.c_void_p)).contents.value = number
        return 0

    def change(self, change: int, handle: int, kind: int, *rest: Any) -> int:
        assert rest == (None, 0, 0)
        _, program = self.open[change]
        assert program is self.open[handle]
        if program.has_ended:
            return 0xC000010A
        if kind == 0:
            program.suspended_by.add(change)
        else:
            program.suspended_by.discard(change)
        return 0

    def gpu_priority(self, handle: int, priority: int) -> int:
        self.open[handle].gpu_priority = priority
        return 0


class Library:
    """Functions by their names; each takes a declaration as those of ctypes do."""

    def __init__(self, **functions: Callable[..., Any]) -> None:
        for name, call in functions.items():
            setattr(self, name, Function(call))


class Function:
    restype: Any
    argtypes: Any

    def __init__(self, call: Callable[..., Any]) -> None:
        self._call = call

    def __call__(self, *arguments: Any) -> Any:
        assert len(arguments) == len(self.argtypes)
        return self._call(*arguments)


def state_of(windows: Windows) -> ProcessState:
    kernel32 = Library(
        CreateToolhelp32Snapshot=windows.create_snapshot,
        Process32FirstW=windows.next_process,
        Process32NextW=windows.next_process,
        OpenProcess=windows.open_process,
        GetLastError=windows.last_error,
        GetProcessTimes=windows.times,
        WaitForSingleObject=windows.wait,
        TerminateProcess=windows.terminate,
        CloseHandle=windows.close,
    )
    ntdll = Library(
        NtCreateProcessStateChange=windows.create_change, NtChangeProcessState=windows.change
    )
    gdi32 = Library(D3DKMTSetProcessSchedulingPriorityClass=windows.gpu_priority)
    return ProcessState(kernel32, ntdll, gdi32)


@pytest.fixture
def miner() -> Program:
    return Program(8, 4000, T0 + 103, used=50)


@pytest.fixture
def windows(miner: Program) -> Windows:
    return Windows(
        miner,
        Program(12, 8, T0 + 200),
        Program(16, 12, T0 + 300, is_foreign=True),
        Program(20, 8, T0 - 500),  # its parent had that number before
        Program(24, 1, T0),
        Program(os.getpid(), 8, T0 + 400),
    )


@pytest.fixture
def cell(windows: Windows) -> Iterator[WindowsCell]:
    made = WindowsFreezer(state_of(windows)).cell("name")
    assert isinstance(made, WindowsCell)
    yield made
    made.close()
    assert windows.open == {}


def held(windows: Windows) -> set[int]:
    return {one.pid for one in windows.programs if one.suspended_by}


def test_a_tree_is_held_and_let_go(cell: WindowsCell, windows: Windows, miner: Program) -> None:
    cell.add([(miner.pid, T0 + 100)])  # through floating point, as psutil tells it
    cell.freeze()
    cell.freeze()
    assert held(windows) == {8, 12}
    assert cell.members() == {(8, T0 + 100), (12, T0 + 200)}
    cell.thaw()
    cell.thaw()
    assert held(windows) == set()


def test_closing_all_handles_is_enough(cell: WindowsCell, windows: Windows, miner: Program) -> None:
    """As Windows does when we die."""
    cell.add([(miner.pid, miner.started)])
    cell.freeze()
    cell.close()
    assert held(windows) == set()
    assert {one.gpu_priority for one in windows.programs} == {2}


def test_it_yields_the_gpu_while_it_is_a_member(cell: WindowsCell, miner: Program) -> None:
    cell.add([(miner.pid, miner.started)])
    assert miner.gpu_priority == 0


def test_who_is_another_is_left_out(cell: WindowsCell, windows: Windows) -> None:
    cell.add([(8, T0 - 100), (9999, T0)])
    cell.freeze()
    assert held(windows) == set()
    assert cell.members() == frozenset()


def test_who_may_not_be_held_is_told(cell: WindowsCell) -> None:
    with pytest.raises(HoldFailed, match="pid 16"):
        cell.add([(16, T0 + 300)])
    with pytest.raises(HoldFailed, match="part of the system"):
        cell.add([(4, 0)])


def test_time_of_the_dead_is_kept(cell: WindowsCell, windows: Windows, miner: Program) -> None:
    cell.add([(miner.pid, miner.started)])
    assert cell.cpu_s() == 0.0
    miner.used += 10_000_000
    assert cell.cpu_s() == 1.0
    cell.freeze()
    windows.programs[1].used = 5_000_000
    assert cell.cpu_s() == 1.5
    miner.has_ended = True
    assert cell.members() == {(12, T0 + 200)}
    assert cell.cpu_s() == 1.5


def test_kill_ends_the_whole_tree(cell: WindowsCell, windows: Windows, miner: Program) -> None:
    cell.add([(miner.pid, miner.started)])
    cell.kill()
    assert {one.pid for one in windows.programs if one.has_ended} == {8, 12}


def test_an_older_windows_is_told() -> None:
    windows = Windows()
    kernel32 = Library(**dict.fromkeys(("CreateToolhelp32Snapshot",), windows.create_snapshot))
    with pytest.raises(HoldFailed, match="Windows 11"):
        ProcessState(kernel32, Library(), Library())
