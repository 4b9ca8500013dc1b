"""Class, verdict and the evidence below the table of processes, and the user's word on it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest

from gpupanel.model.verdict import (
    Evidence,
    EvidenceFamily,
    EvidenceSource,
    ProcessClass,
    Standing,
    Verdict,
)
from tests.ui.test_processes_page import DESKTOP, HIDDEN, TRAINING, cell, names, sort_by
from tests.ui.test_window import cut, nameless, spoken

LINES = (
    Evidence(
        EvidenceFamily.NETWORK, "pool", 5.0, "the host a.org is a mining pool's",
        EvidenceSource.ARGUMENTS,
    ),
    Evidence(
        EvidenceFamily.BENIGN, "draws", -8.0, "it draws, and shows it in a window",
        EvidenceSource.USE,
    ),
)  # fmt: skip
MINING = Verdict(
    ProcessClass.MINING, Standing.SUSPECTED, 0.97, 1.7e9, LINES, "", "ab" * 32, may_object=True
)
CLEAR = Verdict(ProcessClass.DESKTOP, Standing.CLEAR, 0.0001, 1.7e9, protected="it is the session")
MINER = replace(TRAINING, name="update", verdict=MINING.without_evidence())
SESSION = replace(DESKTOP, verdict=CLEAR)


@pytest.fixture
def page(bench: Any) -> Any:
    bench.feed([bench.gpu(0), bench.gpu(1)])
    bench.window.open_named("processes")
    bench.store.set_processes([SESSION, HIDDEN, MINER], [])
    return bench.window.page


def answer(bench: Any, method: str, result: dict[str, Any]) -> None:
    asked = [one for one in bench.agent.asked if one.method == method]
    bench.agent.asked = [one for one in bench.agent.asked if one.method != method]
    asked[-1].answer(result)


def lines(page: Any) -> list[list[str]]:
    model = page.evidence.table.model()
    return [
        [model.index(row, column).data() for column in range(model.columnCount())]
        for row in range(model.rowCount())
    ]


def test_class_and_verdict_are_columns_and_sort(page: Any) -> None:
    assert [cell(page, 0, title) for title in ("Class", "Verdict")] == ["Mining", "Suspected"]
    assert [cell(page, 1, title) for title in ("Class", "Verdict")] == ["Desktop", "Clear"]
    assert [cell(page, 2, title) for title in ("Class", "Verdict")] == ["—", "—"]
    tip = Qt.ItemDataRole.ToolTipRole
    assert "probability of mining: 97 %" in cell(page, 0, "Verdict", tip)
    assert "not known: " in cell(page, 2, "Verdict", tip)
    sort_by(page, "Verdict")
    assert names(page)[-1] == "game.exe"


def test_the_evidence_of_the_selected_process_is_asked_for_and_shown(bench: Any, page: Any) -> None:
    assert not page.evidence.isVisible()
    page.table.selectRow(0)
    assert page.evidence.isVisible()
    assert bench.agent.seen[-1] == ("explain", {"pid": 7, "started": 1007})
    answer(bench, "explain", {"judgement": MINING.as_json()})
    assert "update (PID 7)" in spoken(page)
    assert "Suspected, probability of mining 97 %." in spoken(page).replace("\u00a0", " ")
    assert lines(page) == [
        ["The host a.org is a mining pool's.", "Network", "command line", "+5.0"],
        ["It draws, and shows it in a window.", "Against", "use of the GPU", "\N{MINUS SIGN}8.0"],
    ]


def test_it_is_asked_again_only_when_the_verdict_is_another(bench: Any, page: Any) -> None:
    page.table.selectRow(0)
    bench.store.set_processes([SESSION, HIDDEN, replace(MINER, utilization_percent=80.0)], [])
    explains = [method for method, _ in bench.agent.seen if method == "explain"]
    assert len(explains) == 1
    surer = replace(MINER, verdict=replace(MINING.without_evidence(), posterior=0.98))
    bench.store.set_processes([SESSION, HIDDEN, surer], [])
    assert len([method for method, _ in bench.agent.seen if method == "explain"]) == 2


def test_a_late_answer_about_another_process_is_not_shown(bench: Any, page: Any) -> None:
    page.table.selectRow(0)
    late = next(one for one in bench.agent.asked if one.method == "explain")
    page.table.selectRow(1)
    late.answer({"judgement": MINING.as_json()})
    assert "Xorg (PID 8)" in spoken(page)
    assert not page.evidence.table.isVisible()
    answer(bench, "explain", {"judgement": CLEAR.as_json()})
    assert "Never held: it is the session." in spoken(page)
    assert "Nothing speaks for mining or against it." in spoken(page)
    assert not page.evidence.objection.button.isVisible()


def test_a_user_objects_by_keyboard_and_a_refusal_is_shown(bench: Any, page: Any) -> None:
    page.table.selectRow(0)
    answer(bench, "explain", {"judgement": MINING.as_json()})
    button = page.evidence.objection.button
    button.setFocus()
    QTest.keyClick(button, Qt.Key.Key_Space)
    assert "object" not in {method for method, _ in bench.agent.seen}
    page.evidence.objection.yes.setFocus()
    QTest.keyClick(page.evidence.objection.yes, Qt.Key.Key_Space)
    assert bench.agent.seen[-1] == ("object", {"pid": 7, "started": 1007})
    refused = next(one for one in bench.agent.asked if one.method == "object")
    refused.refuse("policy does not let users object")
    assert "Policy does not let users object." in spoken(page)
    assert not button.isVisible()


def test_the_table_of_evidence_is_reached_with_the_tab_key(bench: Any, page: Any) -> None:
    page.table.selectRow(0)
    answer(bench, "explain", {"judgement": MINING.as_json()})
    page.table.setFocus()
    reached = set()
    for _ in range(6):
        QTest.keyClick(bench.window.focusWidget(), Qt.Key.Key_Tab)
        reached.add(bench.window.focusWidget())
    assert {page.evidence.objection.button, page.evidence.table} <= reached


@pytest.mark.parametrize("size", [(1180, 760), (1024, 680)])
def test_the_evidence_cuts_nothing(bench: Any, page: Any, size: tuple[int, int], qapp: Any) -> None:
    bench.window.resize(*size)
    page.table.selectRow(0)
    answer(bench, "explain", {"judgement": MINING.as_json()})
    for _ in range(3):
        qapp.processEvents()
    assert (nameless(bench.window), cut(bench.window)) == ([], [])
