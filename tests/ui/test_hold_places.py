"""Holds on the pages: the line and the block of a process, the card of a GPU, the policy key."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest

from gpupanel.model.gpu import Unavailable
from gpupanel.ui.store import POINTS
from gpupanel.ui.widgets.processes.columns import HELD
from tests.ui.made_holds import GPU_ID, made
from tests.ui.test_evidence import MINING
from tests.ui.test_processes_page import DESKTOP, HIDDEN, TRAINING, cell, names, sort_by
from tests.ui.test_window import cut, nameless, spoken

if TYPE_CHECKING:
    from PySide6.QtWidgets import QApplication

MINER = replace(TRAINING, name="xmrig", verdict=MINING.without_evidence())
KEY = "mining.max_efficiency_percent"


@pytest.fixture
def held(bench: Any) -> Any:
    bench.feed([bench.gpu(0), bench.gpu(1)])
    bench.feed_policy(mining__max_efficiency_percent=50)
    bench.store.holds.take([made()])
    bench.window.refresh()
    return bench


@pytest.fixture
def page(held: Any) -> Any:
    QTest.mouseClick(held.window._held.line, Qt.MouseButton.LeftButton)
    held.store.set_processes([DESKTOP, HIDDEN, MINER], [])
    return held.window.page


def test_the_banner_leads_to_the_line_when_the_agent_tells_of_it(held: Any, page: Any) -> None:
    (selected,) = page.table.selectionModel().selectedRows()
    assert selected.data() == "xmrig"
    page.table.selectRow(names(page).index("Xorg"))
    held.store.set_processes([DESKTOP, HIDDEN, MINER], [])
    (selected,) = page.table.selectionModel().selectedRows()
    assert selected.data() == "Xorg"


def test_a_filter_does_not_hide_what_is_sought(held: Any, page: Any) -> None:
    page.search.setText("xorg")
    QTest.mouseClick(held.window._held.line, Qt.MouseButton.LeftButton)
    (selected,) = page.table.selectionModel().selectedRows()
    assert selected.data() == "xmrig"


def test_the_column_is_there_while_somebody_is_held(held: Any, page: Any) -> None:
    assert not page.table.isColumnHidden(HELD)
    row = names(page).index("xmrig")
    assert cell(page, row, "Held") == "Held to 50 % · gets 49 %"
    tip = cell(page, row, "Held", Qt.ItemDataRole.ToolTipRole)
    assert "by your organisation's policy." in tip
    assert "3 processes count together." in tip
    assert cell(page, names(page).index("Xorg"), "Held") == ""
    sort_by(page, "Held")
    assert names(page)[0] == "xmrig"
    held.store.holds.take([])
    assert page.table.isColumnHidden(HELD)


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({"is_best_effort": True}, "Best effort 50 % · gets 49 %"),
        ({"efficiency_percent": Unavailable("learning")}, "Held to 50 % · gets —"),
        ({"action": "observe", "cap_percent": 100}, "Would be held"),
        ({"action": "suspend", "would": "suspend"}, "Stopped"),
        ({"means": "", "reason": "permission denied"}, "Not held"),
        ({"started": 9}, ""),
    ],
)
def test_each_kind_of_hold_in_the_line(
    held: Any, page: Any, changed: dict[str, Any], text: str
) -> None:
    held.store.holds.take([made(**changed)])
    held.window.refresh()
    assert cell(page, names(page).index("xmrig"), "Held") == text


def test_the_block_tells_all_of_it(held: Any, page: Any) -> None:
    for efficiency in (100.0, 49.2):
        held.store.holds.take([made(efficiency_percent=efficiency)])
        held.store.holds.tick()
    held.window.refresh()
    block = page.evidence.held
    told = spoken(block)
    for words in ("Gets", "49 %", "Cap", "50 %", "Kept over", "10 s", "Since", "Processes"):
        assert words in told
    assert "Held by: cgroup v2 freezer. It stays so until" in told
    assert "now 49 %, cap 50 %" in told
    assert block.chart._values == (100.0, 49.2)
    assert block.chart._limit == 50
    page.table.selectRow(names(page).index("Xorg"))
    assert not block.isVisible()
    assert not block.why.isVisible()


def test_an_audit_tells_no_cap_that_it_does_not_know(held: Any, page: Any) -> None:
    nothing = Unavailable("nothing is held")
    audit = made(action="observe", cap_percent=100, efficiency_percent=nothing, window_s=0.0)
    held.store.holds.take([audit])
    held.window.refresh()
    told = spoken(page.evidence.held)
    assert "100 %" not in told
    assert "this is a trial" in told
    assert not page.evidence.held.chart.isVisible()


def test_a_key_of_the_reason_opens_its_row(held: Any, page: Any) -> None:
    reason = page.evidence.held.reason
    assert f'<a href="{KEY}">{KEY}</a> = 50' in reason.text()
    reason.setFocus()
    QTest.keyClick(reason, Qt.Key.Key_Tab)
    reason.linkActivated.emit("mining.action")
    policy_page = held.window.page
    (selected,) = policy_page.effective.table.selectionModel().selectedRows()
    assert selected.data() == "mining.action"
    policy_page.seek(("no", "key"))
    assert "mining.action" in spoken(policy_page)


def test_a_reason_is_no_markup(held: Any, page: Any) -> None:
    held.store.holds.take([made(reason=f"<b>{KEY}</b> = 50, set by <a href='x'>")])
    held.window.refresh()
    text = page.evidence.held.reason.text()
    assert text.count("<a ") == 1
    assert "<b>" not in text


def test_help_and_the_users_word_from_the_card(held: Any, page: Any) -> None:
    card = page.evidence
    QTest.mouseClick(card.held.why, Qt.MouseButton.LeftButton)
    assert f"{KEY} = 50" in spoken(held.window._help)
    held.window._help.close()
    QTest.mouseClick(card.objection.button, Qt.MouseButton.LeftButton)
    QTest.mouseClick(card.objection.yes, Qt.MouseButton.LeftButton)
    assert held.agent.seen[-1] == ("object", {"pid": 7, "started": 1007})
    held.agent.asked[-1].answer({})
    assert held.agent.seen[-1] == ("explain", {"pid": 7, "started": 1007})


def test_the_card_of_the_gpu_says_who_is_held_on_it(held: Any) -> None:
    held.window.open_named("overview")
    first, second = held.window.page._cards
    assert "xmrig · Held to 50 %" in spoken(first)
    assert "xmrig" not in spoken(second)
    held.store.holds.take([made(), made(id="2", name="t-rex", pid=8)])
    assert "xmrig · Held to 50 % and 1 more" in spoken(first)
    held.drive("gaming.raymarch", "running", GPU_ID)
    assert "Gaming · Ray-marched scene running · xmrig · Held" in spoken(first)
    held.store.holds.take([])
    assert "xmrig" not in spoken(first)


def test_efficiencies_are_remembered_of_each_hold_while_it_lasts(bench: Any) -> None:
    holds = bench.store.holds
    holds.tick()
    for number in range(POINTS + 5):
        unknown = Unavailable("learning")
        holds.take([made(efficiency_percent=float(number) if number % 2 else unknown)])
        holds.tick()
    series = holds.series(made())
    assert len(series) == POINTS
    assert series[-1] is None
    assert series[-2] == POINTS + 3
    holds.take([made(id="another")])
    holds.tick()
    assert holds.series(made()) == ()


def test_only_what_is_done_is_news(bench: Any) -> None:
    told: list[None] = []
    bench.store.changed.connect(lambda: told.append(None))
    first = made()
    for hold in (first, replace(first, efficiency_percent=50.0, window_s=12.0)):
        bench.store.holds.take([hold])
    assert len(told) == 1
    bench.store.holds.take([replace(first, processes=4)])
    assert len(told) == 2


@pytest.mark.parametrize("size", [(1180, 760), (1024, 680), (900, 600)])
def test_the_page_with_a_hold_cuts_nothing(
    held: Any, page: Any, size: tuple[int, int], qapp: QApplication
) -> None:
    held.window.setMinimumSize(*size)
    held.window.resize(*size)
    explain = [one for one in held.agent.asked if one.method == "explain"]
    explain[-1].answer({"judgement": MINING.as_json()})
    held.store.holds.take([made(is_best_effort=True, means="SIGSTOP (best effort): " + "why " * 9)])
    for _ in range(4):
        qapp.processEvents()
    assert (nameless(held.window), cut(held.window)) == ([], [])
    assert held.window.size().toTuple() == size
