"""Who descends from whom: against another way of finding out, and against the kernel."""

from __future__ import annotations

from typing import NamedTuple

import psutil
from hypothesis import given
from hypothesis import strategies as st

from gpupanel.enforcement.linux import process
from gpupanel.enforcement.linux.processor_time import ProcessorTime
from gpupanel.enforcement.tree import descendants
from tests.enforcement.conftest import Spawn, key_of


class Kin(NamedTuple):
    pid: int
    parent: int
    started: int


@st.composite
def families(draw: st.DrawFn) -> list[Kin]:
    """Any numbers for parents, also of nobody, of themselves, in circles."""
    pids = draw(st.lists(st.integers(1, 30), unique=True, max_size=15))
    parents = st.sampled_from([*pids, 0, 31])
    return [Kin(pid, draw(parents), draw(st.integers(0, 9))) for pid in pids]


def has_forebear(one: Kin, root: Kin, family: dict[int, Kin]) -> bool:
    """Climbs instead of descending."""
    seen: set[int] = set()
    while one.pid not in seen:
        if one == root:
            return True
        seen.add(one.pid)
        parent = family.get(one.parent)
        if parent is None or parent.started > one.started:
            return False
        one = parent
    return False


@given(families(), st.data())
def test_climbing_up_finds_the_same_as_going_down(family: list[Kin], data: st.DataObject) -> None:
    by_pid = {one.pid: one for one in family}
    roots = data.draw(st.lists(st.sampled_from(family), unique=True)) if family else []
    expected = {
        (one.pid, one.started)
        for one in family
        if any(has_forebear(one, root, by_pid) for root in roots)
    }
    assert descendants([(one.pid, one.started) for one in roots], family) == expected


def test_a_pid_alone_is_no_root() -> None:
    assert descendants([(5, 1)], [Kin(5, 1, 2), Kin(6, 5, 3)]) == frozenset()


def test_it_agrees_with_psutil(spawn: Spawn) -> None:
    child = spawn(
        "import os\nos.fork()\nos.fork()\n"
        "if os.getpid() == os.getsid(0):\n print(flush=True)\nwhile True: pass"
    )
    found = descendants([key_of(child)], process.living())
    while len(found) < 4:
        found = descendants([key_of(child)], process.living())
    children = psutil.Process(child.pid).children(recursive=True)
    assert {pid for pid, _ in found} == {child.pid, *(one.pid for one in children)}


def test_a_name_with_brackets_and_blanks_is_read(spawn: Spawn) -> None:
    """A name is the program's to choose: it must not move the fields behind it."""
    child = spawn(
        "import ctypes\nctypes.CDLL(None).prctl(15, b') R 1 (x 1 2')\nprint(flush=True)\ninput()"
    )
    found = process.read(child.pid)
    assert found is not None
    assert found.parent == psutil.Process().pid
    assert found.state in "RS"
    ticks_per_s = 100
    created_s = psutil.Process(child.pid).create_time() - psutil.boot_time()
    assert abs(found.started / ticks_per_s - created_s) < 1.5


def member(pid: int, ticks: int, waited: int = 0) -> process.Process:
    return process.Process(pid, 1, 0, "R", False, ticks, waited)


def test_time_of_a_child_passes_to_its_parent_once() -> None:
    time = ProcessorTime()
    time.enter(member(1, 100))
    assert time.seconds([member(1, 110), member(2, 5)]) == 0.15
    # The child used 7 in all, and its parent waited for it.
    assert time.seconds([member(1, 110, waited=7)]) == 0.17
    # One that nobody saw alive.
    assert time.seconds([member(1, 110, waited=10)]) == 0.2
    # Whoever leaves with nobody waiting takes nothing away.
    assert time.seconds([]) == 0.2


@given(st.lists(st.dictionaries(st.integers(1, 4), st.integers(0, 5)), max_size=12))
def test_time_never_falls(looks: list[dict[int, int]]) -> None:
    time, ticks, last = ProcessorTime(), dict.fromkeys(range(1, 5), 0), 0.0
    for look in looks:
        for pid, more in look.items():
            ticks[pid] += more
        now = time.seconds([member(pid, ticks[pid]) for pid in look])
        assert now >= last
        last = now
