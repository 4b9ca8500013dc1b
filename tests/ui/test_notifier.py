"""Notes on the desktop: which holds are news, how often, and what reaches a real session bus."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from gpupanel.ui.app import Panel
from gpupanel.ui.link import Link, LinkState
from gpupanel.ui.notify import notifier as module
from gpupanel.ui.notify.desktop import Desktop, SessionBus
from gpupanel.ui.notify.notifier import Notifier
from gpupanel.ui.theme import ThemeChoice
from tests.ui.made_holds import OWN_UID, made
from tests.ui.test_evidence import MINING

if TYPE_CHECKING:
    from PySide6.QtCore import QObject
    from pytestqt.qtbot import QtBot


class Shown(Desktop):
    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self.notes: list[tuple[str, str]] = []

    def show_note(self, title: str, text: str) -> None:
        self.notes.append((title.replace("\u00a0", " "), text))


@dataclass
class Room:
    bench: Any
    qtbot: QtBot
    desktop: Shown
    made: list[Notifier] = field(default_factory=list)

    def begin(self, *holds: Any) -> Notifier:
        self.take(*holds)
        store = self.bench.store
        self.made.append(Notifier(store, self.bench.agent, lambda: self.desktop, self.desktop))
        return self.made[-1]

    def take(self, *holds: Any) -> None:
        self.bench.store.holds.take(holds)

    def settle(self) -> None:
        """Until no timer of the notifier runs."""
        (one,) = self.made
        self.qtbot.waitUntil(lambda: not one._gather.isActive() and not one._settle.isActive())

    def titles(self) -> list[str]:
        self.settle()
        return [title for title, _ in self.desktop.notes]


@pytest.fixture
def room(bench: Any, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch) -> Iterator[Room]:
    for name in ("GATHER_MS", "QUIET_MS", "SETTLE_MS"):
        monkeypatch.setattr(module, name, 0)
    bench.feed([bench.gpu()])
    bench.feed_policy(mining__max_efficiency_percent=50)
    made_room = Room(bench, qtbot, Shown(bench.window))
    yield made_room
    for one in made_room.made:
        one.close()


def test_a_new_hold_is_told_once_and_what_was_there_is_not(room: Room) -> None:
    room.begin(made())
    room.bench.window.showMinimized()
    room.take(made(), made(id="2", name="t-rex", pid=8))
    assert room.titles() == ["t-rex is held to 50 % of its speed by your organisation's policy"]
    assert "mining is capped" in room.desktop.notes[0][1]
    room.take(made(cap_percent=25), made(id="2", name="t-rex", pid=8))
    room.take(made(id="of-a-restarted-service"), made(id="2", name="t-rex", pid=8))
    room.bench.store.changed.emit()
    assert len(room.titles()) == 1


@pytest.mark.parametrize(
    "changed",
    [{"acts_in_s": 30.0}, {"action": "observe"}, {"means": ""},
        pytest.param({"uid": (OWN_UID or 0) + 1}, marks=pytest.mark.skipif(
            OWN_UID is None, reason="users have no numbers"))],
)  # fmt: skip
def test_what_is_not_done_or_not_ours_is_no_note(room: Room, changed: dict[str, Any]) -> None:
    room.begin()
    room.take(made(**changed))
    assert room.titles() == []


def test_the_end_of_the_grace_is_told_at_the_tick_after_it(room: Room) -> None:
    room.begin(made(acts_in_s=30.0))
    begun = made(acts_in_s=-0.5)
    room.bench.store.holds.all = (begun,)  # time passed; the service has nothing new to tell
    room.bench.store.changed.emit()
    assert len(room.titles()) == 1


def test_several_at_once_are_one_note(room: Room) -> None:
    room.begin()
    room.take(*(made(id=str(pid), name=f"m{pid}", pid=pid) for pid in range(5)))
    assert room.titles() == ["The mining policy concerns your programs"]
    text = room.desktop.notes[0][1].replace("\u00a0", " ")
    assert text.startswith("m0 is held to 50 %")
    assert text.endswith("And 2 more.")


def test_notes_keep_a_distance(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    one = room.begin()
    room.take(made())
    room.settle()
    monkeypatch.setattr(module, "QUIET_MS", 60_000)
    room.take(made(), made(id="2", pid=8))
    assert 50_000 < one._gather.interval() <= 60_000


def test_a_release_is_told_while_the_program_runs(room: Room) -> None:
    room.begin(made())
    room.take()
    room.settle()
    room.bench.agent.asked[-1].answer({"judgement": MINING.as_json()})
    assert room.titles() == ["xmrig is held no longer"]


@pytest.mark.parametrize("why", ["ended", "freed by the user", "held anew", "only told", "lost"])
def test_a_release_that_is_no_news(room: Room, why: str) -> None:
    room.begin(made(action="notify", would="notify") if why == "only told" else made())
    if why == "freed by the user":
        room.bench.store.holds.object_to((7, 1007))
    if why == "lost":
        room.bench.store.set_link(LinkState.RESTARTING, "The agent crashed.")
    else:
        room.take()
    if why == "held anew":
        room.take(made(id="2"))
    room.settle()
    for asked in room.bench.agent.asked:
        if asked.method == "explain":
            asked.answer({"judgement": None if why == "ended" else MINING.as_json()})
    assert room.titles() == []


def test_policy_says_whether_users_are_told(room: Room) -> None:
    room.bench.feed_policy(ui__notify_capped=True)
    room.bench.store.policy.settings["ui.notify_capped"] = _off(room.bench.store.policy)
    room.begin()
    room.take(made())
    assert room.titles() == []


def _off(policy: Any) -> Any:
    return replace(policy.settings["ui.notify_capped"], value=False)


def test_the_window_tells_and_a_picture_does_not(
    qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "GATHER_MS", 0)
    panels = [Panel(Link(["none"]), ThemeChoice.LIGHT) for _ in range(2)]
    shown = [Shown(panel) for panel in panels]
    for panel, desktop in zip(panels, shown, strict=True):
        monkeypatch.setattr(panel, "_find_desktop", lambda desktop=desktop: desktop)
        qtbot.addWidget(panel.window)
    panels[0].tell_of_holds()
    for panel in panels:
        panel.link.holds_received.emit([])
        panel.link.holds_received.emit([made()])
    qtbot.waitUntil(lambda: shown[0].notes != [])
    assert shown[1].notes == []
    for panel in panels:
        panel.close()


SERVER = """
from PySide6.QtCore import QCoreApplication
from PySide6.QtDBus import QDBusConnection, QDBusVirtualObject
application = QCoreApplication([])
class Server(QDBusVirtualObject):
    def introspect(self, path):
        return ""
    def handleMessage(self, message, bus):
        print(message.member(), message.signature(), *message.arguments()[3:5], sep="|", flush=True)
        return bus.send(message.createReply([7]))
