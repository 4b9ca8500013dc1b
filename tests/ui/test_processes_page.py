"""The Processes page: one table that stands still under the hand while it is renewed."""

from __future__ import annotations

import time
from typing import Any

import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QAbstractButton, QApplication

from gpupanel.model.gpu import ProcessKind, ProcessSample, Reading, Unavailable
from gpupanel.ui.link import LinkState
from gpupanel.ui.store import Backend
from gpupanel.ui.widgets.processes.columns import COLUMNS
from tests.ui.test_window import cut, nameless, spoken

GPU_ID = "GPU-0f1e2d3c-1234-5678"
OTHER_ID = "GPU-1f1e2d3c-1234-5678"
GIB = 2.0**30
UNTOLD = Unavailable("the driver does not tell it under WDDM")


def process(
    pid: int,
    name: str,
    busy: Reading,
    memory: Reading = GIB,
    user: str | None = "mara",
    gpu_id: str = GPU_ID,
    **engines: float,
) -> ProcessSample:
    started_s = None if pid == 9 else time.time() - 90 * 60
    return ProcessSample(
        gpu_id, pid, 1000 + pid, name, user, ProcessKind.COMPUTE, memory, busy, engines, started_s
    )


TRAINING = process(7, "python3", 81.0, 18 * GIB, compute=80.0, dec=2.0)
DESKTOP = process(8, "Xorg", 2.0, 0.2 * GIB, user="root")
HIDDEN = process(9, "game.exe", UNTOLD, UNTOLD, user=None, gpu_id=OTHER_ID)


@pytest.fixture
def page(bench: Any) -> Any:
    bench.feed([bench.gpu(0), bench.gpu(1)])
    bench.window.open_named("processes")
    bench.store.set_processes([DESKTOP, HIDDEN, TRAINING], ["1 process cannot be looked into"])
    return bench.window.page


def names(page: Any) -> list[str]:
    model = page.table.model()
    return [model.index(row, 0).data() for row in range(model.rowCount())]


def cell(
    page: Any, row: int, title: str, role: Qt.ItemDataRole = Qt.ItemDataRole.DisplayRole
) -> str:
    column = [one.title for one in COLUMNS].index(title)
    text: str = page.table.model().index(row, column).data(role)
    return text.replace("\u00a0", " ")


def sort_by(page: Any, title: str) -> None:
    page.order.setCurrentIndex([one.title for one in COLUMNS].index(title))
    page.order.activated.emit(page.order.currentIndex())


def test_the_busiest_comes_first_and_the_unknown_last(page: Any) -> None:
    assert names(page) == ["python3", "Xorg", "game.exe"]
    assert [cell(page, 0, title) for title in ("PID", "User", "Type", "GPU use", "Memory")] == [
        "7", "mara", "Compute", "81 %", "18.0 GiB",
    ]  # fmt: skip
    assert cell(page, 1, "Memory") == "205 MiB"
    assert cell(page, 0, "Engines") == "compute 80 %, dec 2 %"
    assert cell(page, 0, "GPU") == "GeForce RTX 4090 · 0000:01:00.0"
    assert TRAINING.started_unix_s is not None
    started = time.localtime(TRAINING.started_unix_s)
    assert cell(page, 0, "Running since") == time.strftime("%H:%M:%S", started)


def test_what_is_not_known_is_no_number_and_has_its_reason(page: Any) -> None:
    tip = Qt.ItemDataRole.ToolTipRole
    for title in ("GPU use", "Memory", "User", "Running since", "Engines"):
        assert cell(page, 2, title) == "—"
        assert "not known: " in cell(page, 2, title, tip)
    assert UNTOLD.reason in cell(page, 2, "GPU use", tip)
    assert "1 process cannot be looked into." in spoken(page)


@pytest.mark.parametrize("title", [column.title for column in COLUMNS])
def test_every_column_sorts_and_keeps_the_unknown_last(page: Any, title: str) -> None:
    sort_by(page, title)
    unknown = [row for row in range(3) if cell(page, row, title) == "—"]
    assert unknown == list(range(3 - len(unknown), 3))
    first = names(page)
    head = page.table.horizontalHeader()
    turned = Qt.SortOrder(1 - head.sortIndicatorOrder().value)
    head.setSortIndicator(head.sortIndicatorSection(), turned)
    known = 3 - len(unknown)
    distinct = len({cell(page, row, title) for row in range(known)}) == known
    if distinct:
        assert names(page)[:known] == first[:known][::-1]
    assert names(page)[known:] == first[known:]


