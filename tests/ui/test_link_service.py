"""The window's line when there is a service: used at once, kept, left and found again."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if sys.platform == "win32":
    pytest.skip("Unix sockets", allow_module_level=True)

from gpupanel.ipc.limits import Account
from gpupanel.ipc.listening import Listener
from gpupanel.ipc.server import Connection, Method
from gpupanel.ipc.transport import Peer, Service, Stream
from gpupanel.ipc.unix_socket import open_doors
from gpupanel.model.errors import RequestDenied
from gpupanel.ui import link as link_module
from gpupanel.ui.link import Link, LinkState
from tests.ui import fake_agent

if TYPE_CHECKING:
    from pytestqt.qtbot import QtBot

TOPICS = frozenset({"snapshots", "policy", "gpus", "processes", "holds"})
ROOT = Path(__file__).parents[2]
Open = Callable[..., Listener]
MakeLink = Callable[..., Link]


def methods(version: str) -> dict[str, Method]:
    made: dict[str, Method] = {
        name: lambda _, name=name: fake_agent.answer(name, 1)  # type: ignore[misc]
        for name in ("gpus", "policy", "history", "holds")
    }
    return {"hello": lambda _: {"protocol": 1, "version": version, "scope": "system"}, **made}


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    directory = tmp_path / "run"
    directory.mkdir(mode=0o755)
    return directory


@pytest.fixture
def connections() -> list[Connection]:
    """Of all services, oldest first."""
    return []


@pytest.fixture
def open_service(run_dir: Path, connections: list[Connection]) -> Iterator[Open]:
    """Opens a service that answers as the fake agent does."""
    with ExitStack() as stack:

        def begin(**changed: Method) -> Listener:
            known = {**methods("service"), **changed}

            def serve(stream: Stream, peer: Peer, account: Account) -> None:
                connection = Connection(stream, peer, known, TOPICS, account)
                connections.append(connection)
                connection.serve()

            return stack.enter_context(Listener(open_doors(run_dir), serve))

        yield begin


@pytest.fixture
def make(
    qtbot: QtBot, tmp_path: Path, run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[MakeLink]:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setattr(link_module, "_LOOK_MS", 30)
    monkeypatch.setattr(link_module, "_BACKOFF_S", (0.01,))
    made: list[Link] = []

    def make_link(uid: int = os.geteuid()) -> Link:
        command = [sys.executable, fake_agent.__file__, "good", str(tmp_path / "pid")]
        made.append(Link(command, Service(run_dir, uid)))
        made[-1].start()
        return made[-1]

    yield make_link
    for link in made:
        link.close()


def is_from(link: Link, who: str) -> bool:
    """Whether it runs, and who answers: the fake agent says that it is 0.0."""
    return link.state is LinkState.RUNNING and link.version == who


def test_a_service_that_is_there_is_used_and_no_agent_started(
    make: MakeLink, open_service: Open, qtbot: QtBot, tmp_path: Path
) -> None:
    open_service()
    link = make()
    qtbot.waitUntil(lambda: is_from(link, "service"), timeout=10_000)
    assert link.is_service
    assert not (tmp_path / "pid").exists()


def test_a_service_that_comes_takes_over_from_the_agent(
    make: MakeLink, open_service: Open, qtbot: QtBot, tmp_path: Path
) -> None:
    link = make()
    qtbot.waitUntil(lambda: is_from(link, "0.0"), timeout=10_000)
    assert not link.is_service
    agent = int((tmp_path / "pid").read_text(encoding="ascii"))
    seen: list[LinkState] = []
    link.state_changed.connect(lambda: seen.append(link.state))
    open_service()
    qtbot.waitUntil(lambda: is_from(link, "service"), timeout=10_000)
    assert seen == [LinkState.STARTING, LinkState.RUNNING]
    qtbot.waitUntil(lambda: not Path(f"/proc/{agent}").exists(), timeout=10_000)


def test_a_service_that_goes_is_replaced_and_found_again(
    make: MakeLink, open_service: Open, qtbot: QtBot
) -> None:
    first = open_service()
    link = make()
    qtbot.waitUntil(lambda: is_from(link, "service"), timeout=10_000)
    reasons: list[str] = []
    link.state_changed.connect(lambda: reasons.append(link.reason))
    first.close()
    qtbot.waitUntil(lambda: is_from(link, "0.0"), timeout=10_000)
    assert reasons[0] == "The service ended the connection."
    open_service()
    qtbot.waitUntil(lambda: is_from(link, "service"), timeout=10_000)


def test_what_is_not_the_service_is_not_used_and_that_is_said(
    make: MakeLink, open_service: Open, qtbot: QtBot
) -> None:
    asked: list[Mapping[str, Any]] = []

    def hello(params: Mapping[str, Any]) -> Mapping[str, Any]:
        asked.append(params)
        return {}

    open_service(hello=hello)
    link = make(uid=os.geteuid() + 1)
    qtbot.waitUntil(lambda: is_from(link, "0.0"), timeout=10_000)
    assert "is not the service" in link.service_problem
    assert asked == []


def refusing(_: Mapping[str, Any]) -> Mapping[str, Any]:
    raise RequestDenied("not today")


@pytest.mark.parametrize(
    ("hello", "text"),
    [
        (refusing, "The service refuses: not today"),
        (lambda _: {"protocol": 99}, "broke the protocol: it speaks protocol 99"),
        (lambda _: {}, "The service broke the protocol"),
    ],
)
def test_a_service_that_refuses_leaves_the_agent_alone(
    make: MakeLink, open_service: Open, qtbot: QtBot, hello: Method, text: str
) -> None:
    open_service(hello=hello)
    link = make()
    qtbot.waitUntil(lambda: is_from(link, "0.0") and text in link.service_problem, timeout=10_000)
    assert link.reason == ""
    states: list[LinkState] = []
    link.state_changed.connect(lambda: states.append(link.state))
    qtbot.waitUntil(lambda: len(states) >= 3, timeout=10_000)
    assert set(states) == {LinkState.RUNNING}


def test_what_was_wanted_of_the_agent_is_wanted_of_the_service(
    make: MakeLink, open_service: Open, connections: list[Connection], qtbot: QtBot
) -> None:
    link = make()
    qtbot.waitUntil(lambda: is_from(link, "0.0"), timeout=10_000)
    link.guard(True)
    link.want_processes(True)
    open_service()
    qtbot.waitUntil(lambda: is_from(link, "service"), timeout=10_000)
    refused: list[str] = []
    link.ask("limits", {}, lambda _: None, refused.append)
    qtbot.waitUntil(lambda: bool(refused), timeout=10_000)
    assert refused == ["there is no method limits"]
    wanted = {topic: connections[-1].shortest_interval_s(topic) for topic in TOPICS}
    assert wanted == {"snapshots": 0.2, "policy": 0.0, "gpus": 0.0, "processes": 1.0, "holds": 0.0}