server, bus = Server(), QDBusConnection.sessionBus()
path = "/org/freedesktop/Notifications"
bus.registerVirtualObject(path, server, QDBusConnection.VirtualObjectRegisterOption.SubPath)
print(bus.registerService("org.freedesktop.Notifications"), flush=True)
application.exec()
"""


@pytest.fixture
def session_bus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A real bus of this test's own."""
    daemon = subprocess.Popen(
        ["dbus-daemon", "--session", "--nofork", "--print-address",
            f"--address=unix:path={tmp_path}/bus"],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert daemon.stdout is not None
    address = daemon.stdout.readline().strip()
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", address)
    yield address
    daemon.terminate()
    daemon.communicate(timeout=10)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has a tray and no session bus")
class TestSessionBus:
    def test_a_note_reaches_who_shows_notes(
        self, session_bus: str, qtbot: QtBot, bench: Any
    ) -> None:
        del session_bus
        server = subprocess.Popen(
            [sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True, env=os.environ
        )
        assert server.stdout is not None
        assert server.stdout.readline() == "True\n"
        desktop = SessionBus(bench.window)
        try:
            with qtbot.waitSignal(desktop._call.finished, timeout=10_000):
                desktop.show_note("--host=evil <b>x</b> & y", "two\nlines")
        finally:
            server.terminate()
            got, _ = server.communicate(timeout=10)
        assert got == "Notify|susssasa{sv}i|--host=evil (b)x(/b) + y|two\nlines\n"
        assert desktop.problem == ""

    def test_without_a_service_it_says_why(
        self, session_bus: str, qtbot: QtBot, bench: Any
    ) -> None:
        del session_bus
        desktop = SessionBus(bench.window)
        with qtbot.waitSignal(desktop._call.finished, timeout=10_000):
            desktop.show_note("title", "text")
        assert "org.freedesktop.Notifications" in desktop.problem
        desktop.close()


def test_a_system_without_busctl_says_so(
    bench: Any, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    desktop = SessionBus(bench.window)
    desktop.show_note("title", "text")
    qtbot.waitUntil(lambda: desktop.problem != "")
    desktop.close()
