"""A client and a real service: which door, whose policy, and that it is the service at all."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

if sys.platform == "win32":
    pytest.skip("Unix sockets", allow_module_level=True)

from gpupanel.ipc import protocol
from gpupanel.ipc.client import Client
from gpupanel.ipc.listening import Listener
from gpupanel.ipc.server import Connection
from gpupanel.ipc.transport import Endpoint, Service
from gpupanel.ipc.unix_socket import open_doors
from gpupanel.model.errors import ProtocolError, RequestDenied, ServiceUnreachable
from gpupanel.model.gpu import Snapshot
from gpupanel.policy.resolve import EffectivePolicy
from tests.ipc.conftest import ServiceChild, as_user, open_directory

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be a second user")
CAP = "mining.max_efficiency_percent"
WISH = "schema = 1\n[mandatory.mining]\nmax_efficiency_percent = {}\n"


@pytest.fixture
def client(service: ServiceChild) -> Iterator[Client]:
    with Client(Service(service.run_dir, os.geteuid())) as connected:
        yield connected


def test_its_user_comes_in_by_the_control_door(client: Client) -> None:
    assert (client.scope, client.endpoint, client.is_service) == ("system", Endpoint.CONTROL, True)


def test_readings_come_as_from_an_agent(client: Client) -> None:
    client.call("subscribe", {"topic": "snapshots"})
    _, params = next(client.notifications())
    assert Snapshot.from_json(params["snapshot"]).samples
    assert client.call("history", {"seconds": 60})["snapshots"]


def test_nobody_declares_to_the_service(client: Client) -> None:
    with pytest.raises(ProtocolError, match="declare is not for the control endpoint"):
        client.call("declare", {"pid": os.getpid(), "workload": "mining.ethash"})


def test_wishes_are_in_force_and_told_at_once(client: Client) -> None:
    client.call("subscribe", {"topic": "policy"})
    client.call("wishes.set", {"text": WISH.format(30)})
    _, params = next(client.notifications())
    assert EffectivePolicy.from_json(params["policy"]).integer(CAP) == 30
    assert EffectivePolicy.from_json(client.call("policy", {})).integer(CAP) == 30
    assert client.call("wishes.get", {}) == {"text": WISH.format(30)}
    with pytest.raises(ProtocolError, match="GP"):
        client.call("wishes.set", {"text": "schema = 1\n[mandatory.mining]\nunknown = 1\n"})
    client.call("wishes.set", {"text": ""})
    assert EffectivePolicy.from_json(client.call("policy", {})).integer(CAP) == 100


TALK = """
import json, socket, sys
made = socket.socket(socket.AF_UNIX)
made.connect(sys.argv[1])
lines = made.makefile("rw")
asked = [["hello", {"protocol": 1}], *json.loads(sys.argv[2])]
told = []
for number, (method, params) in enumerate(asked):
    message = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
    lines.write(json.dumps(message) + "\\n")
    lines.flush()
    told.append(json.loads(lines.readline()))
print(json.dumps(told[1:]))
"""


def talk(service: ServiceChild, uid: int, *asked: tuple[str, dict[str, Any]]) -> list[Any]:
    """What another user is answered."""
    path = str(service.run_dir / "read-only.sock")
    told: list[Any] = json.loads(as_user(uid, TALK, path, json.dumps(asked)))
    return told


@needs_root
def test_wishes_are_kept_by_whom_the_kernel_names(client: Client, service: ServiceChild) -> None:
    bin_uid = 2
    done, policy = talk(service, bin_uid, ("wishes.set", {"text": WISH.format(20)}), ("policy", {}))
    assert done["result"] == {}
    assert EffectivePolicy.from_json(policy["result"]).integer(CAP) == 20
    assert EffectivePolicy.from_json(client.call("policy", {})).integer(CAP) == 100
    (other,) = talk(service, 3, ("wishes.get", {}))
    assert other["result"] == {"text": ""}


@needs_root
@pytest.mark.parametrize(
    ("method", "params", "text"),
    [
        ("note", {"gpu": "cpu", "text": "hello"}, "note is not for the read-only endpoint"),
        ("declare", {"pid": 1, "workload": "x"}, "declare is not for the read-only endpoint"),
        ("object", {"pid": 1, "started": 1}, "no such process of yours"),
        ("object", {"pid": 1, "started": 1, "uid": 0}, "no parameter of it is called uid"),
        ("wishes.set", {"text": WISH.format(20)}, "your user has no name"),
        ("policy.write", {}, "there is no method"),
    ],
)
def test_a_user_without_rights_is_told_so(
    service: ServiceChild, method: str, params: dict[str, Any], text: str
) -> None:
    (told,) = talk(service, 60_100, (method, params))
    assert text in told["error"]["message"]


def test_without_a_service_an_agent_is_started(tmp_path: Path) -> None:
    with Client(Service(tmp_path)) as client:
        assert (client.scope, client.endpoint, client.is_service) == (
            "user", Endpoint.PARENT, False,
        )  # fmt: skip


def test_a_socket_that_a_dead_service_left_is_no_service(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(os.fspath(tmp_path / "read-only.sock"))
    with Client(Service(tmp_path, os.geteuid())) as client:
        assert not client.is_service


SQUAT = """
import os, socket, sys
made = socket.socket(socket.AF_UNIX)
made.bind(sys.argv[1])
os.chmod(sys.argv[1], 0o666)
made.listen()
print("ready", flush=True)
sys.stdin.read()
"""


@needs_root
def test_who_is_not_root_is_not_the_service() -> None:
    """He would need a directory that root lets him write to."""
    directory = open_directory()
    directory.chmod(0o777)
    command = [
        "setpriv",
        "--reuid",
        "60000",
        "--clear-groups",
        "/usr/bin/python3",
        "-I",
        "-c",
        SQUAT,
    ]
    squatter = subprocess.Popen(
        [*command, str(directory / "control.sock")],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert squatter.stdout is not None
    assert squatter.stdout.readline() == "ready\n"
    with pytest.raises(ServiceUnreachable, match="run by user 60000 and is not the service"):
        Client(Service(directory))
    squatter.communicate()
    (directory / "control.sock").unlink()
    directory.rmdir()


def test_a_refusal_at_the_door_is_told(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)

    def refuse(params: object) -> dict[str, Any]:
        raise RequestDenied("not today")

    def serve(stream: Any, peer: Any, account: Any) -> None:
        Connection(stream, peer, {"hello": refuse}, frozenset(), account).serve()

    with (
        Listener(open_doors(tmp_path), serve),
        pytest.raises(ProtocolError, match="not today"),
    ):
        Client(Service(tmp_path, os.geteuid()))


def test_a_service_that_ends_is_told(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)

    def serve(stream: Any, peer: Any, account: Any) -> None:
        stream.receive(None)
        stream.send(protocol.encode(protocol.result(1, {"scope": "system"})))

    with (
        Listener(open_doors(tmp_path), serve),
        Client(Service(tmp_path, os.geteuid())) as client,
        pytest.raises(ServiceUnreachable, match="service ended the connection"),
    ):
        client.call("gpus", {})