def test_a_click_on_the_header_sorts_and_the_choice_follows(page: Any) -> None:
    head = page.table.horizontalHeader()
    viewport = head.viewport()
    spot = viewport.rect().center()
    spot.setX(head.sectionViewportPosition(0) + 20)
    QTest.mouseClick(viewport, Qt.MouseButton.LeftButton, pos=spot)
    assert page.order.currentText() == "Name"
    assert head.isSortIndicatorShown()
    assert names(page) in (["game.exe", "python3", "Xorg"], ["Xorg", "python3", "game.exe"])


def test_selection_stays_with_its_process_while_rows_move(bench: Any, page: Any) -> None:
    page.table.selectRow(0)
    busy_desktop = process(8, "Xorg", 99.0)
    newcomer = process(3, "blender", 100.0)
    resets: list[None] = []
    page.table.model().modelReset.connect(lambda: resets.append(None))
    bench.store.set_processes([TRAINING, busy_desktop, newcomer], [])
    assert names(page) == ["blender", "Xorg", "python3"]
    (selected,) = page.table.selectionModel().selectedRows()
    assert selected.data() == "python3"
    assert page.table.currentIndex().data() == "python3"
    assert resets == []
    bench.store.set_processes([newcomer], [])
    assert page.table.selectionModel().selectedRows() == []


def test_a_pid_that_is_used_again_is_another_process(bench: Any, page: Any) -> None:
    page.table.selectRow(0)
    again = ProcessSample(
        GPU_ID, 7, 99, "python3", "mara", ProcessKind.COMPUTE, GIB, 81.0, {}, None
    )
    bench.store.set_processes([again], [])
    assert names(page) == ["python3"]
    assert page.table.selectionModel().selectedRows() == []


def test_filter_by_words_and_gpu(page: Any) -> None:
    QTest.keyClicks(page.search, "ROOT xo")
    assert names(page) == ["Xorg"]
    assert "1 of 3 processes" in spoken(page)
    page.search.setText("9")
    assert names(page) == ["game.exe"]
    page.search.clear()
    page.gpu.setCurrentIndex(page.gpu.findData(OTHER_ID))
    assert names(page) == ["game.exe"]
    page.search.setText("nobody")
    assert "No process matches" in spoken(page)
    assert "3 are hidden" in spoken(page)


def test_the_model_obeys_qts_rules_while_it_is_renewed(
    bench: Any, page: Any, qtmodeltester: Any
) -> None:
    qtmodeltester.check(page.table.model())
    bench.store.set_processes([HIDDEN, process(1, "a", 50.0)], [])
    bench.store.set_processes([TRAINING, process(1, "a", 90.0), DESKTOP], [])
    assert names(page) == ["a", "python3", "Xorg"]


def test_the_agent_looks_only_while_the_page_is_seen(bench: Any, page: Any) -> None:
    bench.window.open_named("overview")
    assert bench.agent.wants_processes == [True, False]
    assert bench.store.processes is None
    bench.window.open_named("processes")
    assert bench.agent.wants_processes == [True, False, True]
    assert "Looking at the processes" in spoken(page)


@pytest.mark.parametrize(
    ("setup", "words"),
    [
        ("waiting", "The agent looks once a second"),
        ("processor", "Drivers tell who uses a GPU"),
        ("idle", "No program uses a GPU now"),
        ("recording", "A recording holds no processes"),
        ("lost", "The agent crashed."),
    ],
)
def test_an_empty_page_says_why(bench: Any, setup: str, words: str) -> None:
    bench.feed([bench.cpu() if setup == "processor" else bench.gpu()])
    bench.window.open_named("processes")
    if setup == "recording":
        bench.store.backends = (Backend("replay", "ok", ""),)
    if setup == "lost":
        bench.store.set_link(LinkState.RESTARTING, "The agent crashed.")
    elif setup != "waiting":
        bench.store.set_processes([], [])
    assert words in spoken(bench.window.page)


def test_there_is_nothing_to_kill_with(page: Any) -> None:

    buttons = [one for one in page.findChildren(QAbstractButton) if one.isVisible()]
    assert [one for one in buttons if one.text()] == []


@pytest.mark.parametrize("size", [(1180, 760), (1024, 680)])
def test_the_full_page_cuts_nothing(bench: Any, page: Any, size: tuple[int, int]) -> None:
    bench.window.resize(*size)

    for _ in range(3):
        QApplication.processEvents()
    assert (nameless(bench.window), cut(bench.window)) == ([], [])
    model = page.table.model()
    assert page.table.columnWidth(model.columnCount() - 1) >= 100
