"""The user's own limits reach the service: the real one, over its socket."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gpupanel.ipc.transport import Service
from gpupanel.policy.sources import MachineSource, NoUser, Sources
from gpupanel.policy.trusted_file import Trust
from gpupanel.service.daemon import Daemon
from gpupanel.service.scope import Scope
from gpupanel.ui.courier import WishCourier
from gpupanel.ui.link import Link

if sys.platform == "win32":
    pytest.skip("sockets of Linux", allow_module_level=True)

from typing import TYPE_CHECKING

from gpupanel.ipc.listening import Listener
from gpupanel.ipc.unix_socket import open_doors

if TYPE_CHECKING:
    from pytestqt.qtbot import QtBot

CAP = "mining.max_efficiency_percent"


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    machine = MachineSource((tmp_path / "policy.d",), Trust(os.geteuid(), tmp_path))
    sources = Sources(machine, NoUser(), tmp_path / "state")
    scope = Scope("system", sources, tmp_path / "history.db", users_dir=tmp_path / "users")
    run_dir = tmp_path / "run"
    run_dir.mkdir(mode=0o755)
    daemon = Daemon(scope)
    daemon.start()
    with Listener(open_doors(run_dir), daemon.serve):
        yield daemon
    daemon.stop()


@pytest.fixture
def link(daemon: Daemon, tmp_path: Path, qtbot: QtBot) -> Iterator[Link]:
    del daemon, qtbot
    link = Link(service=Service(tmp_path / "run", os.geteuid()))
    yield link
    link.close()


def cap(daemon: Daemon) -> int:
    return daemon._policies.of(os.getuid()).integer(CAP)


def test_what_the_file_says_is_in_force_for_its_user_alone(
    daemon: Daemon, link: Link, tmp_path: Path, qtbot: QtBot
) -> None:
    file = tmp_path / "policy.toml"
    file.write_text("schema = 1\n[mandatory.mining]\nmax_efficiency_percent = 30\n")
    courier = WishCourier(link, file)
    link.start()
    qtbot.waitUntil(lambda: cap(daemon) == 30, timeout=10_000)
    assert daemon._policies.of(os.getuid() + 1).integer(CAP) == 100
    file.unlink()
    qtbot.waitUntil(lambda: cap(daemon) == 100, timeout=10_000)
    courier.stop()


def test_a_file_that_is_refused_is_told_of_and_what_was_in_force_stays(
    daemon: Daemon, link: Link, tmp_path: Path, qtbot: QtBot
) -> None:
    file = tmp_path / "policy.toml"
    file.write_text("schema = 1\n[mandatory.mining]\nmax_efficiency_percent = 30\n")
    courier = WishCourier(link, file)
    link.start()
    qtbot.waitUntil(lambda: cap(daemon) == 30, timeout=10_000)
    file.write_text("schema = 1\n[mandatory.mining]\nmax_eficiency_percent = 30\n")
    qtbot.waitUntil(lambda: "own limits" in link.service_problem, timeout=10_000)
    assert "max_efficiency_percent" in link.service_problem
    assert cap(daemon) == 30
    courier.stop()
