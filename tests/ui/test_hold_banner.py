"""The banner of holds: said once, hidden until something changes, and the user's word."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QAccessible
from PySide6.QtTest import QTest

from gpupanel.model.hold import Hold
from gpupanel.policy.resolve import PolicyState
from gpupanel.ui.link import LinkState
from tests.ui.made_holds import made
from tests.ui.test_window import cut, nameless, spoken

if TYPE_CHECKING:
    from PySide6.QtWidgets import QApplication, QPushButton, QWidget


@pytest.fixture
def held(bench: Any) -> Any:
    bench.feed([bench.gpu(0), bench.gpu(1)])
    bench.feed_policy(mining__max_efficiency_percent=50)
    tell(bench, made())
    return bench


def tell(bench: Any, *holds: Hold) -> None:
    bench.store.holds.take(holds)


def banner(bench: Any) -> Any:
    return bench.window._held


def press(button: QPushButton) -> None:
    assert button.isVisible()
    QTest.mouseClick(button, Qt.MouseButton.LeftButton)


def test_it_says_what_who_why_and_until_when(held: Any) -> None:
    told = spoken(banner(held))
    assert "xmrig is held to 50 % of its speed by your organisation's policy." in told
    assert "gpupanel found that it mines, and mining is capped." in told
    assert "It got 49 % over the last 10 s. 3 processes count together." in told
    assert "until it ends or no longer mines" in told
    assert "10-site.toml:4:1" in banner(held)._more.toolTip()


def test_nobody_held_is_no_banner(bench: Any) -> None:
    bench.feed([bench.gpu()])
    tell(bench)
    assert banner(bench) is None
    tell(bench, made())
    assert banner(bench).isVisible()
    tell(bench)
    assert not banner(bench).isVisible()
    assert not bench.window._above.isVisible()


def test_once_hidden_it_is_back_when_something_else_is_done(held: Any) -> None:
    press(banner(held).action)
    assert not banner(held).isVisible()
    assert not held.window._above.isVisible()
    tell(held, made(efficiency_percent=51.0, window_s=20.0, processes=4))
    held.window.refresh()
    assert not banner(held).isVisible()
    tell(held, made(cap_percent=25))
    assert banner(held).isVisible()
    press(banner(held).action)
    tell(held, made(cap_percent=25), made(id="hold-1-2", pid=8))
    assert banner(held).isVisible()


def test_the_end_of_the_grace_is_another_thing(bench: Any) -> None:
    bench.feed([bench.gpu()])
    tell(bench, made(acts_in_s=25.4))
    assert "will be held to 50 % of its speed in 25 s" in spoken(banner(bench))
    press(banner(bench).action)
    tell(bench, made(acts_in_s=20.0))
    assert not banner(bench).isVisible()
    tell(bench, made(acts_in_s=-0.1))
    assert banner(bench).isVisible()


def test_a_lost_agent_takes_it_away_and_several_share_one(held: Any) -> None:
    tell(
        held, made(), made(id="2", name="t-rex", pid=8, cap_percent=25),
        made(id="3", name="lolMiner", pid=9, action="observe"), made(id="4", name="n", pid=10),
    )  # fmt: skip
    told = spoken(banner(held))
    assert "The mining policy concerns 4 programs." in told
    assert (
        "xmrig · Held to 50 %; t-rex · Held to 25 %; lolMiner · Would be held; and 1 more" in told
    )
    assert not banner(held).objection.button.isVisible()
    held.store.set_link(LinkState.RESTARTING, "The agent crashed.")
    assert not banner(held).isVisible()
    assert "The agent crashed." in spoken(held.window)


def test_the_users_word_is_asked_for_once_and_given(held: Any) -> None:
    objection = banner(held).objection
    press(objection.button)
    assert "remembered by its content" in spoken(banner(held)).replace("\n", " ")
    assert [method for method, _ in held.agent.seen if method == "object"] == []
    assert held.window.focusWidget() is objection.cancel
    QTest.keyClick(objection.cancel, Qt.Key.Key_Space)
    assert held.window.focusWidget() is objection.button
    assert not objection.question.isVisible()
    press(objection.button)
    press(objection.yes)
    assert held.agent.seen[-1] == ("object", {"pid": 7, "started": 1007})
    assert "You said that it does not mine." in spoken(banner(held))
    assert not objection.button.isVisible()
    tell(held)
    assert not banner(held).isVisible()


def test_a_refusal_is_shown_and_a_new_process_is_asked_about_anew(held: Any) -> None:
    objection = banner(held).objection
    press(objection.button)
    press(objection.yes)
    held.agent.asked[-1].refuse("policy does not let users object")
    assert "Your word was refused: Policy does not let users object." in spoken(banner(held))
    held.store.set_link(LinkState.RESTARTING, "The agent crashed.")
    tell(held, made())
    assert objection.button.isVisible()  # another agent may say another thing
    tell(held, made(pid=70))
    assert objection.button.isVisible()
    tell(held, made(pid=70, may_release=False))
    assert not objection.button.isVisible()


def test_a_question_is_not_put_about_another_program(held: Any) -> None:
    objection = banner(held).objection
    press(objection.button)
    tell(held, made(pid=70))
    assert not objection.yes.isVisible()
    assert objection.button.isVisible()


def test_why_opens_the_page_of_help_with_this_case(held: Any, qapp: QApplication) -> None:
    press(banner(held).why)
    help_window = held.window._help
    assert help_window.isVisible()
    told = spoken(help_window)
    assert "Why is my program held?" in help_window.windowTitle()
    assert "mining.max_efficiency_percent = 50, set by the machine policy" in told
    assert "What is never held" in help_window.page.toPlainText()
    assert nameless(help_window) == []
    QTest.keyClick(help_window, Qt.Key.Key_Escape)
    assert not help_window.isVisible()


def test_tab_goes_from_the_navigation_over_the_banner_to_the_page(held: Any) -> None:
    held.window.open_named("processes")
    held.store.set_processes([], [])
    chain: list[QWidget] = []
    widget = held.window.nextInFocusChain()
    while widget is not held.window:
        if widget.isVisible() and widget.focusPolicy() & Qt.FocusPolicy.TabFocus:
            chain.append(widget)
        widget = widget.nextInFocusChain()
    shown = banner(held)
    mine = [shown.why, shown.line, shown.objection.button, shown.action]
    places = [chain.index(one) for one in mine]
    assert places == list(range(places[0], places[0] + 4))
    first_of_page = chain.index(held.window.page.search)
    assert places[-1] < first_of_page


def test_it_is_spoken_when_it_is_new(held: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(QAccessible, "isActive", lambda: True)
    monkeypatch.setattr(
        QAccessible, "updateAccessibility", lambda event: said.append(event.message())
    )
    held.window.refresh()
    assert said == []
    tell(held, made(cap_percent=25))
    held.window.refresh()
    assert [one.replace("\u00a0", " ") for one in said] == [
        "xmrig is held to 25 % of its speed by your organisation's policy."
    ]


@pytest.mark.parametrize("size", [(1180, 760), (900, 600)])
@pytest.mark.parametrize("step", ["shown", "asking", "several", "failed"])
def test_nothing_of_it_is_cut(
    held: Any, qapp: QApplication, step: str, size: tuple[int, int]
) -> None:
    held.window.setMinimumSize(*size)
    held.window.resize(*size)
    weak = "cgroup v2 freezer of the user's own systemd (best effort: its programs can undo it)"
    tell(held, made(name="a-miner-with-quite-a-long-name", is_best_effort=True, means=weak))
    if step == "asking":
        press(banner(held).objection.button)
    elif step == "several":
        tell(held, made(), made(id="2", pid=8), made(id="3", pid=9), made(id="4", pid=10))
    elif step == "failed":
        tell(held, made(means="", problem="it could not be held: " + "why " * 40))
    for _ in range(4):
        qapp.processEvents()
    assert (nameless(banner(held)), cut(banner(held))) == ([], [])
    assert held.window.size().toTuple() == size


def test_the_closed_policy_is_named(bench: Any) -> None:
    bench.feed([bench.gpu()])
    bench.feed_policy(PolicyState.CLOSED)
    by = "the built-in closed policy, because the machine policy is broken or missing"
    tell(bench, made(cap_percent=5, reason=f"mining.max_efficiency_percent = 5, set by {by}"))
    assert "by the closed policy, because the machine's is broken." in spoken(banner(bench))
