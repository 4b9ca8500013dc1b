from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gpupanel.model.gpu import Unavailable
from gpupanel.ui import link as link_module
from gpupanel.ui.link import Link, LinkState

if TYPE_CHECKING:
    from pytestqt.qtbot import QtBot

FAKE_AGENT = Path(__file__).parent / "fake_agent.py"
ROOT = Path(__file__).parents[2]
MakeLink = Callable[[str], Link]


@pytest.fixture
def make(qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MakeLink]:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    made: list[Link] = []

    def make_link(mode: str) -> Link:
        command = [sys.executable, str(FAKE_AGENT), mode, str(tmp_path / "pid")]
        made.append(Link(command))
        return made[-1]

    yield make_link
    for link in made:
        link.close()


def states_of(link: Link) -> list[LinkState]:
    seen: list[LinkState] = []
    link.state_changed.connect(lambda: seen.append(link.state))
    return seen


def test_everything_arrives(make: MakeLink, qtbot: QtBot) -> None:
    link = make("good")
    with qtbot.waitSignals(
        [link.gpus_received, link.policy_received, link.history_received, link.snapshot_received],
        timeout=10_000,
    ):
        link.start()
    assert link.state is LinkState.RUNNING
    assert link.version == "0.0"


def test_values_are_decoded(make: MakeLink, qtbot: QtBot) -> None:
    link = make("good")
    with qtbot.waitSignal(link.snapshot_received, timeout=10_000) as tick:
        link.start()
    assert tick.args is not None
    sample = tick.args[0].samples[0]
    assert sample.readings["power_draw_w"] == 250.0
    assert sample.readings["fan_speed_percent"].reason == "not supported on this board"


def test_holds_are_decoded_as_they_are_now_and_as_they_change(make: MakeLink, qtbot: QtBot) -> None:
    link = make("good")
    told: list[list[tuple[str, int, float | Unavailable]]] = []
    link.holds_received.connect(
        lambda holds: told.append([(one.name, one.pid, one.efficiency_percent) for one in holds])
    )
    link.start()
    qtbot.waitUntil(lambda: len(told) == 2, timeout=10_000)
    assert told == [[], [("xmrig", 7, 49.0)]]


def test_a_crashed_agent_is_replaced(
    make: MakeLink, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link_module, "_BACKOFF_S", (0.01,))
    link = make("crash")
    seen = states_of(link)
    link.start()
    qtbot.waitUntil(lambda: seen.count(LinkState.RESTARTING) >= 2, timeout=20_000)
    assert seen[:3] == [LinkState.RUNNING, LinkState.RESTARTING, LinkState.RUNNING]
    assert "vendor library: boom" in link.log


def test_an_agent_that_crashes_at_once_waits_longer_each_time(
    make: MakeLink, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link_module, "_BACKOFF_S", (0.01, 0.02, 0.03))
    link = make("crash")
    waits: list[int] = []

    def note() -> None:
        if link.state is LinkState.RESTARTING:
            waits.append(link.retry_in_ms)

    link.state_changed.connect(note)
    link.start()
    qtbot.waitUntil(lambda: len(waits) == 3, timeout=20_000)
    assert waits == [10, 20, 30]


@pytest.mark.parametrize(
    ("mode", "reason"),
    [("babble", "broke the protocol: not a message"), ("old", "speaks protocol 99")],
)
def test_an_agent_that_cannot_be_understood_is_dropped(
    make: MakeLink, qtbot: QtBot, mode: str, reason: str
) -> None:
    link = make(mode)
    with qtbot.waitSignal(link.state_changed, timeout=10_000):
        link.start()
    assert link.state is LinkState.RESTARTING
    assert reason in link.reason


def test_an_agent_that_does_not_exist_is_said(qtbot: QtBot) -> None:
    link = Link(["/nonexistent/agent"])
    with qtbot.waitSignal(link.state_changed, timeout=10_000):
        link.start()
    assert link.state is LinkState.RESTARTING
    assert "could not be started" in link.reason
    link.close()


