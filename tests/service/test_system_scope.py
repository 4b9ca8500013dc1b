"""The daemon in system scope: what one user is told of another, and whose wish counts for what."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from gpupanel.backends.registry import Opened
from gpupanel.ipc.transport import Endpoint, Peer
from gpupanel.model.event import EventRecord
from gpupanel.model.gpu import ProcessKind, ProcessSample
from gpupanel.policy.sources import MachineSource, Sources, UserSource
from gpupanel.policy.trusted_file import Trust
from gpupanel.service.daemon import Daemon
from gpupanel.service.scope import Scope
from tests.service.test_daemon import Caller

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="users by number")

BIN = 2
"""A user with a name that every machine has."""

USER = Peer(Endpoint.READ_ONLY, BIN, 1)
ADMIN = Peer(Endpoint.CONTROL, 0, 1, is_admin=True)
HIDES = "schema = 1\n[recommended.privacy]\nshow_other_users_processes = false\n"
SHOWS = "schema = 1\n[mandatory.privacy]\nshow_other_users_processes = true\n"


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    machine = tmp_path / "policy.d"
    machine.mkdir(mode=0o755)
    (machine / "10.toml").write_text(HIDES)
    trust = Trust(os.geteuid(), tmp_path)
    sources = Sources(
        MachineSource((machine,), trust), UserSource(tmp_path / "none"), tmp_path / "state"
    )
    scope = Scope("system", sources, tmp_path / "history.db", users_dir=tmp_path / "users")
    made = Daemon(scope, None, lambda: Opened((), (), ()))
    made.start()
    yield made
    made.stop()


@pytest.mark.parametrize(("peer", "is_told"), [(USER, False), (ADMIN, True)])
def test_of_others_a_user_is_told_what_policy_shows_whatever_he_wishes(
    daemon: Daemon, peer: Peer, is_told: bool
) -> None:
    with closing(Caller(daemon, peer)) as caller:
        caller.ask("wishes.set", text=SHOWS)
        caller.ask("subscribe", topic="events")
        caller.ask("subscribe", topic="processes")
        daemon._on_event(EventRecord(1.0, "GPU-1", "mining", "t-rex (pid 7) is mining"))
        daemon._on_event(EventRecord(2.0, "GPU-1", "xid", "Xid 79"))
        told = caller.wait_for("event")["event"]["kind"]
        assert told == ("mining" if is_told else "xid")
        others = ProcessSample(
            "GPU-1", 7, 1, "t-rex", "x", ProcessKind.COMPUTE, 9.0, 61.0, uid=BIN + 1
        )
        daemon._tell_processes(tuple(daemon._connections), [others], ["why"])
        params = caller.wait_for("processes")
        while params["hidden"][:1] != ["why"]:  # the sampler tells of nobody meanwhile
            params = caller.wait_for("processes")
        assert [one["pid"] for one in params["processes"]] == ([7] if is_told else [])
        assert params["hidden"] == (
            ["why"] if is_told else ["why", "other users on GPU-1: 1 process, 61 %"]
        )