def test_a_silent_agent_is_replaced(
    make: MakeLink, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link_module, "_SILENCE_MS", 50)
    link = Link([sys.executable, "-c", "import sys; sys.stdin.read()"])
    with qtbot.waitSignal(link.state_changed, timeout=10_000):
        link.start()
    assert "has said nothing" in link.reason
    link.close()


def test_waiting_grows(qtbot: QtBot) -> None:
    link = Link(["/nonexistent/agent"])
    waits: list[int] = []
    link.state_changed.connect(lambda: waits.append(link.retry_in_ms))
    for _ in range(8):
        with qtbot.waitSignal(link.state_changed):
            link.start()
    link.close()
    assert waits[:6] == [1000, 2000, 4000, 8000, 16_000, 30_000]
    assert waits[-1] == 30_000


@pytest.mark.parametrize("mode", ["good", "deaf"])
def test_closing_leaves_no_agent(make: MakeLink, qtbot: QtBot, tmp_path: Path, mode: str) -> None:
    link = make(mode)
    with qtbot.waitSignal(link.snapshot_received, timeout=10_000):
        link.start()
    agent = int((tmp_path / "pid").read_text(encoding="ascii"))
    before_s = time.monotonic()
    link.close()
    assert time.monotonic() - before_s < 5
    with pytest.raises(ProcessLookupError):
        os.kill(agent, 0)
    assert link.state is LinkState.CLOSED


def test_processes_are_asked_for_only_while_they_are_wanted(make: MakeLink, qtbot: QtBot) -> None:
    link = make("good")
    told: list[tuple[list[int], list[str]]] = []
    link.processes_received.connect(
        lambda processes, hidden: told.append(([one.pid for one in processes], hidden))
    )
    with qtbot.waitSignal(link.snapshot_received, timeout=10_000):
        link.start()
    assert told == []
    link.want_processes(True)
    link.want_processes(True)
    qtbot.waitUntil(lambda: len(told) == 1, timeout=10_000)
    link.want_processes(False)
    qtbot.waitUntil(lambda: len(told) == 2, timeout=10_000)
    assert told == [([7], ["why"]), ([], ["unsubscribed"])]


def test_what_was_wanted_before_the_agent_is_asked_for_when_it_is_there(
    make: MakeLink, qtbot: QtBot
) -> None:
    link = make("good")
    link.want_processes(True)
    with qtbot.waitSignal(link.processes_received, timeout=10_000):
        link.start()


def test_a_question_is_answered_or_refused_with_its_reason(make: MakeLink, qtbot: QtBot) -> None:
    link = make("good")
    with qtbot.waitSignal(link.snapshot_received, timeout=10_000):
        link.start()
    answers: list[object] = []
    reasons: list[str] = []
    link.ask("limits", {}, answers.append, reasons.append)
    link.ask("series", {}, answers.append, reasons.append)
    qtbot.waitUntil(lambda: bool(answers and reasons), timeout=10_000)
    assert answers == [{"subscription": 1}]
    assert reasons == ["no history here"]
    assert link.state is LinkState.RUNNING


def test_without_an_agent_a_question_is_refused_later(qtbot: QtBot) -> None:
    link = Link(["/nonexistent/agent"])
    reasons: list[str] = []
    link.ask("limits", {}, lambda _: None, reasons.append)
    assert reasons == []
    qtbot.waitUntil(lambda: reasons == ["the agent is not running"])
    link.close()


def test_a_lost_agent_refuses_what_it_was_asked(make: MakeLink, qtbot: QtBot) -> None:
    link = make("good")
    with qtbot.waitSignal(link.snapshot_received, timeout=10_000):
        link.start()
    reasons: list[str] = []
    link.ask("limits", {}, lambda _: None, reasons.append)
    link._lose("The agent crashed.")
    assert reasons == ["The agent crashed."]
